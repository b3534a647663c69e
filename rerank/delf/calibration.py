"""Finish a trained local model: set the unit of its scores, and fit the PCA.

Reads image files, writes nothing.
"""

import logging
import math
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader

from embed.errors import InputError
from embed.failure import Failure, name_first
from embed.images import ImageFiles, collate, start_loader
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel

from .model import LocalModel
from .objective import find_level, make_maps
from .reduction import Moments, check_count
from .settings import DelfSettings

logger = logging.getLogger(__name__)

# Principal components are those of descriptors that may be kept: of each image this share, the
# best by score.
ATTENDED_SHARE = 0.25
# Standard deviation of the scores within an image, in shares of their mean, below which the
# attention does not choose.
LEAST_CONTRAST = 0.01


@dataclass(frozen=True)
class Remedies:
    """What to change where the attention came to nothing: the settings that it was trained with."""

    rate: str  # name of the learning rate, with its value
    epochs: str


@torch.inference_mode()
def calibrate(
    model: DescriptorModel,
    local: LocalModel,
    files: ImageFiles,
    settings: DelfSettings,
    *,
    workers: int,
    remedies: Remedies,
) -> list[Failure]:
    """Set the unit of the scores, and fit the PCA if there is one, on the images as they are.

    Args:
        model: in eval mode.
        local: of that model and on its device, trained; changed in place, and in eval mode then.
        files: training images.
        settings: batch_size and reduction count.
        workers: processes that decode.
        remedies: named in errors.

    Returns:
        Images that could not be read, by their place in files.

    Raises:
        InputError: no image can be read, or dim exceeds the descriptors there are.
        TrainingCollapsed: the attention is not finite, or the same everywhere.
    """
    local.eval()
    level = model.backbone.find_level(local.spec.stride)
    moments = Moments(local.spec.channels)
    means, contrasts, failures = [], [], []
    size = min(settings.batch_size, len(files))
    loader = DataLoader(files, batch_size=size, collate_fn=collate, num_workers=workers)
    for batch in start_loader(loader):
        failures += batch.failures
        if not batch.positions:
            continue
        maps = make_maps(model, level, batch.images)
        scores = local.score(maps).flatten(1)
        means.append(scores.mean(dim=1))
        contrasts.append(scores.std(dim=1, correction=0) / means[-1])
        best = scores.topk(_count_attended(scores.shape[1]), dim=1).indices
        rows = maps.flatten(2).movedim(1, 2)
        moments.add(rows.gather(1, best[..., None].expand(-1, -1, rows.shape[2])).flatten(0, 1))
    if not means:
        raise InputError(
            f"none of {len(files)} training images could be read{name_first(failures)}"
        )
    mean, contrast = torch.cat(means).mean(), float(torch.cat(contrasts).mean())
    _check(float(mean), contrast, remedies)
    local.mean_score.copy_(mean)
    if settings.reduction == "pca":
        kept = moments.fit_pca(local.reduction)
        logger.info("DELF: %d components keep %.3f of the variance", settings.dim, kept)
    return failures


def _count_attended(locations: int) -> int:
    return max(1, int(locations * ATTENDED_SHARE))


def check_descriptors(model: DescriptorModel, settings: DelfSettings, images: int) -> None:
    """Raise InputError if so many images have too few descriptors for the PCA, before any training.

    Args:
        model: of the maps; its mode stays.
        settings: stride, reduction and dim count.
        images: that calibrate will read.
    """
    if settings.reduction != "pca":
        return
    training, side = model.training, model.spec.image_size
    blank = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    maps = make_maps(model.eval(), find_level(model.backbone, settings), blank)
    model.train(training)
    check_count(images * _count_attended(maps.shape[2:].numel()), settings.dim)


def _check(mean: float, contrast: float, remedies: Remedies) -> None:
    """Raise TrainingCollapsed if scores of that mean and contrast choose nothing."""
    if not math.isfinite(mean * contrast):
        raise TrainingCollapsed(f"the attention of DELF is not finite; lower {remedies.rate}")
    if contrast < LEAST_CONTRAST:
        raise TrainingCollapsed(
            f"the attention of DELF is the same everywhere (its standard deviation within an "
            f"image is {contrast:.4f} of its mean); lower {remedies.rate}, raise "
            f"{remedies.epochs}, or check that the images show anything at all"
        )
