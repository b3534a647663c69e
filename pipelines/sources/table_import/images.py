"""Put the images of a table into a dataset folder: files as links, bytes as files.

Reads files below a folder, or a column of Parquet files, row group by row group. Writes images/
and, for bytes, imported/: a file for each part of the table that is done, with its failures, so
that an interrupted import goes on after the last whole part. Decodes nothing.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embed.errors import InputError
from embed.failure import Failure
from embed.files import writing
from embed.parts import Part, write_part
from embed.printable import printable
from pipelines.artifacts import hash_values
from pipelines.datasets.images import SUFFIXES, sniff_file, sniff_suffix
from pipelines.datasets.linking import link_image
from pipelines.datasets.naming import compose, spellings
from pipelines.datasets.renewal import Renewal, list_files
from pipelines.progress import Advance, progress_bar

from .rows import Rows
from .sources import TableSource, find_bytes

FLAT_LIMIT = 50_000  # images; more go into folders of the first three characters of their ids
PART_ROWS = 2_000  # rows that an interrupted import does again at most, or one row group
BATCH_ROWS = 16  # images in memory at a time
READ_BUFFER = 1 << 20  # bytes; without it Arrow reads a column of a whole row group at once


@dataclass(frozen=True)
class ImageLayout:
    """images/ of a dataset folder: flat, or in folders of the first three characters of the ids."""

    path: Path
    nested: bool

    def place(self, image_id: str, suffix: str) -> Path:
        """Return where an image goes.

        In nested folders it is called .jpg whatever it is: a dataset looks for no other name there,
        and the decoder looks at the bytes.
        """
        if self.nested:
            return self.path / Path(*image_id[:3]) / f"{image_id}.jpg"
        return self.path / f"{image_id}{suffix}"

    def write(self, image_id: str, data: pa.Buffer, suffix: str, renewal: Renewal) -> bool:
        """Write bytes as the one file of an image; tell whether it is at its place already.

        If it is not, other bytes are there, and are replaced when the dataset is renewed.
        """
        target = self.place(image_id, suffix)
        if list_files(target) == [target] and target.read_bytes() == data:
            return True
        place = renewal.place_image(target)
        # Of a million files; a part of them is done when all of it is on the disk.
        with writing(place, place.with_name(f".{place.name}.tmp"), sync=False) as temporary:
            temporary.write_bytes(data)
        return place == target


def open_images(folder: Path, count: int) -> ImageLayout:
    """Choose the layout of images/ for so many images; that of images already there is kept."""
    path = folder / "images"
    path.mkdir(parents=True, exist_ok=True)
    with os.scandir(path) as entries:
        first = next((entry for entry in entries if entry.name[0] != "."), None)
    return ImageLayout(path, count > FLAT_LIMIT if first is None else first.is_dir())


def link_files(rows: Rows, source: Path, images: ImageLayout, renewal: Renewal) -> list[Failure]:
    """Link the files of N rows; return those that are not there, by row.

    A file is named with its suffix, or without: then the first of SUFFIXES counts that is there.
    """
    assert rows.files is not None
    stems = _list_stems(source)
    failures = []
    with progress_bar("link images", len(rows.ids)) as advance:
        for row, (image_id, name) in enumerate(zip(rows.ids, rows.files, strict=True)):
            path = _find_file(source, name.as_py(), stems)
            failure = _find_problem(path, row)
            if failure is None:
                target = images.place(image_id.as_py(), path.suffix.lower())
                link_image(path, target, renewal)
            else:
                failures.append(failure)
            advance(1)
    return failures


def _list_stems(folder: Path) -> dict[str, Path]:
    """Return the images directly in a folder by their composed names without suffix."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    found: dict[str, Path] = {}
    for suffix in reversed(SUFFIXES):
        matching = (name for name in names if name.lower().endswith(suffix))
        found.update({compose(name[: -len(suffix)]): folder / name for name in matching})
    return found


def _find_file(source: Path, name: str, stems: Mapping[str, Path]) -> Path:
    """Return the file of a name, or where it would be."""
    path = source / name
    for spelled in spellings(name):
        if (source / spelled).is_file():
            return source / spelled
    if path.suffix.lower() in SUFFIXES:
        return path
    if found := stems.get(compose(name)):
        return found
    guesses = (source / f"{form}{suffix}" for form in spellings(name) for suffix in SUFFIXES)
    return next((guess for guess in guesses if guess.is_file()), path)


def _find_problem(path: Path, row: int) -> Failure | None:
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return None
    if path.is_file():
        name = printable(str(path))
        advice = f"add {suffix} to its name" if (suffix := sniff_file(path)) else "convert it"
        return Failure(row, "unsupported_format", f"{name}: no {', '.join(SUFFIXES)}; {advice}")
    kind = "a folder" if path.is_dir() else "no such file"
    if path.suffix.lower() not in SUFFIXES:
        kind += f", and none with {', '.join(SUFFIXES)} added"
    return Failure(row, "missing", f"{printable(str(path))}: {kind}")


