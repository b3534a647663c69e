"""Compute global descriptors of images with a trained model, from one view or several.

Reads image files, writes nothing. The views must be the same for database and queries.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .failure import Failure
from .image_file import ImageFile
from .images import ImageFiles, collate
from .model import DescriptorModel
from .settings import MAX_SCALE, MAX_SCALES
from .transforms import normalize, resize_square, to_tensor


def pick_device() -> torch.device:
    """Return CUDA where there is a GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Views:
    """How often an image is described; the descriptors of its views are summed."""

    scales: tuple[float, ...] = (1.0,)  # factors of the model's image_size
    flip: bool = False  # each scale a second time, mirrored left to right

    def __post_init__(self) -> None:
        """Raise ValueError for no scales, too many, or one out of range."""
        in_range = all(0 < scale <= MAX_SCALE for scale in self.scales)
        if not 1 <= len(self.scales) <= MAX_SCALES or not in_range:
            raise ValueError(
                f"scales are {self.scales}, expected 1 to {MAX_SCALES} of them, above 0 and at "
                f"most {MAX_SCALE:g}"
            )

    def sides(self, model: DescriptorModel) -> tuple[int, ...]:
        """Return the side in pixels of each scale's square.

        Backbones work in cells (patches of a ViT, the stride of a CNN). A side is rounded to as
        many pixels as divide both the cell and image_size, so scale 1 is image_size itself.
        """
        size = model.spec.image_size
        cell = int(model.backbone.network.feature_info[-1]["reduction"])
        step = math.gcd(size, cell)
        return tuple(max(1, round(scale * size / step)) * step for scale in self.scales)

    def input_side(self, model: DescriptorModel) -> int:
        """Return the largest side, in pixels: what images are decoded for and resized to."""
        return max(self.sides(model))


ONE_VIEW = Views()


@torch.inference_mode()
def describe(
    model: DescriptorModel, images: Tensor, views: Views = ONE_VIEW
) -> NDArray[np.float32]:
    """Describe images.

    Args:
        model: in eval mode, on the device to use.
        images: [B, 3, S, S] uint8, S the input side of the views.
        views: what is described of each.

    Returns:
        [B, dim], rows of length 1: the direction of the sum of the views' descriptors.

    Raises:
        ValueError: images of another side, or a backbone that cannot take a view's side.

    Source:
        Cao, Araujo, Sim: Unifying Deep Local and Global Features for Image Search (DELG), 2020:
        descriptors of three scales, averaged and brought to length 1.
    """
    side = views.input_side(model)
    if images.shape[-2:] != (side, side):
        raise ValueError(
            f"images have shape {tuple(images.shape)}, expected [B, 3, {side}, {side}] for views "
            f"{views.scales}; resize them to views.input_side(model)"
        )
    device = next(model.parameters()).device
    batch = normalize(images.to(device), model.spec.backbone)
    described = [_forward(model, view) for view in _make_views(model, batch, views)]
    # A lone view is of length 1 already; another division would change its last bits.
    merged = described[0]
    if len(described) > 1:
        merged = nn.functional.normalize(torch.stack(described).sum(dim=0), dim=1)
    return np.asarray(merged.cpu().numpy(), dtype=np.float32)


def _make_views(model: DescriptorModel, batch: Tensor, views: Views) -> Iterator[Tensor]:
    """Yield the views of a normalised batch [B, 3, S, S]."""
    for side in views.sides(model):
        view = batch
        if side != batch.shape[-1]:
            view = nn.functional.interpolate(
                batch, size=(side, side), mode="bilinear", antialias=True
            )
        yield view
        if views.flip:
            yield view.flip(-1)


def _forward(model: DescriptorModel, view: Tensor) -> Tensor:
    """Describe one view [B, 3, s, s] as float [B, dim]."""
    try:
        described: Tensor = model(view.contiguous(memory_format=torch.channels_last))
    except (AssertionError, RuntimeError) as error:  # each architecture says it its own way
        if view.shape[-1] == model.spec.image_size:
            raise
        raise ValueError(
            f"'{model.spec.backbone.architecture}' failed on views of {view.shape[-1]} pixels, "
            f"not its {model.spec.image_size} ({error}); some backbones take one size alone: set "
            "scales = [1.0]"
        ) from error
    return described.float()


def describe_pixels(
    model: DescriptorModel, pixels: NDArray[np.uint8], views: Views = ONE_VIEW
) -> NDArray[np.float32]:
    """Return the descriptor [1, dim] of one decoded image [H, W, 3]; errors are describe's.

    To be described as extract_all does, decode with the views' input side as min_side.
    """
    return describe(model, to_tensor(resize_square(pixels, views.input_side(model)))[None], views)


def extract_all(
    model: DescriptorModel,
    paths: Sequence[ImageFile],
    *,
    batch_size: int,
    max_pixels: int,
    workers: int,
    advance: Callable[[int], None] = lambda count: None,
    views: Views = ONE_VIEW,
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[Failure]]:
    """Describe image files, a batch at a time, in order.

    Args:
        model: in eval mode, on the device to use.
        paths: [N] files.
        batch_size: images at a time.
        max_pixels: limit of the decoder.
        workers: processes that decode; 0 decodes in this one.
        advance: called with the number of images that are done since the last call.
        views: what is described of each image; it is decoded once, at their largest side.

    Returns:
        Positions [N'] in paths, ascending, their descriptors [N', dim], and the images that could
        not be read: every position is in one of the two.

    Raises:
        ValueError: a backbone that cannot take a view's side.
    """
    loader = DataLoader(
        ImageFiles(paths, views.input_side(model), max_pixels),
        batch_size=batch_size,
        collate_fn=collate,
        num_workers=workers if len(paths) > batch_size else 0,
    )
    positions: list[int] = []
    failures: list[Failure] = []
    vectors = [np.empty((0, model.spec.dim), dtype=np.float32)]
    for batch in loader:
        positions += batch.positions
        failures += batch.failures
        if batch.positions:
            vectors.append(describe(model, batch.images, views))
        advance(len(batch.positions) + len(batch.failures))
    return np.array(positions, dtype=np.int64), np.concatenate(vectors), failures
