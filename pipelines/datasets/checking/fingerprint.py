"""Read one image and keep what tells it from others: sizes, hashes, a small grey picture.

Reads the one file it is given. An image that cannot be read has a reason instead.
"""

import hashlib
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from embed.decode import ImageError, decode_image
from embed.image_file import ImageFile, limit_bytes, read_image_file

SIDE = 32  # pixels of the small picture; as many as imagehash.phash looks at
# Pixels of the shorter side that a JPEG keeps at least. Hashes of 600 photos of 350 and 400 pixels
# were those of the whole image in all but 7 % of cases, and 2 of 64 bits from it in those.
DECODED_SIDE = 4 * SIDE
FORMATS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"RIFF": "WebP"}  # by first bytes


@dataclass(frozen=True)
class Fingerprint:
    """What is known of an image. None: not known, because it could not be read."""

    sha256: bytes | None = None  # of the file, 32 bytes
    format: str | None = None
    width: int | None = None  # pixels, upright and before any reduction
    height: int | None = None
    phash: int | None = None  # 64 bits
    contrast: float | None = None  # standard deviation of the small picture's values, 0 to 127.5
    thumbnail: bytes | None = None  # SIDE x SIDE grey values, row by row
    reason: str | None = None  # code of embed.decode.ImageError
    found: str | None = None  # what was wrong, for people


def take_fingerprint(file: ImageFile, max_pixels: int) -> Fingerprint:
    """Read an image once.

    The hash is the 64-bit DCT hash of the grey picture, as imagehash.phash computes it.

    Args:
        file: where the image is.
        max_pixels: larger images are refused from their header.

    Source: N. Krawetz, "Looks Like It", hackerfactor.com 2011; package ImageHash.
    """
    try:
        data = read_image_file(file, limit_bytes(max_pixels))
    except ImageError as error:
        return Fingerprint(reason=error.reason, found=error.found)
    sha256 = hashlib.sha256(data).digest()
    try:
        image = decode_image(data, min_side=DECODED_SIDE, max_pixels=max_pixels)
    except ImageError as error:
        return Fingerprint(sha256, reason=error.reason, found=error.found)
    grey = Image.fromarray(image.pixels).convert("L")
    small = grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    values = np.asarray(small)
    return Fingerprint(
        sha256,
        next(name for magic, name in FORMATS.items() if data.startswith(magic)),
        *image.original_size,
        _hash(small),
        float(values.std()),
        values.tobytes(),
    )


def _hash(small: Image.Image) -> int:
    bits = imagehash.phash(small, hash_size=8, highfreq_factor=SIDE // 8).hash
    return int.from_bytes(np.packbits(bits).tobytes())
