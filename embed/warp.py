"""Turn and distort an image in one resampling: a homography from the new to the old image.

Matrices [3, 3] of changes work on the square of the new image, whose sides run from -1 to 1, and
say where what was at (x, y) goes. Reads and writes no files.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from .transforms import resize_image, resize_to

Matrix = NDArray[np.float64]
SAME: Matrix = np.eye(3)
CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float32)
MAX_STEP = 2.0  # old pixels from one new one to the next; above, bilinear sampling skips some


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


def warp(pixels: NDArray[np.uint8], changes: Matrix, side: int) -> NDArray[np.uint8]:
    """Make an image a square and change that.

    Without changes it is resized as images are for inference.

    Args:
        pixels: [H, W, 3].
        changes: of the square; what they bring in from beyond it is black.
        side: of the new image, in pixels.

    Returns:
        [side, side, 3].
    """
    if np.array_equal(changes, SAME):
        return resize_image(pixels, side)
    pixels = _shrink(pixels, side)
    height, width = pixels.shape[:2]
    to_pixels = np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
    to_square = np.array([[2 / side, 0, 1 / side - 1], [0, 2 / side, 1 / side - 1], [0, 0, 1]])
    # OpenCV counts pixels from the centre of the first one, the square from its corner.
    to_centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    matrix = to_centres @ to_pixels @ np.linalg.inv(changes) @ to_square
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(pixels, matrix, (side, side), flags=way), np.uint8)


def _shrink(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink along the axes that have more than MAX_STEP pixels for one of the new image."""
    shape = [side if length > MAX_STEP * side else length for length in pixels.shape[:2]]
    return resize_to(pixels, (shape[0], shape[1]))
