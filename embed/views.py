"""Test-time augmentation: the views of an image that are described, and how they are merged.

Views are scales, mirror images and crops; they must be the same for database and queries. Reads and
writes no files. Imports no torch: what does views of any scale is `tensor_views`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray

from .settings import MAX_SCALE, MAX_SCALES, EmbedSettings
from .transforms import Square, resize_image

Floats = NDArray[np.float32]
CROPS = (0, 1, 10, 12)


class Sized(Protocol):
    """What takes images of one size, and works in cells."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that it was made for."""

    @property
    def stride(self) -> int:
        """Pixels of a cell: the patch of a ViT, the stride of a CNN."""


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

    def sides(self, model: Sized) -> tuple[int, ...]:
        """Return the side in pixels of each scale's square; image_size alone with crops.

        Of a fitted image it is that of the square of as many pixels. Backbones work in cells
        (patches of a ViT, the stride of a CNN). A side is rounded to as many pixels as divide both
        the cell and image_size, so scale 1 is image_size itself.
        """
        size = model.image_size
        step = math.gcd(size, model.stride)
        return tuple(max(1, round(scale * size / step)) * step for scale in self.scales)

    def input_side(self, model: Sized) -> int:
        """Return the side in pixels of the square that all views are made of.

        Of a fitted image it is that of the square of as many pixels: see `resize`.
        """
        if self.crops:
            return round(model.image_size / self.crop_share)
        return max(self.sides(model))

    def resize(self, model: Sized, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what all views are made of, [h, w, 3], of an image [H, W, 3]."""
        return resize_image(pixels, self.input_side(model), self.square, model.stride)

    def takes(self, model: Sized, shape: tuple[int, int]) -> bool:
        """Tell whether `resize` may return an image of such a height and width."""
        side = self.input_side(model)
        if self.square != "fit":
            return shape == (side, side)
        return all(length > 0 and (length - side) % model.stride == 0 for length in shape)

    @property
    def cut(self) -> bool:
        """Whether all views are parts of the image as it is, or mirrored: none is scaled."""
        return self.scales == (1.0,) and self.crops != 12


ONE_VIEW = Views()


def cut_views(images: NDArray[np.uint8], side: int, views: Views) -> Iterator[NDArray[np.uint8]]:
    """Yield the views of images, none of which is scaled, in the order of tensor_views.make_views.

    Args:
        images: [B, 3, h, w], as Views.resize returns images.
        side: of a crop, in pixels: the model's image_size.
        views: which there are; `cut` is true of them.

    Returns:
        An iterator of [B, 3, side, side] with crops, else of [B, 3, h, w]; not copied.
    """
    for view in _cut_crops(images, side, views.crops) if views.crops else (images,):
        yield view
        if views.mirrors:
            yield view[..., ::-1]


def _cut_crops(images: NDArray[np.uint8], side: int, crops: int) -> Iterator[NDArray[np.uint8]]:
    rest = images.shape[-2] - side
    middle = round(rest / 2)
    corners = [(0, 0), (0, rest), (rest, 0), (rest, rest)] if crops > 1 else []
    for top, left in [*corners, (middle, middle)]:
        yield images[..., top : top + side, left : left + side]


def merge_descriptors(described: Sequence[Floats], p: float = 1.0) -> Floats:
    """Make one descriptor of those of an image's views, as tensor_views.merge_views does.

    Args:
        described: [B, dim] a view, rows of length 1.
        p: exponent of the generalised mean, 1 or more.

    Returns:
        [B, dim], rows of length 1.
    """
    if len(described) == 1:
        return described[0]
    views = np.stack(described)
    if p == 1:
        return _to_length_1(views.sum(axis=0))
    lowest = views.min(axis=(0, 2))[:, None]
    largest = np.maximum((views - lowest).max(axis=0), np.finfo(np.float32).tiny)
    means = (((views - lowest) / largest) ** p).mean(axis=0) ** (1 / p)
    return _to_length_1(largest * means + lowest)


def _to_length_1(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
