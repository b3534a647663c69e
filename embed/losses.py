"""The metric losses of training, and the alarm for descriptors that fall into one point."""

import math
from typing import Any

import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import (
    ContrastiveLoss,
    CrossBatchMemory,
    MultiSimilarityLoss,
    TripletMarginLoss,
)
from pytorch_metric_learning.miners import (
    BatchHardMiner,
    DistanceWeightedMiner,
    MultiSimilarityMiner,
    TripletMarginMiner,
)
from pytorch_metric_learning.utils.loss_and_miner_utils import get_random_triplet_indices
from torch import Tensor, nn

from .errors import InputError
from .train_settings import TrainSettings


class MinedLoss(nn.Module):
    """A loss over the pairs or triplets of a batch that a miner picks, all pairs without one."""

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        """Take both from pytorch-metric-learning."""
        super().__init__()
        self.loss, self.miner = loss, miner

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a scalar; 0 if nothing was picked.

        Args:
            descriptors: [B, dim] float32, rows of length 1.
            labels: [B] int64.
        """
        picked = None if self.miner is None else self.miner(descriptors, labels)
        return self.loss(descriptors, labels, picked)  # type: ignore[no-any-return]


class RowwiseDistanceWeightedMiner(DistanceWeightedMiner):  # type: ignore[misc]
    """Draw a negative for each anchor, at random so that all distances are equally likely.

    As many triplets an anchor as its class has images. Negatives nearer than `cutoff`, .5, count
    as if they were there; those farther than `nonzero_loss_cutoff`, 1.4, are never drawn.

    Source: Wu, Manmatha, Smola, Kraehenbuehl: Sampling Matters in Deep Embedding Learning, 2017,
    section 4. The library divides the weights by the largest of the whole batch. They span hundreds
    of powers of e, so one near pair leaves zeros to most anchors: in a batch of 64 with 256
    dimensions 8 anchors kept a triplet. Here each anchor's weights are a softmax of their own.
    """

    def mine(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return anchors [T], rows of embeddings; positives and negatives [T], of ref_emb."""
        dim = embeddings.shape[1]
        distances = self.distance(embeddings, ref_emb).clamp(min=self.cutoff)
        drawable = labels[:, None] != ref_labels[None]
        drawable &= distances < self.nonzero_loss_cutoff
        log_weights = (2 - dim) * distances.log() - (dim - 3) / 2 * (1 - distances**2 / 4).log()
        weights = log_weights.masked_fill(~drawable, -math.inf).softmax(dim=1)
        weights = weights.nan_to_num()  # an anchor with nothing to draw: left out by the next line
        return get_random_triplet_indices(labels, ref_labels, weights=weights)  # type: ignore[no-any-return]


class MinedTripletLoss(MinedLoss):
    """Mean over the triplets with a loss of those that a miner picks from a batch.

    Source: Schroff, Kalenichenko, Philbin: FaceNet, 2015 (semi-hard); Hermans, Beyer, Leibe: In
    Defense of the Triplet Loss, 2017 (batch hard); Wu et al., 2017 (distance-weighted).
    """

    def __init__(self, margin: float, miner: str) -> None:
        """Take the margin in Euclidean distance, and hard, semihard, all or distance-weighted."""
        distance = LpDistance(normalize_embeddings=False)
        miners: dict[str, nn.Module] = {
            "hard": BatchHardMiner(distance=distance),
            "semihard": TripletMarginMiner(margin, type_of_triplets="semihard", distance=distance),
            "all": TripletMarginMiner(margin, type_of_triplets="all", distance=distance),
            # Insists on normalising itself.
            "distance-weighted": RowwiseDistanceWeightedMiner(distance=LpDistance()),
        }
        super().__init__(TripletMarginLoss(margin, distance=distance), miners[miner])


