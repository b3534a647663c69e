"""Thumbnails of a dataset's photos, for pages, and what is known of photos that are not there.

Reads and writes thumbnails.bin, the JPEG files one after the other, without metadata, and
thumbnails.parquet: image_id, offset and bytes there, width and height of the upright original, and
the sha256 of its file. A photo that could not be read has no row.
"""

import hashlib
import io
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from PIL import Image

from embed.decode import ImageError, decode_image
from embed.errors import InputError
from embed.files import writing
from embed.image_file import FileSlice, ImageFile, limit_bytes, read_image_file
from embed.parallel import map_parallel
from embed.sealed import BrokenSealError, SealedFile, write_sealed
from index.ids import IdTable
from pipelines.tiles import fit_tile

TABLE, PIXELS = "thumbnails.parquet", "thumbnails.bin"
BOX = (320, 320)  # pixels, the largest width and height of a thumbnail
QUALITY = 75  # of JPEG
SCHEMA = pa.schema(
    {
        "image_id": pa.string(),
        **dict.fromkeys(("offset", "bytes"), pa.int64()),
        **dict.fromkeys(("width", "height"), pa.int32()),
        "sha256": pa.string(),
    }
)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a photo, and what the photo was."""

    jpeg: bytes
    size: tuple[int, int]  # (width, height) of the upright original, pixels
    sha256: str  # of the photo's file


@dataclass(frozen=True)
class StoredThumbnail:
    """A thumbnail as it lies in a folder."""

    file: FileSlice
    size: tuple[int, int]  # as Thumbnail
    sha256: str


class Thumbnails:
    """The thumbnails in a folder."""

    def __init__(self, folder: Path) -> None:
        """Read their table. Raises InputError if it is damaged."""
        self._pixels = folder / PIXELS
        try:
            table = SealedFile(folder / TABLE)
            table.check()
            self._table = table.read_unchecked()
        except BrokenSealError as error:
            raise InputError(f"{error}; unpack the run again") from error
        self._rows = IdTable.build(self._table["image_id"])

    def find(self, image_id: str) -> StoredThumbnail | None:
        """Return the thumbnail of a photo, or None."""
        row = self._rows.row_of(image_id)
        if row < 0:
            return None
        values = self._table.slice(row, 1).to_pylist()[0]
        file = FileSlice(self._pixels, values["offset"], values["bytes"])
        return StoredThumbnail(file, (values["width"], values["height"]), values["sha256"])


Source = ImageFile | StoredThumbnail  # a photo, or what stands for it already


def write_thumbnails(
    photos: Iterable[tuple[str, Source]],
    folder: Path,
    max_pixels: int,
    advance: Callable[[int], None],
) -> int:
    """Write the thumbnails of photos, each with its id, into a folder; return how many there are.

    Args:
        photos: in the order of the tables.
        folder: for TABLE and PIXELS.
        max_pixels: limit of the decoder.
        advance: called with the number of photos done since the last call.
    """

    def shrink(photo: tuple[str, Source]) -> tuple[str, Thumbnail | None]:
        image_id, file = photo
        try:
            return image_id, make_thumbnail(file, max_pixels)
        except ImageError:
            return image_id, None

    rows, offset = [], 0
    with writing(folder / PIXELS) as temporary, temporary.open("wb") as stream:
        with closing(map_parallel(shrink, photos)) as made:
            for image_id, thumbnail in made:
                if thumbnail is not None:
                    count = stream.write(thumbnail.jpeg)
                    rows.append((image_id, offset, count, *thumbnail.size, thumbnail.sha256))
                    offset += count
                advance(1)
    columns = zip(*rows, strict=True) if rows else [[] for _ in SCHEMA]
    with writing(folder / TABLE) as temporary:
        arrays = [pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)]
        write_sealed(pa.Table.from_arrays(arrays, schema=SCHEMA), temporary)
    return len(rows)


def make_thumbnail(file: Source, max_pixels: int) -> Thumbnail:
    """Return the thumbnail of a photo: upright, no wider or higher than BOX, without metadata.

    Raises:
        ImageError: the photo cannot be read.
    """
    if isinstance(file, StoredThumbnail):
        return Thumbnail(read_image_file(file.file, file.file.size), file.size, file.sha256)
    image = decode_image(file, min_side=max(BOX), max_pixels=max_pixels)
    small, stream = Image.fromarray(image.pixels), io.BytesIO()
    if small.width > BOX[0] or small.height > BOX[1]:
        small = fit_tile(small, BOX)
    small.save(stream, "JPEG", quality=QUALITY)
    sha256 = hashlib.sha256(read_image_file(file, limit_bytes(max_pixels))).hexdigest()
    return Thumbnail(stream.getvalue(), image.original_size, sha256)