@dataclass(frozen=True)
class _RowGroups:
    """Some row groups of one file."""

    path: Path
    groups: tuple[int, ...]
    rows: range  # of the whole table


def write_bytes(
    rows: Rows, source: TableSource, images: ImageLayout, renewal: Renewal
) -> list[Failure]:
    """Write the bytes of N rows as files; return those that are no image, by row.

    Row groups are read one after the other, some images at a time: memory does not grow with the
    table.

    Args:
        rows: the ids, and the column of bytes.
        source: the Parquet files.
        images: where the files go.
        renewal: of the dataset folder, for imported/.

    Raises:
        InputError: a file is damaged.
    """
    failures: list[Failure] = []
    folder, done = renewal.folder / "imported", set()
    with progress_bar("write images", len(rows.ids)) as advance:
        for part in _list_parts(source):
            ids = rows.ids[part.rows.start : part.rows.stop]
            key = _make_key(part, rows.image_column, ids, images)
            record = folder / f"{key[:16]}.parquet"
            known = Part.find(record, key)
            if known is not None:
                found = [
                    Failure(row, *known.failures[image_id])
                    for row, image_id in enumerate(ids.to_pylist())
                    if image_id in known.failures
                ]
                advance(len(part.rows))
            else:
                found, in_place = _write_part(
                    part, rows.image_column, ids, images=images, renewal=renewal, advance=advance
                )
                os.sync()  # once a part: 45 times as fast as waiting for the disk file by file
                # Images that wait for the renewal are gone without it, and so is their record.
                waiting = renewal.waiting / "imported" / record.name
                _write_record(record if in_place else waiting, ids, found, key)
            failures += [Failure(f.position + part.rows.start, f.reason, f.message) for f in found]
            done.add(record)
    for stray in set(folder.glob("*")) - done:  # of a table that has changed
        stray.unlink()
    return failures


def _list_parts(source: TableSource) -> Iterator[_RowGroups]:
    """Yield parts of PART_ROWS or a little more, whole row groups each."""
    start = 0
    for path in source.paths:
        metadata = pq.read_metadata(path)
        groups: list[int] = []
        count = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            count += metadata.row_group(group).num_rows
            if count >= PART_ROWS or group == metadata.num_row_groups - 1:
                yield _RowGroups(path, tuple(groups), range(start, start + count))
                start, groups, count = start + count, [], 0


def _make_key(part: _RowGroups, column: str, ids: pa.Array, images: ImageLayout) -> str:
    """Return what tells whether a part is done: the file as it is now, and where images go."""
    status = part.path.stat()
    file = [part.path.name, status.st_size, status.st_mtime_ns, part.groups, column]
    return hash_values([*file, images.nested, ids.to_pylist()])


def _write_record(record: Path, ids: pa.Array, failures: Sequence[Failure], key: str) -> None:
    reasons = {ids[f.position].as_py(): (f.reason, f.message) for f in failures}
    with writing(record) as temporary:
        write_part(temporary, pa.table({"image_id": pa.array([], pa.string())}), reasons, key)


def _write_part(
    part: _RowGroups,
    column: str,
    ids: pa.Array,
    *,
    images: ImageLayout,
    renewal: Renewal,
    advance: Advance,
) -> tuple[list[Failure], bool]:
    """Write the images of a part.

    Returns:
        What is no image, by row of the part; and whether all images are at their places.
    """
    failures, in_place = [], True
    for row, value in enumerate(_read_values(part, column)):
        data = value.as_buffer() if value.is_valid else None
        suffix = sniff_suffix(data[:16].to_pybytes()) if data is not None else None
        if data is not None and suffix is not None:
            in_place &= images.write(ids[row].as_py(), data, suffix, renewal)
        else:
            failures.append(_describe_problem(row, data))
        advance(1)
    return failures, in_place


def _read_values(part: _RowGroups, column: str) -> Iterator[pa.Scalar]:
    """Yield the bytes of each row, or null."""
    try:
        with pq.ParquetFile(part.path, buffer_size=READ_BUFFER, pre_buffer=False) as file:
            kind = file.schema_arrow.field(column).type
            field = find_bytes(kind)
            for batch in file.iter_batches(
                BATCH_ROWS,
                row_groups=list(part.groups),
                columns=[f"{column}.{field}" if field else column],
                use_threads=False,
            ):
                values = batch.column(0)
                yield from pc.struct_field(values, [field]) if field else values
    except (OSError, pa.ArrowInvalid) as error:
        if getattr(error, "errno", None) is not None:  # of writing an image: the disk is full
            raise
        raise InputError(f"{part.path} cannot be read: {error}; copy it again") from error


def _describe_problem(row: int, data: pa.Buffer | None) -> Failure:
    if data is None:
        return Failure(row, "missing", "the table has no bytes for it")
    if not data.size:
        return Failure(row, "empty", "0 bytes")
    start = data[:8].to_pybytes()
    return Failure(
        row, "not_an_image", f"no JPEG, PNG or WebP, its first bytes are {start[:8].hex(' ')}"
    )
