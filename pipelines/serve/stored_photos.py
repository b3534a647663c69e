"""Show photos of a database: decoded, made smaller and encoded anew, so without metadata."""

import io
from collections.abc import Callable
from functools import lru_cache

from PIL import Image

from embed.decode import decode_image
from embed.image_file import ImageFile

SIDES = {"small": 360, "large": 1280}  # pixels of the longer side
KEPT = {"small": 1000, "large": 50}  # in memory, some 20 and 200 kB each
QUALITY = 82  # of JPEG


def encode_photo(place: ImageFile, side: int, max_pixels: int) -> bytes:
    """Return a photo as a JPEG whose longer side has at most `side` pixels.

    Raises:
        ImageError: it is gone, or cannot be read.
    """
    pixels = decode_image(place, min_side=side, max_pixels=max_pixels).pixels
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def make_encoders(max_pixels: int) -> dict[str, Callable[[ImageFile], bytes]]:
    """Return what encodes photos, by the size that is asked for; it keeps what it encoded last."""

    def make(name: str) -> Callable[[ImageFile], bytes]:
        @lru_cache(KEPT[name])
        def encode(place: ImageFile) -> bytes:
            return encode_photo(place, SIDES[name], max_pixels)

        return encode

    return {name: make(name) for name in SIDES}
