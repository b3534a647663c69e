"""Train a descriptor model with a triplet loss and an auxiliary classification head.

Writes one file, the checkpoint of the last epoch, and goes on from it. Knows neither landmark ids
nor metrics: classes are 0 to C - 1, and the caller's `validate` scores each epoch.
"""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .augment import AugmentedFiles
from .backbone import freeze_batch_norm
from .failure import Failure
from .image_file import ImageFile
from .images import Batch, collate
from .losses import MinedTripletLoss, TrainingCollapsed, check_collapse
from .model import DescriptorModel
from .sampling import EpochBatches, epoch_order
from .settings import DecodeSettings, TrainSettings
from .transforms import normalize
from .upsampling import Examples

logger = logging.getLogger(__name__)

# Returns gap, its standard error gap_error, and recall_at_1.
Validate = Callable[[DescriptorModel], dict[str, float]]


@dataclass(frozen=True)
class TrainingImages:
    """What to train on: N images, or M examples made of them."""

    paths: Sequence[ImageFile]  # [N]
    labels: NDArray[np.int64]  # [N], or [M] with examples: classes, 0 to C - 1
    examples: Examples | None = None  # [M]; none: each image as it is
    ids: Sequence[str] = ()  # [N]; variants depend on them

    def __post_init__(self) -> None:
        """Raise ValueError unless there is a label for each image or example."""
        count = len(self.paths if self.examples is None else self.examples)
        if len(self.labels) != count or (self.examples and len(self.ids) != len(self.paths)):
            raise ValueError(
                f"{len(self.labels)} labels for {count} images or examples, {len(self.ids)} ids "
                f"for {len(self.paths)} files; give one for each"
            )


@dataclass
class Progress:
    """All that changes in training besides the weights; part of the checkpoint."""

    epoch: int = 0  # the next one to do
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)  # epoch, model, head
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    collapsed: int = 0  # epochs in a row


