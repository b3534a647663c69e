"""Decode one JPEG, PNG or WebP image into upright RGB pixels, or refuse it with a reason.

Only the container parts that define pixels reach Pillow; EXIF is read here, for the orientation
alone. Does not know models, crops or colour profiles (ICC profiles are ignored). Reads the one
file it is given, writes nothing, keeps no state: safe in threads and in worker processes.

Truncation policy:
  JPEG without its end marker (FF D9): kept, with the pixels of the intact file, when nothing that
    could follow changes a pixel: every scan is announced, and different fillers after the last
    byte decode to the same image (libjpeg fills missing data silently, so one decode cannot tell).
  JPEG that lost pixel data: refused as "truncated". One that was cut and then given an end marker
    is refused if a whole block at its end is missing; a loss inside its last block, or in a
    refinement scan of a progressive file, leaves a valid JPEG and cannot be seen.
  JPEG without its end marker whose tail is zeros: judged without those that are no pixel data.
  PNG without IEND or WebP shorter than its RIFF size: refused as "truncated".
  Bytes after the end of the image (second MPO picture, motion photo, padding): ignored.
"""

import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

_REMEDIES = {
    "missing": "check the path",
    "not_a_file": "give the path of one image file",
    "no_permission": "make the file readable for this user",
    "unreadable": "check the path and the disk",
    "empty": "copy or download the file again",
    "not_an_image": "give a JPEG, PNG or WebP file",
    "unsupported_format": "convert it to JPEG, PNG or WebP",
    "too_large": "shrink the image or raise max_pixels",
    "truncated": "copy or download the file again",
    "corrupt": "export or download the image again",
}
_PILLOW_ERRORS = (  # all that its parsers raise on damaged files, assertions included
    *(OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, LookupError),
    *(TypeError, AttributeError, AssertionError, OverflowError, MemoryError),
    Image.DecompressionBombError,
)
_FOREIGN = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"%PDF": "PDF"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EOI = b"\xff\xd9"
_SOS = 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the others are tables
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # no stuffed zero, restart, fill byte
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_MAX_PARTS = 100_000  # segments or chunks; 50 megapixels in the usual 8 kB chunks take 20,000
_MAX_SCANS = 100  # encoders write 1 to 20; each scan costs a pass over all coefficients
# Text and ICC chunks pass through, for Pillow to refuse decompression bombs in them.
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"zTXt", b"iTXt"}


class ImageError(ValueError):
    """Refuse one image: `reason` is a stable code, the message names file, finding and remedy."""

    def __init__(self, reason: str, found: str, name: str = "image") -> None:
        """Keep all three as args, so that the error survives pickling between processes."""
        super().__init__(reason, found, name)
        self.reason, self.found, self.name = reason, found, name

    def __str__(self) -> str:
        """Say which file, what was found, and what to do."""
        return f"{self.name}: {self.found}; {_REMEDIES[self.reason]} ({self.reason})"


@dataclass(frozen=True)
class DecodedImage:
    """Hold upright pixels and the size they were scaled from.

    pixels: [H, W, 3] uint8, RGB in 0..255, contiguous and writable, transparency over white.
    original_size: (width, height) in pixels after orientation, before DCT scaling.
    """

    pixels: NDArray[np.uint8]
    original_size: tuple[int, int]


def decode_image(
    source: Path | bytes, *, min_side: int | None = None, max_pixels: int = 50_000_000
) -> DecodedImage:
    """Decode one JPEG, PNG or WebP file (first frame if animated), orientation applied.

    Args:
        source: path of the file, or its content.
        min_side: pixels. A JPEG may be decoded at 1/2, 1/4 or 1/8 while its shorter side keeps at
            least this many; None decodes at full size. Never enlarges.
        max_pixels: width x height above which the image is refused, from its header.

    Raises:
        ImageError: the image cannot or must not be decoded; `reason` says why.
        ValueError: min_side or max_pixels below 1.
    """
    if (min_side is not None and min_side < 1) or max_pixels < 1:
        raise ValueError(f"min_side {min_side}, max_pixels {max_pixels}: both must be >= 1")
    name = f"{len(source)} bytes of image data" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else _read_file(source, max_pixels)
        return _reader(data)(data, min_side, max_pixels)
    except ImageError as error:
        raise ImageError(error.reason, error.found, name) from error
    except _PILLOW_ERRORS as error:
        too_large = isinstance(error, MemoryError | Image.DecompressionBombError)
        reason = "too_large" if too_large else "corrupt"
        found = f"{type(error).__name__} while decoding: {error}"
        raise ImageError(reason, found, name) from error


