"""The metric loss of training, and the alarm for descriptors that fall into one point."""

import math

import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from torch import Tensor, nn

from .settings import TrainSettings


class MinedTripletLoss(nn.Module):
    """Triplet loss over the triplets of a batch that a miner picks.

    Source: Schroff, Kalenichenko, Philbin: FaceNet, 2015 (semi-hard); Hermans, Beyer, Leibe: In
    Defense of the Triplet Loss, 2017 (batch hard).
    """

    def __init__(self, margin: float, miner: str) -> None:
        """Take the margin in Euclidean distance between unit vectors: hard, semihard or all."""
        super().__init__()
        distance = LpDistance(normalize_embeddings=False)
        self.loss = TripletMarginLoss(margin, distance=distance)
        self.miner: nn.Module | None = None
        if miner == "hard":
            self.miner = BatchHardMiner(distance=distance)
        elif miner == "semihard":
            self.miner = TripletMarginMiner(margin, type_of_triplets="semihard", distance=distance)

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over the picked triplets with a loss; 0 if there are none.

        Args:
            descriptors: [B, dim] float32, rows of length 1.
            labels: [B] int64.
        """
        if self.miner is None:
            return self.loss(descriptors, labels)  # type: ignore[no-any-return]
        return self.loss(descriptors, labels, self.miner(descriptors, labels))  # type: ignore[no-any-return]


def mean_cosine(descriptors: Tensor) -> float:
    """Return the mean cosine over all pairs of different rows of [N, dim], rows of length 1.

    Near 1: the descriptors are all alike. Fewer than two rows give nan.
    """
    count = len(descriptors)
    if count < 2:
        return math.nan
    total = descriptors.double().sum(dim=0).square().sum().item()
    return (total - count) / (count * (count - 1))


class TrainingCollapsed(ValueError):
    """Training has ended in a state that no further epoch will mend."""


def check_collapse(descriptors: Tensor, triplet_loss: float, settings: TrainSettings) -> str:
    """Say what is wrong with an epoch's outcome and what to change; empty if nothing is.

    Args:
        descriptors: [N, dim] of images of several classes, rows of length 1.
        triplet_loss: mean over the epoch.
        settings: of the training.
    """
    if not torch.isfinite(descriptors).all() or not math.isfinite(triplet_loss):
        return (
            "the loss or the descriptors are not finite; lower learning_rate "
            f"(now {settings.learning_rate:g}) or set precision to float32"
        )
    alike = mean_cosine(descriptors)
    stuck = abs(triplet_loss - settings.margin) < 0.02 * settings.margin
    if alike > 0.98 or (stuck and alike > 0.9):
        frozen = "" if settings.freeze_batch_norm else "set freeze_batch_norm = true, "
        softer = 'miner = "semihard", ' if settings.miner == "hard" else ""
        return (
            f"the descriptors are all alike (mean cosine {alike:.3f}, triplet loss "
            f"{triplet_loss:.3f} at margin {settings.margin:g}); {frozen}{softer}"
            f"lower learning_rate (now {settings.learning_rate:g}) or raise head_weight "
            f"(now {settings.head_weight:g})"
        )
    return ""
