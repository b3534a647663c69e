"""Cut a box out of a decoded image. Arrays in, arrays out."""

from collections.abc import Sequence

import numpy as np

from .decode_result import DecodedImage
from .errors import RequestError


def fit_box(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a box in whole pixels, as Pillow rounds them, cut to an image of (width, height).

    Raises:
        RequestError: nothing of it is inside.

    >>> fit_box((136.5, -2.0, 648.6, 955.7), (1024, 768))
    (136, 0, 649, 768)
    """
    left, top, right, bottom = (round(value) for value in box)
    fitted = max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
    if fitted[0] >= fitted[2] or fitted[1] >= fitted[3]:
        raise RequestError(
            f"the box {tuple(box)} is outside of an image of {size[0]} x {size[1]} pixels; it is "
            "left, top, right, bottom in pixels of the upright image"
        )
    return fitted


def crop(image: DecodedImage, box: tuple[int, int, int, int]) -> DecodedImage:
    """Return the part of an image within a box of fit_box, in pixels of the original."""
    height, width = image.pixels.shape[:2]
    scale_x, scale_y = width / image.original_size[0], height / image.original_size[1]
    left, top = int(box[0] * scale_x), int(box[1] * scale_y)
    right = max(round(box[2] * scale_x), left + 1)
    bottom = max(round(box[3] * scale_y), top + 1)
    pixels = np.ascontiguousarray(image.pixels[top:bottom, left:right])
    return DecodedImage(pixels, (box[2] - box[0], box[3] - box[1]))
