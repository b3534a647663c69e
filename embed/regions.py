"""The regions of an image that are described beside the whole: where they are, and their pixels.

A small thing in a wide photo fills much of one of them. Reads and writes no files.
"""

import math

import numpy as np
from numpy.typing import NDArray

from .settings import RegionSettings


def region_boxes(settings: RegionSettings) -> NDArray[np.float64]:
    """Return where the regions of every image are: [R, 4] left, top, right, bottom.

    They are shares of its width and height, grid by grid and row by row. A grid of n has n x n
    regions that cover the image; grids of 2 to L with an overlap of 0.5 are the regions of R-MAC
    with L levels, whose first is the whole square.

    Source:
        Tolias, Sicre, Jégou: Particular Object Retrieval with Integral Max-Pooling of CNN
        Activations, 2016, section 3.2: sides of 2 / (l + 1), which an overlap of 0.5 gives.

    >>> region_boxes(RegionSettings(grids=(2,), overlap=0.5))[1].round(3).tolist()
    [0.333, 0.0, 1.0, 0.667]
    """
    boxes = [
        (column * step, row * step, column * step + side, row * step + side)
        for side, step, grid in ((*_place(grid, settings.overlap), grid) for grid in settings.grids)
        for row in range(grid)
        for column in range(grid)
    ]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _place(grid: int, overlap: float) -> tuple[float, float]:
    """Return side and distance of the regions of a grid, as shares of the image's."""
    side = 1 / (grid - (grid - 1) * overlap)
    return side, side * (1 - overlap)


def decode_side(settings: RegionSettings, side: int) -> int:
    """Return the pixels that an image's shorter side needs for all regions to have so many."""
    shares = [_place(grid, settings.overlap)[0] for grid in settings.grids]
    return math.ceil(side / min(shares, default=1.0))


def cut_regions(pixels: NDArray[np.uint8], boxes: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
    """Return views of an image [H, W, 3], one a box [R, 4]; each has a pixel at least."""
    height, width = pixels.shape[:2]
    places = to_pixels(boxes, (width, height))
    return [pixels[top:bottom, left:right] for left, top, right, bottom in places.tolist()]


def to_pixels(boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Return boxes [R, 4] in pixels of an image of size (width, height), right and bottom outside.

    Whatever part of a pixel a box has, it has all of it.
    """
    sides = np.array([*size, *size])
    scaled = (boxes * sides).round(6)  # 1 / 3 + 2 / 3 is not quite 1
    first = np.minimum(np.floor(scaled[:, :2]), sides[:2] - 1)
    last = np.maximum(np.ceil(scaled[:, 2:]), first + 1)
    return np.concatenate([first, last], axis=1).astype(np.int64)
