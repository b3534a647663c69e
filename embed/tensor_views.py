"""Make the views of images with torch, of any scale, and merge their descriptors."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import five_crop

from .transforms import fit_shape
from .views import Sized, Views


def make_views(model: Sized, batch: Tensor, views: Views) -> Iterator[Tensor]:
    """Yield the views of a batch, each followed by its mirror image where there is one.

    Args:
        model: what the views are for.
        batch: [B, 3, h, w] float, normalised, as Views.resize returns images.
        views: which there are.

    Returns:
        An iterator of [B, 3, s, s] float, s the sides, or of what fit_shape makes of them: scales
        in their order; of crops the corners (top left, top right, bottom left, bottom right), the
        middle, the whole.
    """
    sides = views.sides(model)
    shapes = [(side, side) for side in sides]
    if views.square == "fit":
        size = (batch.shape[-2], batch.shape[-1])
        # The largest is the batch itself; the others follow from it, not from the images.
        cell, largest = model.stride, max(sides)
        shapes = [size if side == largest else fit_shape(size, side, cell) for side in sides]
    for view in _cut(batch, sides[0], views.crops) if views.crops else _scale(batch, shapes):
        yield view
        if views.mirrors:
            yield view.flip(-1)


def _scale(batch: Tensor, shapes: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """Yield the batch at each height and width."""
    for shape in shapes:
        if shape == batch.shape[-2:]:
            yield batch
        else:
            yield nn.functional.interpolate(batch, size=shape, mode="bilinear", antialias=True)


def _cut(batch: Tensor, side: int, crops: int) -> Iterator[Tensor]:
    """Yield the crops of the batch, without their mirror images."""
    *corners, middle = five_crop(batch, [side, side])
    if crops > 1:
        yield from corners
    yield middle
    if crops == 12:
        yield from _scale(batch, [(side, side)])


def merge_views(described: Sequence[Tensor], p: float = 1.0) -> Tensor:
    """Make one descriptor of those of an image's views: their sum, or a generalised mean.

    Args:
        described: [B, dim] float32 a view, rows of length 1.
        p: exponent, 1 or more: 1 is the direction of the sum, towards infinity the largest value
            that each dimension has in any view (scale-GeM). Values may be negative: they are
            raised by the image's lowest, and lowered by it again.

    Returns:
        [B, dim], rows of length 1.

    Source:
        1: Cao, Araujo, Sim: Unifying Deep Local and Global Features for Image Search (DELG), 2020.
        Above: Shao et al.: Global Features are All You Need for Image Retrieval and Reranking,
        2023, section 3.2; in their code the lowest value is that of a whole batch.
    """
    # A lone view is of length 1 already; another division would change its last bits.
    if len(described) == 1:
        return described[0]
    views = torch.stack(list(described))
    if p == 1:
        return nn.functional.normalize(views.sum(dim=0), dim=1)
    lowest = views.amin(dim=(0, 2))[:, None]
    # As shares of the largest, which no exponent takes out of float32's range.
    largest = (views - lowest).amax(dim=0).clamp(min=torch.finfo(torch.float32).tiny)
    means = ((views - lowest) / largest).pow(p).mean(dim=0).pow(1 / p)
    return nn.functional.normalize(largest * means + lowest, dim=1)
