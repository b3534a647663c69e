"""Train a descriptor model with a metric loss and an auxiliary classification head.

Writes one file, the checkpoint of the last epoch, and goes on from it. Knows neither landmark ids
nor metrics: classes are 0 to C - 1, and the caller's `validate` scores each epoch.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from .checkpoint import load_checkpoint, save_checkpoint
from .errors import InputError
from .failure import Failure, name_first
from .freezing import freeze, freeze_batch_norm, keep_frozen_norms
from .global_batch import GlobalBatch, gather_rows, sync_batch_norms
from .head_losses import head_loss
from .images import Batch
from .losses import TrainingCollapsed, build_metric_loss, check_collapse
from .model import DescriptorModel
from .optimizer import build_optimizer
from .profile import Profile
from .sampling import EpochBatches, epoch_order
from .schedule import judged_values, scheduled_factor
from .settings import DecodeSettings
from .tensors import normalize
from .train_settings import Phase, TrainSettings
from .training_images import TrainingImages, TrainingLoader
from .training_model import LocalObjective, Losses, TrainingModel

logger = logging.getLogger(__name__)

LOGGED_STEPS = 2000  # rows of the record of steps
LEAST_SHARE = 2  # images of a batch in each process: batch norm needs two
SUMS = ("triplet_loss", "head_loss", "top1", "local_loss")  # of a step; an epoch has their means

# Returns gap, and perhaps its standard error gap_error, recall_at_1 and head_top1.
Validate = Callable[[DescriptorModel], dict[str, float]]


@dataclass
class Progress:
    """All that changes in training besides the weights; part of the checkpoint."""

    epoch: int = 0  # the next one to do
    history: list[dict[str, float]] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)  # a row every so many
    best: dict[str, Any] = field(default_factory=dict)  # epoch, module
    failures: list[tuple[int, str, str]] = field(default_factory=list)  # of all processes
    collapsed: int = 0  # epochs in a row


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


def size_epoch(
    settings: TrainSettings, labels: NDArray[np.int64], world: int = 1
) -> tuple[int, int]:
    """Return the images of a batch, and the steps of an epoch.

    Args:
        settings: of the training.
        labels: [N] class of each image, or example, that is trained on.
        world: devices that share a batch.

    Raises:
        InputError: a batch is too small for them.
    """
    size = min(settings.classes_per_batch, len(np.unique(labels))) * settings.images_per_class
    if settings.group == 1 and settings.batch_size:
        size = settings.batch_size
    if size < LEAST_SHARE * world:
        raise InputError(
            f"batches of {size} images are too small for {world} devices, which share them and "
            f"need {LEAST_SHARE} each; use fewer --devices or raise train.classes_per_batch"
        )
    if settings.epoch_steps:
        return size, settings.epoch_steps
    # One batch at least, of repeated images where there are too few.
    return size, max(1, round(max(len(labels) // size, 1) * settings.epoch_share))


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
        local: LocalObjective | None = None,
        report: Callable[[int, int], None] = lambda done, total: None,
        profile: Profile | None = None,
    ) -> None:
        """Build all, and go on from the checkpoint if there is one.

        The head maps features [B, dim] and labels [B] to logits [B, C]. After each step `report` is
        called with the number of images trained on, and of all. The profile times what is done.
        """
        self.report, self.profile = report, profile or Profile()
        self.settings, self.fabric, self.checkpoint = settings, fabric, checkpoint
        self.labels = images.labels
        self.batch_size, self.steps = size_epoch(settings, self.labels, fabric.world_size)
        self.metric_loss = build_metric_loss(settings, model.head_dim).to(fabric.device)
        module = sync_batch_norms(fabric, TrainingModel(model, head, local))
        module = module.to(memory_format=torch.channels_last)
        self.model, self.head, self.local = model, head, local
        self.module, self.optimizer = fabric.setup(module, build_optimizer(module, settings))
        self.progress = Progress()
        self.loader = TrainingLoader(
            images,
            settings,
            decode=decode,
            device=fabric.device,
            workers=workers,
            cache=checkpoint.with_suffix(f".images{fabric.global_rank}"),
            profile=self.profile,
            world_size=fabric.world_size,
        )
        if checkpoint.is_file():
            self._load()

    def run(self, validate: Validate) -> Iterator[dict[str, float]]:
        """Train epoch by epoch; yield each epoch's row of the history once it is safe on disk.

        Raises:
            TrainingCollapsed: the descriptors were all alike after two epochs in a row, or were
                not finite.
        """
        if self.progress.epoch and not self._is_done():
            logger.info("going on after epoch %d", self.progress.epoch)
        try:
            while not self._is_done():
                losses, sample = self._train_epoch(self.progress.epoch)
                with self.profile.timed("validate"):
                    # One process judges for all: they must come to the same decisions to stop.
                    first = self.fabric.is_global_zero
                    judged = self._judge(losses, sample, validate) if first else ({}, "")
                    row, alarm = self.fabric.broadcast(judged)
                self._note(row, alarm)
                yield row
        finally:
            self.loader.close()

    def _judge(
        self, losses: dict[str, float], sample: Tensor, validate: Validate
    ) -> tuple[dict[str, float], str]:
        """Return the epoch's row of the history, and the alarm; no row if nothing is finite."""
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            sample = torch.full_like(sample, math.nan)  # what the weights would describe
        alarm = check_collapse(sample, losses.get("triplet_loss", 0.0), self.settings)
        if not torch.isfinite(sample).all():  # cannot be searched, so not be validated
            return {}, alarm
        return {"epoch": self.progress.epoch + 1.0, **losses, **validate(self.model)}, alarm

    def restore_best(self) -> None:
        """Put the weights of the best epoch into all parts; leave them if none was done."""
        if self.progress.best:
            self.module.load_state_dict(self.progress.best["module"])

    @property
    def failures(self) -> list[Failure]:
        """Training images that could not be read, by position."""
        return [Failure(*values) for values in self.progress.failures]

    def _is_done(self) -> bool:
        """Tell whether all epochs are done, or too many of the last phase without a better one.

        The phases before it always end: what follows them may be better.
        """
        if self.progress.epoch >= self.settings.epochs:
            return True
        gaps = [row["gap"] for row in self.progress.history]
        if not self.settings.patience or not gaps or math.isnan(max(gaps)):
            return False
        phase = self.settings.phase_at(self.progress.epoch)
        last = phase.first + phase.epochs >= self.settings.epochs
        waited = len(gaps) - max(gaps.index(max(gaps)) + 1, phase.first)
        return last and waited >= self.settings.patience

    def _train_epoch(self, epoch: int) -> tuple[dict[str, float], Tensor]:
        """Return the mean losses, and the descriptors of the last batches for the alarm.

        All processes skip the same batches, and raise the same errors.
        """
        torch.manual_seed(self.settings.seed + epoch)
        phase = self.settings.phase_at(epoch)
        self._start_phase(phase)
        sums, count = torch.zeros(len(SUMS), device=self.fabric.device), 0
        failures, seen = list(self.progress.failures), list[Tensor]()
        for step, batch in enumerate(self._load_batches(epoch, phase)):
            failures += [(f.position, f.reason, f.message) for f in batch.failures]
            whole = self._share(batch)
            if whole.smallest < LEAST_SHARE:
                continue
            rate = self._set_rate(phase, epoch, step)
            losses, descriptors = self._train_step(batch.images, whole)
            self._log_step(epoch, step, rate, losses)
            sums, count = sums + losses, count + 1
            seen = [*seen[-3:], descriptors]
            done, total = epoch * self.steps + step + 1, self.steps * self.settings.epochs
            self.report(done * self.batch_size, total * self.batch_size)
        self.progress.failures = gather_rows(self.fabric, failures)
        if not count:
            raise InputError(
                f"no batch of training images could be read{name_first(self.failures)}"
            )
        return self._name(sums / count), torch.cat(seen).cpu()

    def _start_phase(self, phase: Phase) -> None:
        """Freeze and thaw what the phase says, and put all else into training mode."""
        freeze(self.model, self.head, phase.freeze)
        self.module.train()
        if self.settings.freeze_batch_norm:
            freeze_batch_norm(self.model.backbone.network)
        keep_frozen_norms(self.model)

    def _load_batches(self, epoch: int, phase: Phase) -> Iterable[Batch]:
        order = epoch_order(
            self.labels,
            self.settings.sampler,
            batch_size=self.batch_size,
            per_class=self.settings.group,
            seed=self.settings.seed,
            epoch=epoch,
            batches=self.steps,
        )
        batches = EpochBatches(
            order, self.batch_size, epoch, self.fabric.global_rank, self.fabric.world_size
        )
        return self.loader.load(batches, phase.image_size)

    def _set_rate(self, phase: Phase, epoch: int, step: int) -> float:
        """Set the learning rates of a step; return that of the backbone."""
        judged = judged_values(self.progress.history[phase.first :], self.settings)
        factor = scheduled_factor(
            (epoch - phase.first) * self.steps + step,
            phase.epochs,
            self.steps,
            self.settings,
            judged,
        )
        for group in self.optimizer.param_groups:
            rate = phase.learning_rate if group["inner"] else phase.head_learning_rate
            group["lr"] = rate * factor
        return phase.learning_rate * factor

    def _log_step(self, epoch: int, step: int, rate: float, losses: Tensor) -> None:
        """Take every so many steps into the record of steps."""
        done = epoch * self.steps + step
        if done % max(1, self.steps * self.settings.epochs // LOGGED_STEPS):
            return
        row = {"step": done + 1.0, "epoch": epoch + 1.0, "learning_rate": rate}
        self.progress.steps.append({**row, **self._name(losses)})

    def _name(self, losses: Tensor) -> dict[str, float]:
        """Return the SUMS by name, as far as there are such losses."""
        named = dict(zip(SUMS, losses.tolist(), strict=True))
        if self.local is None:
            del named["local_loss"]
        if not self.settings.triplet_weight:
            del named["triplet_loss"]
        return named

    def _share(self, batch: Batch) -> GlobalBatch:
        """Return the batch that this process has a share of."""
        labels = torch.from_numpy(self.labels[list(batch.positions)])
        labels = labels.to(self.fabric.device, non_blocking=True)
        return GlobalBatch.of(
            self.fabric, labels, math.ceil(self.batch_size / self.fabric.world_size)
        )

    def _train_step(self, images: Tensor, whole: GlobalBatch) -> tuple[Tensor, Tensor]:
        """Return the SUMS and the descriptors [B, dim] of a batch, after learning from it."""
        with self.profile.timed("forward"):
            found = self._forward(images, whole.local)
            descriptors = whole.gather(found.descriptors.float())
            metric, head, total = self._losses(found, descriptors, whole)
        with self.profile.timed("backward"):
            self.optimizer.zero_grad()
            self.fabric.backward(total)
        with self.profile.timed("optimiser"):
            self._clip_gradients()
            self.optimizer.step()
        # No figure leaves the device: the processor would wait for a GPU, which would then idle.
        correct = (found.logits.argmax(dim=1) == whole.local).float().mean()
        means = whole.mean(torch.stack([head.detach(), correct, found.local.detach()]))
        return torch.cat([metric.detach()[None], means]), descriptors.detach()

    def _forward(self, images: Tensor, labels: Tensor) -> Losses:
        images = images.to(self.fabric.device, non_blocking=True)
        images = normalize(images, self.model.spec.backbone)
        found: Losses = self.module(images.contiguous(memory_format=torch.channels_last), labels)
        return found

    def _losses(
        self, found: Losses, descriptors: Tensor, whole: GlobalBatch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the metric loss, the head's, and what is learned from: both, weighted."""
        settings = self.settings
        metric = descriptors.new_zeros(())
        if settings.triplet_weight:
            metric = self.metric_loss(descriptors, whole.labels)
        head = head_loss(found.logits.float(), whole.local, settings)
        means = settings.head_weight * head
        if self.local is not None:
            means = means + settings.local_weight * found.local
        total = settings.triplet_weight * metric * whole.world_size + means * whole.weight
        return metric, head, total

    def _clip_gradients(self) -> None:
        """Shorten the gradients; those of local features apart, lest they slow the others."""
        local: set[Tensor] = set()
        if isinstance(self.local, nn.Module):
            local.update(self.local.parameters())
        every = [each for group in self.optimizer.param_groups for each in group["params"]]
        for part in ([p for p in every if p not in local], [p for p in every if p in local]):
            nn.utils.clip_grad_norm_(part, self.settings.clip_norm)

    def _note(self, row: dict[str, float], alarm: str) -> None:
        """Take an epoch's outcome into the progress, save it, and raise the alarm if need be."""
        if not row:
            raise TrainingCollapsed(alarm)
        progress = self.progress
        progress.epoch += 1
        progress.history.append(row)
        progress.collapsed = progress.collapsed + 1 if alarm else 0
        if is_good_as_best(progress.history):
            state = self.module.state_dict().items()
            copied = {name: tensor.detach().cpu().clone() for name, tensor in state}
            progress.best = {"epoch": progress.epoch, "module": copied}
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
            "module": self.module.state_dict(),
            "metric_loss": self.metric_loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        save_checkpoint(state, self.checkpoint)

    def _load(self) -> None:
        state = load_checkpoint(self.checkpoint)
        self.module.load_state_dict(state["module"])
        self.metric_loss.load_state_dict(state["metric_loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
