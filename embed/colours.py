"""Change the colours of an image by one 3 x 4 matrix: [M | t], of RGB values from 0 to 255.

Changes are composed before any pixel is touched, so values are cut off at 0 and 255 once, at the
end. Reads and writes no files.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]  # [3, 4]: a pixel p becomes M p + t
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
SAME: Colours = np.eye(3, 4)


def scale_brightness(colours: Colours, factor: float) -> Colours:
    """Multiply all values."""
    return colours * factor


def scale_contrast(colours: Colours, factor: float, mean: NDArray[np.float64]) -> Colours:
    """Move all values away from the mean luma of the image, or towards it.

    Args:
        colours: changes so far.
        factor: 0: only the mean luma is left; 1: no change.
        mean: [3] mean colour of the image, before any change.
    """
    changed = colours * factor
    changed[:, 3] += (1 - factor) * LUMA @ (colours[:, :3] @ mean + colours[:, 3])
    return changed


def scale_saturation(colours: Colours, factor: float) -> Colours:
    """Move each pixel away from the grey of its own luma, or towards it; 0 leaves only grey."""
    return (factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))) @ colours


def turn_hue(colours: Colours, turns: float) -> Colours:
    """Rotate about the axis of the greys.

    Greys stay, and a third of a turn makes red green, as in HSV; between, HSV keeps the largest of
    the three values, a rotation their mean.
    """
    cosine, sine = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns)
    about = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    rotation = cosine * np.eye(3) + (1 - cosine) / 3 + sine * about  # Rodrigues
    return np.asarray(rotation @ colours)


def recolour(pixels: NDArray[np.uint8], colours: Colours) -> NDArray[np.uint8]:
    """Return [H, W, 3] with changed colours, off by one at most from the exact ones."""
    if np.array_equal(colours, SAME):
        return pixels
    return np.asarray(cv2.transform(pixels, colours), dtype=np.uint8)
