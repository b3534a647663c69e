"""The sizes at which images are stored, and bringing an image to one of them.

  original   the bytes as they came if they are a JPEG, else a JPEG of the same pixels
  128        squeezed into a square of 128 x 128; any other number works, too
  250-crop   the middle of the longer side cut to a square, then 250 x 250
  1024-fit   the longer side at most 1024 and the shape kept; smaller images are not enlarged

The squares are exactly of their size, so that small images are enlarged: that is how the data of
the published models were made. Choose `fit` for local features, which want the true shape.

Source: 128 of "Landmark Recognition Challenge with ResNet and DELF", 250-crop of "CS 231N Final
Project: Landmark Recognition", 256 of "Xceptional Landmark Recognition". They name no filter.
"""

import re
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from embed.decode import decode_image
from embed.errors import InputError

JPEG_QUALITY = 90
MAX_PIXELS = 100_000_000  # of an image to be resized; photos of 100 megapixels exist
_NAME = re.compile(r"(?P<side>[1-9][0-9]{0,4})(-(?P<shape>crop|fit))?")


@dataclass(frozen=True)
class Size:
    """What --size names."""

    name: str
    shape: Literal["original", "square", "crop", "fit"]
    side: int = 0  # pixels; 0 for original


def parse_size(name: str) -> Size:
    """Return the size of that name.

    Raises:
        InputError: there is none.
    """
    if name == "original":
        return Size(name, "original")
    found = _NAME.fullmatch(name)
    if not found or not 16 <= int(found["side"]) <= 8192:
        raise InputError(
            f"size {name!r} is not known; choose original, or pixels from 16 to 8192: 256 (a "
            "square), 250-crop (a square cut from the middle) or 1024-fit (shape kept)"
        )
    shape: Literal["square", "crop", "fit"]
    shape = "crop" if found["shape"] == "crop" else "fit" if found["shape"] else "square"
    return Size(name, shape, int(found["side"]))


def convert(data: bytes, size: Size) -> bytes:
    """Return the image as the JPEG to store.

    A JPEG that is kept as it is, is only checked for its end marker: decoding every one would
    cost more than fetching it. The few without are decoded, and what is damaged inside is found,
    and recorded, when it is embedded.

    Raises:
        ImageError: the data are no JPEG, PNG or WebP, or not a whole one.
    """
    if size.shape == "original" and data[:3] == b"\xff\xd8\xff":
        if not data.endswith(b"\xff\xd9"):
            decode_image(data, max_pixels=MAX_PIXELS)
        return data
    # JPEG is decoded at the smallest of 1/1 to 1/8 whose shorter side is still long enough.
    pixels = decode_image(data, min_side=size.side or None, max_pixels=MAX_PIXELS).pixels
    return _encode(resize(pixels, size))


def resize(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Bring pixels [H, W, 3] uint8 to the size: area average to shrink, bilinear to enlarge.

    The same as embedding does, so that it makes no difference which of them shrinks an image.
    """
    height, width = pixels.shape[:2]
    if size.shape == "original":
        return pixels
    if size.shape == "fit":
        scale = min(1.0, size.side / max(height, width))
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
    else:
        target = (size.side, size.side)
    if size.shape == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    shrinks = target[0] <= pixels.shape[1] and target[1] <= pixels.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, target, interpolation=way), dtype=np.uint8)


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise InputError(f"pixels of shape {pixels.shape} cannot be written as JPEG")
    return data.tobytes()
