"""Decode one JPEG whose content is at hand, or refuse it with a reason.

Truncation policy:
  JPEG without its end marker (FF D9): kept, with the pixels of the intact file, when nothing that
    could follow changes a pixel: every scan is announced, and different fillers after the last
    byte decode to the same image (libjpeg fills missing data silently, so one decode cannot tell).
  JPEG that lost pixel data: refused as "truncated". One that was cut and then given an end marker
    is refused if a whole block at its end is missing; a loss inside its last block, or in a
    refinement scan of a progressive file, leaves a valid JPEG and cannot be seen.
  JPEG without its end marker whose tail is zeros: judged without those that are no pixel data.
"""

import re
import struct
from io import BytesIO
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from simplejpeg import decode_jpeg, decode_jpeg_header

from .decode_result import MAX_PARTS, DecodedImage, ImageError, check_size, finish, to_rgb

_EOI = b"\xff\xd9"
_SOS = 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the others are tables
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # no stuffed zero, restart, fill byte
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_MAX_SCANS = 100  # encoders write 1 to 20; each scan costs a pass over all coefficients


def read_jpeg(data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage:
    """Decode the content of a JPEG file; the arguments and errors are those of decode_image."""
    segments = _jpeg_segments(data)
    frames = [start for marker, start, _ in segments if marker in _FRAMES]
    scans = [start for marker, start, _ in segments if marker == _SOS]
    _, end, after = segments[-1]
    ended = after > end
    if len(frames) != 1 or not 1 <= len(scans) <= _MAX_SCANS:
        reason = "corrupt" if ended or scans else "truncated"
        raise ImageError(reason, f"{len(frames)} frame headers and {len(scans)} scans")
    height, width = struct.unpack_from(">HH", data, frames[0] + 5)
    check_size((width, height), max_pixels)
    head, exif = _jpeg_head(data, segments)
    four = data[frames[0] + 9] == 4  # colours: TurboJPEG's conversion of CMYK is another
    pixels = None
    if ended and not four:
        pixels = _decode_fast(memoryview(data)[:after], (width, height), min_side)
    if pixels is None:
        body = head + data[scans[0] : end]
        if not ended:
            body = _trim_jpeg_tail(body, len(scans))
            if not (_announces_all(data, frames[0], scans) and _is_complete(body, fillers=16)):
                raise ImageError("truncated", f"{len(data)} bytes, ends before the image does")
        pixels = _decode_carefully(body, ended, min_side)
    return finish(pixels, exif, (width, height))


def _decode_fast(
    data: memoryview, size: tuple[int, int], min_side: int | None
) -> NDArray[np.uint8] | None:
    """Return [H, W, 3] of a JPEG without damage; None of one with damage, or odd subsampling.

    The pixels are those of Pillow, which has the same decoder and copies them twice.
    """
    # Only these: the other eighths, which are no SIMD code, take as long as all of the image.
    spare = min(size) // min_side if min_side else 1
    factor = next(by for by in (8, 4, 2, 1) if by <= max(spare, 1))
    width, height = (-(-length // factor) for length in size)
    try:
        if decode_jpeg_header(data)[:2] != size[::-1]:  # a header that only one of us takes for one
            return None
        found = decode_jpeg(data, "RGB", min_width=width, min_height=height)
    except ValueError:
        return None
    return np.asarray(found, dtype=np.uint8)


def _decode_carefully(body: bytes, ended: bool, min_side: int | None) -> NDArray[np.uint8]:
    """Return [H, W, 3] of any JPEG, without its end marker; refuse it if blocks are missing."""
    image = _load_jpeg(body + _EOI, min_side)
    # libjpeg leaves blocks it found no data for at mid-grey (inverted CMYK: 127).
    corner = np.asarray(image.getpixel((image.width - 1, image.height - 1)))
    grey = np.isin(corner, (127, 128)).all()
    if ended and grey and not _is_complete(body, fillers=1, min_side=min_side):
        raise ImageError("truncated", "end marker before the end of the image")
    return to_rgb(image)


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
        if len(segments) > MAX_PARTS:
            raise ImageError("corrupt", f"more than {MAX_PARTS} segments")
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
