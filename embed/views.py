"""Test-time augmentation: the views of an image that are described, and how they are merged.

Views are scales, mirror images and crops; they must be the same for database and queries. Reads and
writes no files.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.v2.functional import five_crop

from .model import DescriptorModel
from .settings import MAX_SCALE, MAX_SCALES, EmbedSettings
from .transforms import Square, fit_shape, resize_image

CROPS = (0, 1, 10, 12)


@dataclass(frozen=True)
class Views:
    """How often an image is described; the descriptors of its views are merged.

    Raises:
        ValueError: a value is out of range, or crops come with what they do not go with: other
            scales than 1, images that are no squares, or `flip` where crops are mirrored anyway.

    Source:
        10 crops: Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional
        Neural Networks, 2012, section 4.1. 12: Szegedy et al.: Going Deeper with Convolutions,
        2015, section 7, of one square at one size, where they take three at four.
    """

    scales: tuple[float, ...] = (1.0,)  # factors of the model's image_size
    flip: bool = False  # each scale, or the one crop, a second time, mirrored left to right
    square: Square = "squeeze"  # how an image becomes a square, or not: see transforms
    # 0: the whole square. 1: its middle. 10: its four corners and the middle, each mirrored too.
    # 12: the whole beside these, shrunk to the size of a crop, and mirrored too.
    crops: int = 0
    crop_share: float = 0.875  # side of a crop, of that of the square; a crop has image_size
    merge_p: float = 1.0  # exponent of the generalised mean of the descriptors; 1: their sum

    def __post_init__(self) -> None:
        """Check every field, and which of them go together."""
        in_range = all(0 < scale <= MAX_SCALE for scale in self.scales)
        if not 1 <= len(self.scales) <= MAX_SCALES or not in_range:
            raise ValueError(
                f"scales are {self.scales}, expected 1 to {MAX_SCALES} of them, above 0 and at "
                f"most {MAX_SCALE:g}"
            )
        if self.square not in get_args(Square):
            raise ValueError(f"square is '{self.square}', expected one of {get_args(Square)}")
        if self.crops not in CROPS:
            raise ValueError(f"crops is {self.crops}, expected one of {CROPS}")
        if not 1 / MAX_SCALE <= self.crop_share < 1:
            raise ValueError(
                f"crop_share is {self.crop_share}, expected {1 / MAX_SCALE:g} or more, and below 1"
            )
        if not 1 <= self.merge_p < math.inf:
            raise ValueError(f"merge_p is {self.merge_p}, expected 1 or more")
        if self.crops and self.scales != (1.0,):
            raise ValueError(
                f"{self.crops} crops at scales {self.scales}: a crop has the model's image_size; "
                "set scales = [1.0], or crops = 0"
            )
        if self.crops and self.square == "fit":
            raise ValueError(
                f"{self.crops} crops of an image that is no square; set square = 'squeeze' or "
                "'crop', or crops = 0"
            )
        if self.crops > 1 and self.flip:
            raise ValueError(
                f"{self.crops} crops are mirrored anyway, flip would count them twice; set flip = "
                "false"
            )

    @classmethod
    def of(cls, settings: EmbedSettings) -> Self:
        """Return the views that the settings ask for."""
        return cls(
            scales=settings.scales,
            flip=settings.flip,
            square=settings.square,
            crops=settings.crops,
            crop_share=settings.crop_share,
            merge_p=settings.merge_p,
        )

    @property
    def whole(self) -> bool:
        """Whether the largest view is all of the image."""
        return self.square != "crop" and not self.crops

    @property
    def mirrors(self) -> bool:
        """Whether each view is described mirrored, too."""
        return self.flip or self.crops > 1

    def sides(self, model: DescriptorModel) -> tuple[int, ...]:
        """Return the side in pixels of each scale's square; image_size alone with crops.

        Of a fitted image it is that of the square of as many pixels. Backbones work in cells
        (patches of a ViT, the stride of a CNN). A side is rounded to as many pixels as divide both
        the cell and image_size, so scale 1 is image_size itself.
        """
        size = model.spec.image_size
        step = math.gcd(size, model.backbone.stride)
        return tuple(max(1, round(scale * size / step)) * step for scale in self.scales)

    def input_side(self, model: DescriptorModel) -> int:
        """Return the side in pixels of the square that all views are made of.

        Of a fitted image it is that of the square of as many pixels: see `resize`.
        """
        if self.crops:
            return round(model.spec.image_size / self.crop_share)
        return max(self.sides(model))

    def resize(self, model: DescriptorModel, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what all views are made of, [h, w, 3], of an image [H, W, 3]."""
        return resize_image(pixels, self.input_side(model), self.square, model.backbone.stride)

    def takes(self, model: DescriptorModel, shape: tuple[int, int]) -> bool:
        """Tell whether `resize` may return an image of such a height and width."""
        side = self.input_side(model)
        if self.square != "fit":
            return shape == (side, side)
        return all(length > 0 and (length - side) % model.backbone.stride == 0 for length in shape)


ONE_VIEW = Views()


def make_views(model: DescriptorModel, batch: Tensor, views: Views) -> Iterator[Tensor]:
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
        cell, largest = model.backbone.stride, max(sides)
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
