"""Train the attention of DELF, and fit the reduction, on top of a frozen descriptor model.

Reads image files, writes nothing. Knows nothing of landmark ids: labels only tell classes apart.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from embed.augmented_files import AugmentedFiles
from embed.errors import InputError
from embed.failure import Failure, name_first
from embed.image_file import ImageFile
from embed.images import Batch, ImageFiles, ImageLoader, collate, start_loader
from embed.model import DescriptorModel
from embed.sampling import EpochBatches
from embed.schedule import cosine_factor
from embed.settings import DecodeSettings
from embed.train_settings import AugmentSettings

from .calibration import Remedies, calibrate, check_descriptors
from .model import LocalModel
from .objective import Objective
from .settings import DelfSettings

logger = logging.getLogger(__name__)

WARMUP = 0.1  # share of all steps in which the rate rises


@dataclass(frozen=True)
class TrainedDelf:
    """What a training ends in."""

    local: LocalModel  # in eval mode, on the descriptor model's device
    # A row an epoch: epoch, loss, and top1, the share of changed images whose class was told.
    history: list[dict[str, float]]
    failures: list[Failure]  # images that could not be read, by position


def train_delf(
    model: DescriptorModel,
    paths: Sequence[ImageFile],
    labels: NDArray[np.int64],
    settings: DelfSettings,
    *,
    decode: DecodeSettings,
    augment: AugmentSettings,
    workers: int = 0,
    report: Callable[[int, int], None] = lambda done, steps: None,
) -> TrainedDelf:
    """Learn which locations tell classes apart, then how to shorten their descriptors.

    The backbone runs in eval mode, without gradients, up to the map that is used, and is not
    changed. Two runs on a CPU give equal weights.

    Args:
        model: descriptor model, on the device to use.
        paths: [N] images.
        labels: [N] their classes, any numbers.
        settings: those of training count.
        decode: limits of the decoder.
        augment: random changes of the images; crops teach the attention other scales.
        workers: processes that decode.
        report: called after each step with the number of steps done, and of all steps.

    Raises:
        InputError: the backbone has no map of that stride, labels are not as many as images or of
            fewer than two classes, no image can be read, or dim exceeds the channels of the map or
            the descriptors there are.
        TrainingCollapsed: the attention is not finite, or the same everywhere.

    Source: Noh et al., ICCV 2017, section 4 (attention learned through classification; PCA); Cao,
    Araujo, Sim, 2020, section 3 (gradients stop before the backbone; autoencoder).
    """
    if len(paths) != len(labels):
        raise ValueError(f"{len(paths)} images but {len(labels)} labels; give one for each image")
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"the {len(labels)} images are of {len(classes)} class, but attention is learned by "
            "telling classes apart; add images of another"
        )
    check_descriptors(model.eval(), settings, len(paths))
    torch.manual_seed(settings.seed)
    objective = Objective(model, settings, len(classes))
    training = _Training(objective, torch.from_numpy(targets), settings, report)
    changed = AugmentedFiles(
        paths, model.spec.image_size, decode.max_pixels, augment, settings.seed
    )
    history = [training.run_epoch(epoch, changed, workers) for epoch in range(settings.epochs)]
    plain = ImageFiles(paths, ImageLoader(model.spec.image_size, decode.max_pixels))
    remedies = Remedies(
        f"delf.learning_rate (now {settings.learning_rate:g})",
        f"delf.epochs (now {settings.epochs})",
    )
    unread = calibrate(model, objective.local, plain, settings, workers=workers, remedies=remedies)
    failures = {failure.position: failure for failure in [*training.failures, *unread]}
    return TrainedDelf(objective.local, history, [failures[p] for p in sorted(failures)])


class _Training:
    """The state of one training: objective, optimizer, failures."""

    def __init__(
        self,
        objective: Objective,
        targets: Tensor,
        settings: DelfSettings,
        report: Callable[[int, int], None],
    ) -> None:
        self.objective, self.targets, self.settings = objective, targets, settings
        self.report = report
        self.batch_size = min(settings.batch_size, len(targets))
        self.steps = settings.epochs * (len(targets) // self.batch_size)
        self.optimizer = torch.optim.AdamW(objective.parameters(), settings.learning_rate)
        self.schedule = LambdaLR(
            self.optimizer, lambda step: cosine_factor(step, self.steps, WARMUP)
        )
        self.failures: list[Failure] = []
        self.done = 0

    def run_epoch(self, epoch: int, files: AugmentedFiles, workers: int) -> dict[str, float]:
        """Train on all images once; return the epoch's row of the history."""
        self.objective.train()
        torch.manual_seed(self.settings.seed + epoch)
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(self.targets))
        batches = EpochBatches(order, self.batch_size, epoch)
        loader = DataLoader(files, batch_sampler=batches, collate_fn=collate, num_workers=workers)
        sums, count = torch.zeros(2), 0
        for batch in start_loader(loader):
            self.failures += batch.failures
            if len(batch.positions) > 1:  # batch norm needs two
                sums, count = sums + self._step(batch), count + len(batch.positions)
            self.done += 1
            self.report(self.done, self.steps)
        if not count:
            raise InputError(
                f"no batch of training images could be read{name_first(self.failures)}"
            )
        loss, top1 = (sums / count).tolist()
        logger.info("DELF epoch %d of %d: loss %.3f", epoch + 1, self.settings.epochs, loss)
        return {"epoch": epoch + 1.0, "loss": loss, "top1": top1}

    def _step(self, batch: Batch) -> Tensor:
        """Return the sums over a batch of loss and right answers."""
        targets = self.targets[list(batch.positions)]
        loss, logits = self.objective(batch.images, targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        right = (logits.argmax(dim=1).cpu() == targets).sum()
        return torch.stack([loss.detach().cpu() * len(targets), right])