class TrainingModel(nn.Module):
    """Model and head as one module, so that several processes average both gradients."""

    def __init__(self, model: DescriptorModel, head: nn.Module) -> None:
        """Take the parts."""
        super().__init__()
        self.model, self.head = model, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return descriptors [B, dim] and logits [B, C] of normalised images [B, 3, S, S]."""
        descriptors = self.model(images)
        return descriptors, self.head(descriptors)


def build_optimizer(module: TrainingModel, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return AdamW or SGD with a rate for the backbone and one for all that starts at random."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        inner = name.startswith("model.backbone.")
        rate = settings.learning_rate if inner else settings.head_learning_rate
        # Norms, biases and the pooling exponent have nothing to decay towards.
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    options = [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(options, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(options)


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the share of the full learning rate at a step: linear warm-up, then cosine to 0.

    >>> [round(rate_factor(s, 10, 0.2), 2) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    first = math.ceil(steps * warmup)
    if step < first:
        return (step + 1) / first
    return 0.5 * (1 + math.cos(math.pi * (step - first) / max(steps - first, 1)))


def is_good_as_best(history: Sequence[dict[str, float]]) -> bool:
    """Tell whether the last epoch's GAP is within one standard error of the largest.

    Held-out images are few, and often near-duplicates of training images: among epochs that they
    cannot tell apart the later one has learned more. On the cartons the strict maximum chose epoch
    6 of 12, whose nearest neighbours scored .90 on the test set, epoch 11 scored .96.

    Args:
        history: rows with gap and its standard error gap_error, 0 if missing. A gap of nan, which
            is that of no held-out images, is worse than any other.
    """
    judged = [row for row in history if not math.isnan(row["gap"])]
    if not judged:
        return True
    best = max(judged, key=lambda row: row["gap"])
    return history[-1]["gap"] >= best["gap"] - best.get("gap_error", 0.0)


class Trainer:
    """The state of one training: module, optimizer, progress."""

    def __init__(
        self,
        model: DescriptorModel,
        head: nn.Module,
        images: TrainingImages,
        settings: TrainSettings,
        *,
        decode: DecodeSettings,
        fabric: Fabric,
        checkpoint: Path,
        workers: int,
        report: Callable[[int, int], None] = lambda done, steps: None,
    ) -> None:
        """Build all, and go on from the checkpoint if there is one.

        After each step `report` is called with the number of steps done, and of all steps.
        """
        self.report = report
        self.settings, self.fabric, self.checkpoint = settings, fabric, checkpoint
        self.labels = images.labels
        self.dataset = AugmentedFiles(
            images.paths,
            settings.image_size,
            decode.max_pixels,
            settings.augment,
            settings.seed,
            examples=images.examples,
            ids=images.ids,
        )
        self.workers = workers
        self.classes = min(settings.classes_per_batch, len(np.unique(images.labels)))
        self.batch_size = self.classes * settings.images_per_class
        # One batch at least, of repeated images where there are too few.
        count = max(len(images.labels), self.batch_size)
        self.steps = count // self.batch_size // fabric.world_size
        if not self.steps:
            raise ValueError(
                f"{count} training images are too few for {fabric.world_size} devices with batches "
                f"of {self.batch_size}; use fewer devices or lower classes_per_batch"
            )
        self.triplet = MinedTripletLoss(settings.margin, settings.miner)
        module = TrainingModel(model, head).to(memory_format=torch.channels_last)
        self.model, self.head = model, head
        self.module, self.optimizer = fabric.setup(module, build_optimizer(module, settings))
        self.progress = Progress()
        if checkpoint.is_file():
            self._load()

    def run(self, validate: Validate) -> Iterator[dict[str, float]]:
        """Train epoch by epoch; yield each epoch's row of the history once it is safe on disk.

        Raises:
            TrainingCollapsed: the descriptors were all alike after two epochs in a row, or were
                not finite.
        """
        while self.progress.epoch < self.settings.epochs and not self._stops_early():
            losses, sample = self._train_epoch(self.progress.epoch)
            # One process judges for all: they must come to the same decisions to stop.
            first = self.fabric.is_global_zero
            judged = self._judge(losses, sample, validate) if first else ({}, "")
            row, alarm = self.fabric.broadcast(judged)
            self._note(row, alarm)
            yield row

    def _judge(
        self, losses: dict[str, float], sample: Tensor, validate: Validate
    ) -> tuple[dict[str, float], str]:
        """Return the epoch's row of the history, and the alarm; no row if nothing is finite."""
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            sample = torch.full_like(sample, math.nan)  # what the weights would describe
        alarm = check_collapse(sample, losses["triplet_loss"], self.settings)
        if not torch.isfinite(sample).all():  # cannot be searched, so not be validated
            return {}, alarm
        return {"epoch": self.progress.epoch + 1.0, **losses, **validate(self.model)}, alarm

    def restore_best(self) -> None:
        """Put the weights of the best epoch into model and head; leave them if none was done."""
        if self.progress.best:
            self.model.load_state_dict(self.progress.best["model"])
            self.head.load_state_dict(self.progress.best["head"])

    @property
    def failures(self) -> list[Failure]:
        """Training images that could not be read, by position."""
        return [Failure(*values) for values in sorted(set(self.progress.failures))]

    def _stops_early(self) -> bool:
        gaps = [row["gap"] for row in self.progress.history]
        if not self.settings.patience or not gaps or math.isnan(max(gaps)):
            return False
        return len(gaps) - 1 - gaps.index(max(gaps)) >= self.settings.patience

    def _train_epoch(self, epoch: int) -> tuple[dict[str, float], Tensor]:
        """Return the mean losses, and the descriptors of the last batches for the alarm."""
        torch.manual_seed(self.settings.seed + epoch)
        self.module.train()
        if self.settings.freeze_batch_norm:
            freeze_batch_norm(self.model.backbone)
        sums, count = torch.zeros(2), 0
        seen: list[Tensor] = []
        for step, batch in enumerate(self._load_batches(epoch)):
            self.progress.failures += [(f.position, f.reason, f.message) for f in batch.failures]
            if len(batch.positions) < 2:
                continue  # batch norm needs two
            self._set_rate(epoch * self.steps + step)
            losses, descriptors = self._train_step(batch)
            sums, count = sums + losses, count + 1
            seen = [*seen[-3:], descriptors]
            self.report(epoch * self.steps + step + 1, self.steps * self.settings.epochs)
        if not count:
            raise ValueError(f"no batch of training images could be read: {self.failures[0]}")
        triplet, head = (sums / count).tolist()
        return {"triplet_loss": triplet, "head_loss": head}, torch.cat(seen)

    def _load_batches(self, epoch: int) -> Iterable[Batch]:
        order = epoch_order(
            self.labels,
            self.settings.sampler,
            batch_size=self.batch_size,
            per_class=self.settings.group,
            seed=self.settings.seed,
            epoch=epoch,
        )
        batches = EpochBatches(
            order, self.batch_size, epoch, self.fabric.global_rank, self.fabric.world_size
        )
        return DataLoader(
            self.dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self.workers,
        )

    def _set_rate(self, step: int) -> None:
        factor = rate_factor(step, self.steps * self.settings.epochs, self.settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor

    def _train_step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        device = self.fabric.device
        images = normalize(batch.images.to(device), self.model.spec.backbone)
        labels = torch.from_numpy(self.labels[list(batch.positions)]).to(device)
        descriptors, logits = self.module(images.contiguous(memory_format=torch.channels_last))
        triplet = self.triplet(descriptors.float(), labels)
        head = nn.functional.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad()
        self.fabric.backward(
            self.settings.triplet_weight * triplet + self.settings.head_weight * head
        )
        self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=self.settings.clip_norm, error_if_nonfinite=False
        )
        self.optimizer.step()
        return torch.stack([triplet.detach(), head.detach()]).cpu(), descriptors.detach().cpu()

    def _note(self, row: dict[str, float], alarm: str) -> None:
        """Take an epoch's outcome into the progress, save it, and raise the alarm if need be."""
        if not row:
            raise TrainingCollapsed(alarm)
        progress = self.progress
        progress.epoch += 1
        progress.history.append(row)
        progress.collapsed = progress.collapsed + 1 if alarm else 0
        if is_good_as_best(progress.history):
            progress.best = {
                "epoch": progress.epoch,
                "model": {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()},
                "head": {k: v.detach().cpu().clone() for k, v in self.head.state_dict().items()},
            }
        if progress.collapsed >= 2:
            raise TrainingCollapsed(alarm)
        if alarm:
            logger.warning("epoch %d: %s", progress.epoch, alarm)
        if self.fabric.is_global_zero:
            self._save()
        self.fabric.barrier()

    def _save(self) -> None:
        """Write the checkpoint whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                torch.save(state, file)  # into a path it would hide the error of a full disk
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.checkpoint)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()

    def _load(self) -> None:
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        logger.info("going on after epoch %d", self.progress.epoch)
