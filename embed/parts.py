"""Parts: rows of some images in a sealed Parquet file that says by itself what is in it.

A part has a row for each image that could be read, the failures of the others, and the key of what
made it. So whatever table its images are in later, and wherever in it, they are found again. Reads
and writes part-*.parquet; knows only the column `image_id`.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from .sealed import BrokenSealError, SealedFile, write_sealed

logger = logging.getLogger(__name__)

ID = "image_id"
# Of the file's metadata.
KEY, FAILURES = b"key", b"failures"
IDS = b"image_ids_sha256"  # ids are read without the rest of their rows

Reason = tuple[str, str]  # why an image could not be read: a short stable code, and a message


def write_part(
    path: Path,
    rows: pa.Table,
    failures: Mapping[str, Reason],
    key: str,
    *,
    group_rows: int | None = None,
) -> None:
    """Write a part; the same input gives the same bytes.

    Args:
        path: the file to write, replaced if it exists.
        rows: with a column image_id, and metadata of their own.
        failures: reason and message of each image that could not be read, by its id.
        key: of what made the rows: another key, other rows for the same images.
        group_rows: rows that are read and checked together; None for all.

    Raises:
        ValueError: an image occurs twice.
    """
    ids = [*rows[ID].to_pylist(), *failures]
    if len(set(ids)) != len(ids):
        raise ValueError(f"the image ids of {path} are not distinct; give each image once")
    notes = {KEY: key, FAILURES: json.dumps(dict(failures)), IDS: _hash_ids(rows[ID].to_pylist())}
    metadata = {**(rows.schema.metadata or {}), **notes}
    write_sealed(rows.replace_schema_metadata(metadata), path, group_rows=group_rows)


@dataclass(frozen=True)
class Part:
    """A part that is whole: the images in it, not their rows."""

    path: Path
    ids: tuple[str, ...]  # of the images that could be read, in the order of their rows
    failures: Mapping[str, Reason]  # reason and message of the others, by id

    @property
    def images(self) -> tuple[str, ...]:
        """All images of the part."""
        return (*self.ids, *self.failures)

    @classmethod
    def find(cls, path: Path, key: str) -> Self | None:
        """Open a part, or return None if there is no whole part of this key.

        Every byte of it is checked; that a damaged one does not count is logged.
        """
        try:
            file = SealedFile(path)
            if file.metadata.get(KEY, b"").decode() != key:
                return None
            file.check()
        except FileNotFoundError:
            return None
        except BrokenSealError as error:
            logger.warning("%s; it is made again", error)
            return None
        failures = json.loads(file.metadata[FAILURES])
        return cls(path, tuple(read_ids(file)), {i: (r[0], r[1]) for i, r in failures.items()})

    def take(self, images: Collection[str]) -> tuple[pa.Table, dict[str, Reason]]:
        """Return the rows of some images of the part, and the failures among them."""
        rows = SealedFile(self.path).read_unchecked()
        kept = rows.filter(pc.is_in(rows[ID], pa.array(images, pa.string())))
        return kept, {each: self.failures[each] for each in images if each in self.failures}


def join_rows(tables: Sequence[pa.Table]) -> pa.Table:
    """Join the rows of parts of one key, at least one.

    Of images that all failed neither head nor extractor was asked: such a table lacks columns.
    """
    return pa.concat_tables([table for table in tables if len(table)] or tables[:1])


def read_ids(file: SealedFile) -> list[str]:
    """Return the image ids of a part's rows. Raises BrokenSealError if they were changed."""
    ids: list[str] = file.read_unchecked([ID])[ID].to_pylist()
    if _hash_ids(ids) != file.metadata[IDS].decode():
        raise BrokenSealError(f"{file.path} is damaged: the sha256 of its image ids differs")
    return ids


def _hash_ids(image_ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(image_ids)).encode()).hexdigest()
