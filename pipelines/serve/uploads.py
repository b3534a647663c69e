"""Read the photos and fields of a request, within the limits; nothing is written to disk."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from embed.printable import printable
from rerank.hulls import Box

from .refusal import Refusal
from .sizes import Upload

RAW = ("image/", "application/octet-stream")
MOST_FIELDS, LONGEST_FIELD = 8, 4096  # of a form; bytes
LONGEST_NAME = 120  # characters of a file's name, which is shown and nothing else
LARGEST_SIDE = 30_000  # pixels; of a thin photo far more is computed than it has pixels
REMEDY = "send a photo as the body (Content-Type: image/jpeg), or as a form (multipart/form-data)"


@dataclass(frozen=True, eq=False)
class Body:
    """What came with a request."""

    uploads: Sequence[Upload]
    fields: dict[str, str] = field(default_factory=dict)


class _InMemory(MultiPartParser):
    """Keeps files in memory: how much that may be is limited before."""

    spool_max_size = sys.maxsize
    whole = False  # whether the last boundary came

    def on_end(self) -> None:
        """Take note of the last boundary."""
        self.whole = True

    async def parse(self) -> FormData:
        """Return the form. Raises MultiPartException, also where it is cut off."""
        self.stream = self._to_end(self.stream)
        return await super().parse()

    async def _to_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for part in stream:
            yield part
        if not self.whole:
            raise MultiPartException("it is cut off, without its last boundary")


async def read_body(request: Request, max_pixels: int, most: int, box: Box | None = None) -> Body:
    """Read photos, from a form or as the whole body.

    Args:
        request: to read.
        max_pixels: that a photo may have.
        most: photos that may come.
        box: of the part of the photos that is meant.

    Raises:
        Refusal: it holds no photo, too many or too large ones, or no form that can be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        files, fields = await _read_form(request, most)
    elif kind.startswith(RAW):
        files, fields = [("photo", await request.body())], {}
    else:
        raise Refusal(415, f"'{printable(kind[:LONGEST_NAME])}' holds no photo; {REMEDY}")
    if not files:
        raise Refusal(422, f"the form holds no file; {REMEDY}")
    uploads = await asyncio.to_thread(lambda: [Upload.of(data, name, box) for name, data in files])
    for upload in uploads:
        if upload.size > max_pixels:
            raise Refusal(
                413,
                f"{upload.photo.name} has {upload.size / 1e6:.1f} megapixels; this server takes "
                f"{max_pixels / 1e6:.1f}: make it smaller",
            )
        if upload.side > LARGEST_SIDE:
            raise Refusal(
                413,
                f"{upload.photo.name} has a side of {upload.side:,} pixels; this server takes "
                f"{LARGEST_SIDE:,}: make it smaller",
            )
    return Body(uploads, fields)


async def _read_form(request: Request, most: int) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=most,
        max_fields=MOST_FIELDS,
        max_part_size=LONGEST_FIELD,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError, ValueError) as error:
        found = getattr(error, "message", "its headers are damaged")
        raise Refusal(422, f"the form cannot be read: {found}; {REMEDY}") from error
    files, fields = [], {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            shown = printable(value.filename or "photo")[:LONGEST_NAME]
            files.append((shown, await value.read()))
            await value.close()
        else:
            fields[name] = value
    return files, fields


def parse_box(text: str | None) -> Box | None:
    """Return left, top, right, bottom. Raises Refusal unless there are four in that order.

    >>> parse_box("10,20,110.7,220")
    (10, 20, 111, 220)
    """
    if text is None:
        return None
    try:
        left, top, right, bottom = (round(float(part)) for part in text.split(","))
        if not (0 <= left < right <= LARGEST_SIDE and 0 <= top < bottom <= LARGEST_SIDE):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise Refusal(
            422,
            f"box = '{printable(text[:LONGEST_NAME])}'; give left,top,right,bottom in pixels of "
            "the upright photo",
        ) from error
    return left, top, right, bottom
