"""Write odd image files for tests: rotated, huge, cut, oddly coloured; and what becomes of them."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embed.decode import ImageError, decode_image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "fine": {"quality": 98, "subsampling": 0},
    "restarts": {"restart_marker_blocks": 3},
    "progressive restarts": {"progressive": True, "restart_marker_blocks": 5},
}


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw smooth colour blobs with mild noise, [height, width, 3] uint8: packs like a photo."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth, dtype=np.int16) + rng.integers(-6, 7, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def encode(image: Image.Image | NDArray[np.uint8], format: str, **options: Any) -> bytes:
    """Encode with Pillow into memory; options are those of `Image.save`."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def exif_orientation(orientation: int, byte_order: str = "<") -> bytes:
    """Build an EXIF block that holds the orientation tag alone, little (<) or big (>) endian."""
    magic = b"II*\0" if byte_order == "<" else b"MM\0*"
    entry = struct.pack(byte_order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + magic + struct.pack(byte_order + "IH", 8, 1) + entry + bytes(4)


def store_rotated(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn upright pixels into the stored pixels of that EXIF orientation (EXIF 2.3, 4.6.4)."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: upright.swapaxes(0, 1)[:, ::-1],
    }
    return np.ascontiguousarray(stored[orientation])


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """Frame one PNG chunk: length, kind, payload, CRC."""
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, *before_data: bytes
) -> bytes:
    """Build a PNG from unfiltered rows (each led by a zero byte) and extra whole chunks."""
    return _png(width, height, depth, colour, zlib.compress(rows), before_data)


def png_bomb(width: int, height: int) -> bytes:
    """Build a valid all-black 8-bit RGB PNG of any size without compressing all of it.

    One megabyte of zeros is compressed once, ended by a full flush, and repeated: such a block
    is whole bytes and refers to nothing before it. Adler-32 of n zeros is n mod 65521, then 1.
    """
    total, block = height * (1 + 3 * width), 1 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    repeated = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    tail = last.compress(bytes(total % block)) + last.flush()
    checksum = struct.pack(">HH", total % 65521, 1)
    data = b"\x78\xda" + repeated * (total // block) + tail + checksum
    return _png(width, height, 8, 2, data, ())


def jpeg_without_end(data: bytes, lost: int = 0) -> bytes:
    """Drop the end marker of a JPEG, and that many bytes of scan data before it."""
    if data[-2:] != b"\xff\xd9":
        raise ValueError(f"file ends in {data[-2:].hex()}, not in ffd9; give an intact JPEG")
    return data[: len(data) - 2 - lost]


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """Overwrite the size in the frame header of a baseline or progressive JPEG."""
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    """Decode with plain Pillow: the oracle for files without oddities."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def reason_of(source: Path | bytes, max_pixels: int = 50_000_000) -> str:
    """Return the reason for which decode_image refuses a file."""
    with pytest.raises(ImageError) as caught:
        decode_image(source, max_pixels=max_pixels)
    return caught.value.reason


def _png(
    width: int, height: int, depth: int, colour: int, data: bytes, extra: tuple[bytes, ...]
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(chunks)
