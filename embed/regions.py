"""The regions of an image that are described beside the whole: where they are, and their pixels.

A small thing in a wide photo fills much of one of them. Reads and writes no files.
"""

import math

import numpy as np
from numpy.typing import NDArray

from .settings import RegionSettings


def region_boxes(settings: RegionSettings, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return where the regions of an image are: [R, 4] left, top, right, bottom.

    They are shares of its width and height, grid by grid and row by row. A grid of n has n * n
    regions that cover the image, in as many rows as make them most nearly square: n of a square
    image, fewer of a wide one. On a square image grids of 2 to L with an overlap of 0.5 are the
    regions of R-MAC with L levels, whose first is the whole.

    Args:
        settings: which regions there are.
        size: width and height in pixels; only their ratio counts.

    Source:
        Tolias, Sicre, Jégou: Particular Object Retrieval with Integral Max-Pooling of CNN
        Activations, 2016, section 3.2: sides of 2 / (l + 1), which an overlap of 0.5 gives. Theirs
        are squares, more on wider images; here all images have the same number.

    >>> region_boxes(RegionSettings(grids=(2,), overlap=0.5), (640, 640))[1].round(3).tolist()
    [0.333, 0.0, 1.0, 0.667]
    >>> region_boxes(RegionSettings(grids=(2,), overlap=0.0), (800, 200))[1].tolist()
    [0.25, 0.0, 0.5, 1.0]
    """
    overlap, boxes = settings.overlap, []
    for grid in settings.grids:
        rows = _count_rows(grid, overlap, size)
        (height, down), (width, right) = _place(rows, overlap), _place(grid**2 // rows, overlap)
        boxes += [
            (column * right, row * down, column * right + width, row * down + height)
            for row in range(rows)
            for column in range(grid**2 // rows)
        ]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _count_rows(grid: int, overlap: float, size: tuple[int, int]) -> int:
    """Return the rows of grid * grid regions that are most nearly square; of two nearer to grid."""

    def stretch(rows: int) -> tuple[float, int]:
        sides = _place(grid**2 // rows, overlap)[0] * size[0], _place(rows, overlap)[0] * size[1]
        return round(abs(math.log(sides[0] / sides[1])), 6), abs(rows - grid)

    return min((rows for rows in range(1, grid**2 + 1) if grid**2 % rows == 0), key=stretch)


def _place(count: int, overlap: float) -> tuple[float, float]:
    """Return length and distance of so many regions along a side, as shares of it."""
    length = 1 / (count - (count - 1) * overlap)
    return length, length * (1 - overlap)


def decode_side(settings: RegionSettings, side: int) -> int:
    """Return the pixels that an image's shorter side needs for all regions to have so many.

    Regions have the smallest share of it where there are the most rows: on a square image.
    """
    shares = [_place(grid, settings.overlap)[0] for grid in settings.grids]
    return math.ceil(side / min(shares, default=1.0))


def cut_regions(pixels: NDArray[np.uint8], settings: RegionSettings) -> list[NDArray[np.uint8]]:
    """Return the R regions of an image [H, W, 3] as views of it; each has a pixel at least."""
    height, width = pixels.shape[:2]
    places = to_pixels(region_boxes(settings, (width, height)), (width, height))
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