def _read_file(path: Path, max_pixels: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ImageError("not_a_file", f"is {kind}")
        limit = 8 * max_pixels + (64 << 20)  # 16-bit RGBA, uncompressed, and a motion photo's video
        if status.st_size > limit:
            raise ImageError("too_large", f"{status.st_size} bytes > {limit} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError("missing", "no such file") from error
    except PermissionError as error:
        raise ImageError("no_permission", "permission denied") from error
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read: {error.strerror}") from error


def _reader(data: bytes) -> Callable[[bytes, int | None, int], DecodedImage]:
    """Choose the reader from the first bytes; file name extensions often lie."""
    if not data:
        raise ImageError("empty", "0 bytes")
    if data[:3] == b"\xff\xd8\xff":
        return _read_jpeg
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _read_png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp
    kinds = [kind for magic, kind in _FOREIGN.items() if data.startswith(magic)]
    if data[4:8] == b"ftyp":
        kinds = ["HEIC, AVIF or video"]
    if kinds:
        raise ImageError("unsupported_format", f"is {kinds[0]}")
    raise ImageError("not_an_image", f"unknown file type, starts with {data[:8]!r}")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if min(size) < 1:
        raise ImageError("corrupt", f"header says {size[0]} x {size[1]} pixels")
    if size[0] * size[1] > max_pixels:
        raise ImageError("too_large", f"{size[0]} x {size[1]} pixels > {max_pixels} pixels")


def _read_jpeg(data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage:
    segments = _jpeg_segments(data)
    frames = [start for marker, start, _ in segments if marker in _FRAMES]
    scans = [start for marker, start, _ in segments if marker == _SOS]
    _, end, after = segments[-1]
    ended = after > end
    if len(frames) != 1 or not 1 <= len(scans) <= _MAX_SCANS:
        reason = "corrupt" if ended or scans else "truncated"
        raise ImageError(reason, f"{len(frames)} frame headers and {len(scans)} scans")
    height, width = struct.unpack_from(">HH", data, frames[0] + 5)
    _check_size((width, height), max_pixels)
    head, exif = _jpeg_head(data, segments)
    body = head + data[scans[0] : end]
    if not ended:
        body = _trim_jpeg_tail(body, len(scans))
        if not (_announces_all(data, frames[0], scans) and _is_complete(body, fillers=16)):
            raise ImageError("truncated", f"{len(data)} bytes, ends before the image does")
    image = _load_jpeg(body + _EOI, min_side)
    # libjpeg leaves blocks it found no data for at mid-grey (inverted CMYK: 127).
    corner = np.asarray(image.getpixel((image.width - 1, image.height - 1)))
    grey = np.isin(corner, (127, 128)).all()
    if ended and grey and not _is_complete(body, fillers=1, min_side=min_side):
        raise ImageError("truncated", "end marker before the end of the image")
    return _finish(image, exif, (width, height))


def _jpeg_segments(data: bytes) -> list[tuple[int, int, int]]:
    """List (marker, start, end) up to the end marker, which is empty where one is lacking."""
    segments: list[tuple[int, int, int]] = []
    found = _MARKER.search(data, 2)
    while found:
        marker, start, end = data[found.start() + 1], found.start(), found.end()
        if marker == _EOI[1]:
            return [*segments, (marker, start, end)]
        end += max(2, int.from_bytes(data[end : end + 2]))
        if end > len(data):
            return [*segments, (_EOI[1], start, start)]
        segments.append((marker, start, end))
        if len(segments) > _MAX_PARTS:
            raise ImageError("corrupt", f"more than {_MAX_PARTS} segments")
        found = _MARKER.search(data, end)
    return [*segments, (_EOI[1], len(data), len(data))]


def _jpeg_head(data: bytes, segments: list[tuple[int, int, int]]) -> tuple[bytes, bytes]:
    """Split what precedes the first scan into the segments that define pixels, and EXIF."""
    head, exif = data[:2], b""
    for marker, start, end in segments:
        if marker == _SOS:
            break
        if marker == 0xE1 and data[start + 4 : start + 10] == b"Exif\0\0":
            exif = exif or data[start + 4 : end]
        elif not 0xE1 <= marker <= 0xED and marker not in (0xEF, 0xFE):  # keep JFIF and Adobe
            head += data[start:end]
    return head, exif


def _load_jpeg(data: bytes, min_side: int | None = None) -> Image.Image:
    image = JpegImageFile(BytesIO(data))
    if min_side is not None:
        image.draft(None, (min_side, min_side))
    image.load()
    return image


def _trim_jpeg_tail(body: bytes, scans: int) -> bytes:
    """Drop half an end marker, and zeros (unwritten disk blocks) that are no pixel data."""
    if body.endswith(bytes(16)):
        try:
            if scans == 1:  # flat areas are zeros too: without them this decoding fails
                _load_jpeg(body)
        except OSError:
            return body
        body = body.rstrip(b"\0")
    return body.rstrip(b"\xff")


def _announces_all(data: bytes, frame: int, scans: list[int]) -> bool:
    """Tell whether the scans deliver every coefficient of every component to its last bit."""
    pending = {data[frame + 10 + 3 * i]: set(range(64)) for i in range(data[frame + 9])}
    for scan in scans:
        count = data[scan + 4]
        first, last, bits = data[scan + 5 + 2 * count : scan + 8 + 2 * count]
        for component in data[scan + 5 : scan + 5 + 2 * count : 2]:
            if bits & 15 == 0:
                pending[component] -= set(range(first, last + 1))
    return not any(pending.values())


def _is_complete(body: bytes, fillers: int, min_side: int | None = None) -> bool:
    """Tell whether no pixel of a JPEG without its end marker depends on what would follow.

    Each filler starts with other 4 bits. Of 9,036 losses of 1 to 33 bytes that changed pixels, 8
    fillers missed 140 and 16 none; one is enough to show that whole blocks are missing.
    """
    # A decoder that waits for the next restart marker skips everything before it.
    restarts = _RESTART.findall(body, body.rfind(bytes((0xFF, _SOS))))
    due = bytes((0xFF, 0xD0 + len(restarts) % 8))
    try:
        expected = _load_jpeg(body + _EOI, min_side).tobytes()
        for number in range(fillers):
            noise = Random(number).randbytes(96).replace(b"\xff", b"")  # no marker
            filler = bytes((number << 4,)) + noise
            other = _load_jpeg(body + filler + due + filler + _EOI, min_side)
            if other.tobytes() != expected:
                return False
    except OSError:
        return False
    return True


def _read_png(data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise ImageError("corrupt" if len(data) >= 33 else "truncated", "no image header")
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    _check_size((width, height), max_pixels)
    chunks = list(_png_chunks(data))
    # Without animation chunks Pillow reads the first frame, and cannot warn about them.
    kept = [data[start:end] for kind, start, end in chunks if kind in _PNG_KEPT]
    exif = [data[start + 8 : end - 4] for kind, start, end in chunks if kind == b"eXIf"]
    image = PngImageFile(BytesIO(data[:8] + b"".join(kept)))
    if image.size != (width, height):
        raise ImageError("corrupt", "has two image headers")
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and depth == 16:  # Pillow keeps the high byte of pixels
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    elif isinstance(transparent, int) and image.mode == "L":  # Pillow scales 2 and 4 bits to 8
        image.info["transparency"] = transparent * 255 // (2**depth - 1)
    image.load()
    return _finish(image, exif[0] if exif else b"", (width, height))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of each chunk to IEND, checksums of the critical ones verified."""
    start, kind, count = 8, b"", 0
    while kind != b"IEND":
        count += 1
        if count > _MAX_PARTS:
            raise ImageError("corrupt", f"more than {_MAX_PARTS} chunks")
        end = start + 12 + int.from_bytes(data[start : start + 4])
        kind = data[start + 4 : start + 8]
        if end > len(data):
            raise ImageError("truncated", f"{len(data)} bytes, chunk {kind!r} ends at {end}")
        checksum = int.from_bytes(data[end - 4 : end])
        if kind[:1].isupper() and zlib.crc32(data[start + 4 : end - 4]) != checksum:
            raise ImageError("corrupt", f"wrong checksum in chunk {kind!r} at byte {start}")
        yield kind, start, end
        start = end


def _read_webp(data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage:
    size = _webp_size(data)
    _check_size(size, max_pixels)
    stated = 8 + int.from_bytes(data[4:8], "little")
    if stated > len(data):
        raise ImageError("truncated", f"{len(data)} bytes of {stated}")
    image = WebPImageFile(BytesIO(data[:stated]))
    if image.size != size:
        raise ImageError("corrupt", f"header says {size}, content {image.size}")
    image.load()
    return _finish(image, image.info.get("exif", b""), size)


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


def _finish(image: Image.Image, exif: bytes, size: tuple[int, int]) -> DecodedImage:
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
