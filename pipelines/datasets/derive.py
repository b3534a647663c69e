"""Write a dataset folder with the images of another one and tables of its own.

Reads and writes tables and dataset.json; images/ becomes a symbolic link, so that a choice among
millions of images takes no time and no space. Opens no image.
"""

import csv
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embed.errors import InputError
from embed.files import writing
from embed.printable import printable
from embed.table_file import as_text, name_rows, parse_whole, read_table
from pipelines.artifacts import write_json

from .dataset import SIDE_TABLES, TABLES, Dataset
from .origin import claim
from .renewal import SUFFIXES, renewing

# Columns that tables of a dataset have a meaning for.
KNOWN = ("id", "landmark_id", "name", "landmarks", "Usage", "url", "image_id", "reason")
# What a dataset of some kind has beside its tables, and what is made of it needs, too.
# A table of more rows is written as Parquet: nobody reads it as text, and CSV takes ten times as
# long.
MAX_CSV_ROWS = 1_000_000


def write_derived(
    source: Dataset,
    folder: Path,
    tables: Mapping[str, pa.Table | None],
    origin: dict[str, Any],
    *,
    images: Path | None = None,
    record: Mapping[str, object] | None = None,
) -> None:
    """Write a dataset folder that shares the images of another.

    Args:
        source: the dataset whose images are used, and whose other tables are copied: they are
            small, and may be edited. It stays as it is, and must not be deleted.
        folder: the folder to write: new, or one of the same origin, whose tables are replaced.
        tables: what is to be written, by name (train, test, rejected, ...); None takes a table
            away.
        origin: goes to dataset.json; says whose folder it is.
        images: folder to use instead of the source's images, where more is to be in it.
        record: values of other files of the dataset, by name (selection.json): written as JSON.

    Raises:
        InputError: the folder holds a dataset of another origin, or images of its own.
        InputError: the folder is the source's, or in it.
    """
    if folder.resolve().is_relative_to(source.folder.resolve()):
        raise InputError(f"{folder} is in {source.folder}, which stays as it is; name another one")
    claim(folder, origin)
    share_images(images or source.folder / "images", folder / "images")
    names = dict.fromkeys([*TABLES, *SIDE_TABLES, *tables])
    files = record or {}
    with renewing(folder, [*names, *files]) as renewal:
        for name in names:
            if name in tables:
                write_rows(tables[name], renewal.waiting / name)
            elif found := source.find_table(name):
                with writing(renewal.waiting / found.name) as temporary:
                    shutil.copyfile(found, temporary)
        for name, values in files.items():
            write_json(values, renewal.waiting / name)


def share_images(source: Path, target: Path) -> None:
    """Make target a symbolic link to the source's folder of images.

    Raises:
        InputError: target is a folder with images of its own.
    """
    there = Path(os.path.relpath(source.resolve(), target.parent.resolve()))
    if target.is_symlink():
        if target.readlink() == there:
            return
        target.unlink()
    elif target.exists():
        raise InputError(f"{target} holds images of its own; name another folder")
    target.symlink_to(there, target_is_directory=True)


def read_rows(path: Path) -> pa.Table:
    """Read all columns of a table: id in NFC, landmark_id as int64, of CSV all else as text.

    Raises:
        MissingFileError: there is no such table.
        InputError: the file is not what its suffix says, or a landmark_id is no integer.
    """
    table = read_table(path, (), KNOWN, others=True)
    for place, name in enumerate(table.column_names):
        if name in ("id", "landmark_id"):
            convert = _as_ids if name == "id" else _as_landmark_ids
            table = table.set_column(place, name, convert(table[name], name, path))
    return table


def _as_ids(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    return pc.if_else(pc.is_valid(column), as_text(column, name, path), None)


def _as_landmark_ids(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """Return the column as int64, null where it is null."""
    values, valid = parse_whole(as_text(column, name, path))
    there = np.asarray(pc.is_valid(column))
    bad = np.flatnonzero(there & ~valid)
    if len(bad):
        value = printable(str(column[int(bad[0])].as_py()))
        raise InputError(
            f"{path}, {name_rows(path, bad)}: landmark_id '{value}' is not an integer; give each "
            "landmark a number"
        )
    return pa.chunked_array([pa.array(values, mask=~there)])


def separate_rows(rows: pa.Table, reasons: Mapping[str, str]) -> tuple[pa.Table, pa.Table]:
    """Return the rows whose id has no reason, and the others: id, landmark_id and reason."""
    ids = pa.array(list(reasons), pa.string())
    found = pc.index_in(rows["id"], ids)
    reason = pc.take(pa.array(list(reasons.values()), pa.string()), found)
    left_out = rows.append_column("reason", reason).filter(pc.is_valid(found))
    return rows.filter(pc.is_null(found)), left_out.select(["id", "landmark_id", "reason"])


def write_rows(table: pa.Table | None, path: Path) -> None:
    """Write a table as <path>.csv, or .parquet if it is large; nothing for None."""
    if table is None:
        return
    large = table.num_rows > MAX_CSV_ROWS
    with writing(path.with_name(f"{path.name}{SUFFIXES[large]}")) as temporary:
        if large:
            pq.write_table(table, temporary)
        else:
            _write_csv(table, temporary)


def _write_csv(table: pa.Table, path: Path) -> None:
    # pyarrow would put quotes around every text.
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    texts = (column for column in table.columns if pa.types.is_string(column.type))
    # Python's writer puts no quotes around a carriage return alone, which readers end lines at.
    returns = any(pc.any(pc.match_substring(column, "\r")).as_py() for column in texts)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    frame.to_csv(path, index=False, lineterminator="\n", encoding="utf-8", quoting=quoting)
