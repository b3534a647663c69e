"""Give an image the size and shape that the network takes. Imports no torch."""

import itertools
import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

# How an image becomes a square. squeeze: its aspect ratio is lost, no part of it is. crop: what
# lies outside the largest square in its middle is lost. fit: none, it becomes a rectangle of as
# many pixels, nearly, and its aspect ratio.
Square = Literal["squeeze", "crop", "fit"]

MAX_ASPECT = 3.0  # longer side to shorter side of a fitted image; a longer one is squeezed to it


def resize_image(
    pixels: NDArray[np.uint8], side: int, square: Square = "squeeze", cell: int = 1
) -> NDArray[np.uint8]:
    """Resize [H, W, 3], or the square in its middle, to [h, w, 3].

    Args:
        pixels: of the image.
        side: h and w, in pixels; with "fit" only of a square image: see fit_shape.
        square: how the image becomes one, if it does.
        cell: pixels, by multiples of which a fitted side differs from `side`.
    """
    if square == "crop":
        pixels = _middle_square(pixels)
    size = pixels.shape[0], pixels.shape[1]
    shape = fit_shape(size, side, cell) if square == "fit" else (side, side)
    return resize_to(pixels, shape)


def resize_to(pixels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize [H, W, 3] to a shape (height, width)."""
    height, width = pixels.shape[:2]
    # Halves are means of whole pixels; what is left to shrink is less, which interpolation does
    # well: averaging areas in one step takes four to eight times as long, and finds no more.
    while height >= 2 * shape[0] or width >= 2 * shape[1]:
        rows, columns = 1 + (height >= 2 * shape[0]), 1 + (width >= 2 * shape[1])
        height, width = height // rows, width // columns
        whole = pixels[: height * rows, : width * columns]  # without an odd last row or column
        pixels = np.asarray(cv2.resize(whole, (width, height)), dtype=np.uint8)
    return np.asarray(cv2.resize(pixels, shape[::-1]), dtype=np.uint8)


def fit_shape(size: tuple[int, int], side: int, cell: int) -> tuple[int, int]:
    """Return the rectangle of about side * side pixels that has the aspect ratio of an image.

    Its sides differ from `side` by multiples of `cell`, so there are few such rectangles and a
    square stays one. Of the four around the exact one it is the best: an error of the aspect ratio
    counts twice one of the area. The ratio is at most MAX_ASPECT before it is rounded.

    Args:
        size: (height, width) of the image, in any unit.
        side: in pixels.
        cell: in pixels: the patch of a ViT, the stride of a CNN.

    Returns:
        (height, width) in pixels; the shorter is at most `side`, the longer at least.

    >>> fit_shape((480, 640), 224, 32), fit_shape((900, 300), 224, 32), fit_shape((9, 9), 224, 32)
    ((192, 256), (384, 128), (224, 224))
    """
    height, width = size
    if height > width:
        return fit_shape((width, height), side, cell)[::-1]
    ratio = min(width / height, MAX_ASPECT)

    def around(exact: float) -> tuple[int, ...]:
        low = side + math.floor((exact - side) / cell) * cell
        return tuple(found for found in (low, low + cell) if found > 0)

    def error(shape: tuple[int, int]) -> float:
        stretch, area = shape[1] / shape[0] / ratio, shape[0] * shape[1] / side**2
        return math.hypot(2 * math.log(stretch), math.log(area))

    root = math.sqrt(ratio)
    heights = (found for found in around(side / root) if found <= side)
    return min(itertools.product(heights, around(side * root)), key=error)


def _middle_square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest square in the middle of [H, W, 3]; of an odd rest, less is cut first."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]
