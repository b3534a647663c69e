"""Decode one JPEG, PNG or WebP image into upright RGB pixels, or refuse it with a reason.

Only the container parts that define pixels reach Pillow; EXIF is read here, for the orientation
alone. Does not know models, crops or colour profiles (ICC profiles are ignored). Reads the one
file it is given, writes nothing, keeps no state: safe in threads and in worker processes.

Truncation policy (of JPEG: decode_jpeg.py):
  PNG without IEND or WebP shorter than its RIFF size: refused as "truncated".
  Bytes after the end of the image (second MPO picture, motion photo, padding): ignored.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from .decode_jpeg import read_jpeg
from .decode_result import MAX_PARTS, DecodedImage, ImageError, check_size, finish, to_rgb
from .image_file import ImageFile, limit_bytes, read_image_file

__all__ = ["DecodedImage", "ImageError", "decode_image"]

_PILLOW_ERRORS = (  # all that its parsers raise on damaged files, assertions included
    *(OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, LookupError),
    *(TypeError, AttributeError, AssertionError, OverflowError, MemoryError),
    Image.DecompressionBombError,
)
_FOREIGN = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"%PDF": "PDF"}
# Text and ICC chunks pass through, for Pillow to refuse decompression bombs in them.
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"zTXt", b"iTXt"}


def decode_image(
    source: ImageFile | bytes,
    *,
    min_side: int | None = None,
    max_pixels: int = 50_000_000,
    name: str = "",
) -> DecodedImage:
    """Decode one JPEG, PNG or WebP file (first frame if animated), orientation applied.

    Args:
        source: where the image is, or its content.
        min_side: pixels. A JPEG may be decoded at 1/2, 1/4 or 1/8 while its shorter side keeps at
            least this many; None decodes at full size. Never enlarges.
        max_pixels: width x height above which the image is refused, from its header.
        name: of content, in errors.

    Raises:
        ImageError: the image cannot or must not be decoded; `reason` says why.
        ValueError: min_side or max_pixels below 1.
    """
    if (min_side is not None and min_side < 1) or max_pixels < 1:
        raise ValueError(f"min_side {min_side}, max_pixels {max_pixels}: both must be >= 1")
    if isinstance(source, bytes):
        data, name = source, name or f"{len(source)} bytes of image data"
    else:
        data, name = read_image_file(source, limit_bytes(max_pixels)), name or str(source)
    try:
        return _reader(data)(data, min_side, max_pixels)
    except ImageError as error:
        raise ImageError(error.reason, error.found, name) from error
    except _PILLOW_ERRORS as error:
        too_large = isinstance(error, MemoryError | Image.DecompressionBombError)
        reason = "too_large" if too_large else "corrupt"
        found = f"{type(error).__name__} while decoding: {error}"
        raise ImageError(reason, found, name) from error


def _reader(data: bytes) -> Callable[[bytes, int | None, int], DecodedImage]:
    """Choose the reader from the first bytes; file name extensions often lie."""
    if not data:
        raise ImageError("empty", "0 bytes")
    if data[:3] == b"\xff\xd8\xff":
        return read_jpeg
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _read_png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp
    kinds = [kind for magic, kind in _FOREIGN.items() if data.startswith(magic)]
    if data[4:8] == b"ftyp":
        kinds = ["HEIC, AVIF or video"]
    if kinds:
        raise ImageError("unsupported_format", f"is {kinds[0]}")
    raise ImageError("not_an_image", f"unknown file type, its first bytes are {data[:8].hex(' ')}")


def _read_png(data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise ImageError("corrupt" if len(data) >= 33 else "truncated", "no image header")
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    check_size((width, height), max_pixels)
    chunks = list(_png_chunks(data))
    view = memoryview(data)  # whose parts are no copies
    # Without animation chunks Pillow reads the first frame, and cannot warn about them.
    kept = [view[start:end] for kind, start, end in chunks if kind in _PNG_KEPT]
    exif = [data[start + 8 : end - 4] for kind, start, end in chunks if kind == b"eXIf"]
    image = PngImageFile(BytesIO(b"".join([view[:8], *kept])))
    if image.size != (width, height):
        raise ImageError("corrupt", "has two image headers")
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and depth == 16:  # Pillow keeps the high byte of pixels
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    elif isinstance(transparent, int) and image.mode == "L":  # Pillow scales 2 and 4 bits to 8
        image.info["transparency"] = transparent * 255 // (2**depth - 1)
    return finish(_take_pixels(image), exif[0] if exif else b"", (width, height))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of each chunk to IEND, checksums of the critical ones verified."""
    view = memoryview(data)
    start, kind, count = 8, b"", 0
    while kind != b"IEND":
        count += 1
        if count > MAX_PARTS:
            raise ImageError("corrupt", f"more than {MAX_PARTS} chunks")
        end = start + 12 + int.from_bytes(data[start : start + 4])
        kind = data[start + 4 : start + 8]
        if end > len(data):
            raise ImageError("truncated", f"{len(data)} bytes, chunk {kind!r} ends at {end}")
        checksum = int.from_bytes(data[end - 4 : end])
        if kind[:1].isupper() and zlib.crc32(view[start + 4 : end - 4]) != checksum:
            raise ImageError("corrupt", f"wrong checksum in chunk {kind!r} at byte {start}")
        yield kind, start, end
        start = end


def _read_webp(data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage:
    size = _webp_size(data)
    check_size(size, max_pixels)
    stated = 8 + int.from_bytes(data[4:8], "little")
    if stated > len(data):
        raise ImageError("truncated", f"{len(data)} bytes of {stated}")
    image = WebPImageFile(BytesIO(data[:stated]))
    if image.size != size:
        raise ImageError("corrupt", f"header says {size}, content {image.size}")
    return finish(_take_pixels(image), image.info.get("exif", b""), size)


def _take_pixels(image: PngImageFile | WebPImageFile) -> NDArray[np.uint8]:
    """Return [H, W, 3], and free what Pillow holds: turning them takes as much again."""
    image.load()
    pixels = to_rgb(image)
    image.close()
    return pixels


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read (width, height) from the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    if len(data) < 30:
        raise ImageError("truncated", f"{len(data)} bytes, no image header")
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
