"""What decoding an image ends in: upright RGB pixels, or an error with a reason.

Shared by the readers of the formats. Reads and writes no files.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InputError
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
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MAX_PARTS = 100_000  # segments or chunks; 50 megapixels in the usual 8 kB chunks take 20,000


class ImageError(InputError):
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


def finish(image: Image.Image, exif: bytes, size: tuple[int, int]) -> DecodedImage:
    """Convert to RGB, turn upright, and copy into an array of our own."""
    orientation = _orientation(exif)
    image = _flatten(image)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    turned = orientation in (5, 6, 7, 8)
    return DecodedImage(np.array(image), (size[1], size[0]) if turned else size)


def _flatten(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 bits to their high byte, transparency over white."""
    if image.mode == "I;16":
        wide = np.asarray(image)
        grey = (wide >> 8).astype(np.uint8)
        grey[wide == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