class CrossBatchMemoryLoss(nn.Module):
    """A loss that compares a batch with the descriptors of earlier batches, too.

    They are those of a slightly older model, and get no gradient. The state holds them, so that a
    resumed training is the same. Of several processes each remembers the whole batches.

    Source: Wang, Zhang, Huang, Scott: Cross-Batch Memory for Embedding Learning, 2020.
    """

    def __init__(self, mined: MinedLoss, dim: int, size: int) -> None:
        """Take the loss and its miner, the length of a descriptor and how many are kept."""
        super().__init__()
        self.memory = CrossBatchMemory(mined.loss, dim, memory_size=size, miner=mined.miner)

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """Take the batch into the memory, in place of the oldest, and return the loss, a scalar.

        Args:
            descriptors: [B, dim] float32, rows of length 1.
            labels: [B] int64.

        Raises:
            ValueError: the batch is larger than the memory, or of another dim.
        """
        size, dim = self.memory.embedding_memory.shape
        if len(descriptors) > size or descriptors.shape[1] != dim:
            raise ValueError(
                f"a batch of {tuple(descriptors.shape)} descriptors does not fit a memory of "
                f"{size} of length {dim}; raise memory above the size of a batch, or set it to 0"
            )
        return self.memory(descriptors, labels)  # type: ignore[no-any-return]

    def get_extra_state(self) -> dict[str, Any]:
        """Return where the memory is written next, which the library keeps out of the state."""
        return {"next": self.memory.queue_idx, "filled": self.memory.has_been_filled}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on writing where the saved memory left off."""
        self.memory.queue_idx, self.memory.has_been_filled = state["next"], state["filled"]


def build_metric_loss(settings: TrainSettings, dim: int) -> MinedLoss | CrossBatchMemoryLoss:
    """Return the metric loss that the settings name, with a memory if they ask for one.

    Args:
        settings: metric_loss, margin, miner and memory. The contrastive loss takes all pairs:
            positives cost their distance, negatives what they lack to the margin.
        dim: length of the descriptors, that of the built model.

    Source: Hadsell, Chopra, LeCun: Dimensionality Reduction by Learning an Invariant Mapping, 2006,
    whose terms are squares, here they are not. Wang et al.: Multi-Similarity Loss with General Pair
    Weighting, 2019: alpha 2, beta 50, epsilon .1; lambda .5 as in the authors' code, not 1 as in
    the paper, which hardly parts negatives (400 steps on 60 toy classes: mean cosine .92 and
    recall@1 .31 with 1, .26 and .42 with .5).
    """
    if settings.metric_loss == "triplet":
        mined: MinedLoss = MinedTripletLoss(settings.margin, settings.miner)
    elif settings.metric_loss == "contrastive":
        distance = LpDistance(normalize_embeddings=False)
        mined = MinedLoss(ContrastiveLoss(neg_margin=settings.margin, distance=distance))
    else:
        mined = MinedLoss(
            MultiSimilarityLoss(alpha=2, beta=50, base=0.5), MultiSimilarityMiner(epsilon=0.1)
        )
    return CrossBatchMemoryLoss(mined, dim, settings.memory) if settings.memory else mined


def mean_cosine(descriptors: Tensor) -> float:
    """Return the mean cosine over all pairs of different rows of [N, dim], rows of length 1.

    Near 1: the descriptors are all alike. Fewer than two rows give nan.
    """
    count = len(descriptors)
    if count < 2:
        return math.nan
    total = descriptors.double().sum(dim=0).square().sum().item()
    return (total - count) / (count * (count - 1))


class TrainingCollapsed(InputError):
    """Training has ended in a state that no further epoch will mend."""


def check_collapse(descriptors: Tensor, metric_loss: float, settings: TrainSettings) -> str:
    """Say what is wrong with an epoch's outcome and what to change; empty if nothing is.

    Equal descriptors have a triplet loss of just the margin; other losses have no such value.

    Args:
        descriptors: [N, dim] of images of several classes, rows of length 1.
        metric_loss: mean over the epoch.
        settings: of the training.
    """
    if not torch.isfinite(descriptors).all() or not math.isfinite(metric_loss):
        return (
            "the loss or the descriptors are not finite; lower learning_rate "
            f"(now {settings.learning_rate:g}) or set precision to float32"
        )
    alike = mean_cosine(descriptors)
    triplet = settings.triplet_weight > 0 and settings.metric_loss == "triplet"
    stuck = triplet and abs(metric_loss - settings.margin) < 0.02 * settings.margin
    if not (alike > 0.98 or (stuck and alike > 0.9)):  # nan of a single descriptor is none of both
        return ""
    frozen = "" if settings.freeze_batch_norm else "set freeze_batch_norm = true, "
    slower = f"lower learning_rate (now {settings.learning_rate:g})"
    if not settings.triplet_weight:
        return (
            f"the descriptors are all alike (mean cosine {alike:.3f}); {frozen}{slower} or raise "
            f"warmup (now {settings.warmup:g})"
        )
    softer = 'miner = "semihard", ' if triplet and settings.miner == "hard" else ""
    margin = "" if settings.metric_loss == "multi-similarity" else f" at margin {settings.margin:g}"
    return (
        f"the descriptors are all alike (mean cosine {alike:.3f}, {settings.metric_loss} loss "
        f"{metric_loss:.3f}{margin}); {frozen}{softer}{slower} or raise head_weight "
        f"(now {settings.head_weight:g})"
    )
