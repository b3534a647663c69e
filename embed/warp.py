"""Cut, turn and distort an image in one resampling: a homography from the new to the old image.

Matrices [3, 3] of changes work on the square of the new image, whose sides run from -1 to 1, and
say where what was at (x, y) goes. Reads and writes no files.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .transforms import resize_image, resize_to

Matrix = NDArray[np.float64]
SAME: Matrix = np.eye(3)
CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float32)
MAX_STEP = 2.0  # old pixels from one new one to the next; above, bilinear sampling skips some


class Box(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


def rotate(degrees: float) -> Matrix:
    """Turn about the centre, clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def move_corners(inwards: NDArray[np.float64]) -> Matrix:
    """Move each corner inwards: a view from aside.

    Args:
        inwards: [4, 2] shares of the half side along x and y; the corners clockwise from the upper
            left one.
    """
    moved = CORNERS * (1 - inwards).astype(np.float32)
    return np.asarray(cv2.getPerspectiveTransform(CORNERS, moved), dtype=np.float64)


def transform(shift_x: float, shift_y: float, scale: float, shear: float) -> Matrix:
    """Shear along the width, in degrees; scale; then shift, by shares of the side."""
    slope = math.tan(math.radians(shear))
    return np.array([[scale, scale * slope, 2 * shift_x], [0, scale, 2 * shift_y], [0, 0, 1]])


def warp(pixels: NDArray[np.uint8], box: Box, changes: Matrix, side: int) -> NDArray[np.uint8]:
    """Cut a box out of an image, make it a square and change that.

    What changes bring in from beyond the box is what the image has there, and black beyond the
    image. Without changes the box is resized as images are for inference.

    Args:
        pixels: [H, W, 3] of the image.
        box: inside the image.
        changes: of the square.
        side: of the new image, in pixels.

    Returns:
        [side, side, 3].
    """
    left, top, width, height = box
    if np.array_equal(changes, SAME):
        return resize_image(pixels[top : top + height, left : left + width], side)
    shrunk = _shrink(pixels, box, side)
    scale_y, scale_x = np.array(shrunk.shape[:2]) / pixels.shape[:2]
    to_box = np.array([[width / 2, 0, left + width / 2], [0, height / 2, top + height / 2]])
    to_box = np.vstack([to_box * [[scale_x], [scale_y]], [0, 0, 1]])
    to_square = np.array([[2 / side, 0, 1 / side - 1], [0, 2 / side, 1 / side - 1], [0, 0, 1]])
    # OpenCV counts pixels from the centre of the first one, the box from its corner.
    to_centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    matrix = to_centres @ to_box @ np.linalg.inv(changes) @ to_square
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(shrunk, matrix, (side, side), flags=way), np.uint8)


def _shrink(pixels: NDArray[np.uint8], box: Box, side: int) -> NDArray[np.uint8]:
    """Shrink the image along the axes where the box has more than MAX_STEP pixels for one."""
    steps = np.array([box.height, box.width]) / side
    if steps.max() <= MAX_STEP:
        return pixels
    shape = np.rint(pixels.shape[:2] / np.where(steps > MAX_STEP, steps, 1.0))
    height, width = np.maximum(shape, 1).astype(int).tolist()
    return resize_to(pixels, (height, width))
