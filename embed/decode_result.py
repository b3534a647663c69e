"""What decoding an image ends in: upright RGB pixels, or an error with a reason.

Shared by the readers of the formats. Reads and writes no files.
"""

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import RequestError
from .printable import printable

_REMEDIES = {
    "missing": "check the path",
    "not_a_file": "give the path of one image file",
    "no_permission": "make the file readable for this user",
    "unreadable": "check the path and the disk",
    "empty": "copy or download the file again",
    "not_an_image": "give a JPEG, PNG or WebP file",
    "unsupported_format": "convert it to JPEG, PNG or WebP",
    "too_large": "shrink the image, or raise decode.max_megapixels of the recipe",
    "truncated": "copy or download the file again",
    "corrupt": "export or download the image again",
}
# What turns the stored pixels upright, by orientation (EXIF 2.3, 4.6.4): whether rows and columns
# are exchanged, then the axis that is mirrored as cv2.flip calls it: 0 y, 1 x, -1 both.
_TURNS = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
BAND = 1 << 20  # pixels that are converted at a time
MAX_PARTS = 100_000  # segments or chunks; 50 megapixels in the usual 8 kB chunks take 20,000


class ImageError(RequestError):
    """Refuse one image: `reason` is a stable code, the message names file, finding and remedy."""

    def __init__(self, reason: str, found: str, name: str = "image") -> None:
        """Keep all three as args, so that the error survives pickling between processes."""
        super().__init__(reason, found, name)
        self.reason, self.found, self.name = reason, found, name

    def __str__(self) -> str:
        """Say which file, what was found, and what to do."""
        remedy = f"{_REMEDIES[self.reason]} ({self.reason})"
        return f"{printable(self.name)}: {self.found}; {remedy}"

    @property
    def lines(self) -> tuple[str, ...]:
        """The message, which is one line."""
        return (str(self),)


@dataclass(frozen=True)
class DecodedImage:
    """Hold upright pixels and the size they were scaled from.

    pixels: [H, W, 3] uint8, RGB in 0..255, contiguous and writable, transparency over white.
    original_size: (width, height) in pixels after orientation, before DCT scaling.
    """

    pixels: NDArray[np.uint8]
    original_size: tuple[int, int]


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise ImageError unless both sides are at least 1 and their product at most max_pixels."""
    if min(size) < 1:
        raise ImageError("corrupt", f"header says {size[0]} x {size[1]} pixels")
    if size[0] * size[1] > max_pixels:
        raise ImageError("too_large", f"{size[0]} x {size[1]} pixels > {max_pixels} pixels")


def _orientation(exif: bytes) -> int:
    """Read tag 0x0112 of the first EXIF directory; 1 (upright) where there is none."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    try:
        directory = struct.unpack_from(f"{order}I", tiff, 4)[0] if order else len(tiff)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for i in range(count):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, directory + 2 + 12 * i)
            if tag == 0x0112:
                code = "I" if kind == 4 else "H"
                return int(struct.unpack_from(f"{order}{code}", tiff, directory + 10 + 12 * i)[0])
    except struct.error:
        pass
    return 1


def finish(pixels: NDArray[np.uint8], exif: bytes, size: tuple[int, int]) -> DecodedImage:
    """Turn stored pixels [H, W, 3], which may change, upright; size is their (width, height)."""
    exchanged, mirrored = _TURNS.get(_orientation(exif), (False, None))
    if exchanged:
        pixels, size = np.asarray(cv2.transpose(pixels), dtype=np.uint8), size[::-1]
    if mirrored is not None:
        cv2.flip(pixels, mirrored, dst=pixels)  # in place: large photos take memory enough
    return DecodedImage(pixels, size)


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert any mode to [H, W, 3]: 16 bits to their high byte, transparency over white.

    Raises:
        ImageError: values of 32 bits, of which nobody knows what is white.
    """
    if image.mode in ("I", "F"):
        raise ImageError("unsupported_format", f"has values of 32 bits (mode {image.mode})")
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, BAND // width)  # each conversion copies what it converts, some of them thrice
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = _band_to_rgb(band)
    return pixels


def _band_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert some rows of an image, [H, W, 3] or [H, W, 1] where they are grey."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image)
        grey = (wide >> 8).astype(np.uint8)
        grey[wide == image.info.get("transparency", -1)] = 255
        return grey[:, :, None]
    if not image.has_transparency_data:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return np.asarray(white)
