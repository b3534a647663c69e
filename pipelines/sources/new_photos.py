"""List photos that are to be added to a database, and what each is said to show.

Given one by one or in folders with one label, as a folder a class, or by a table. Opens no photo,
and knows no run: which landmark a name stands for is found out by whoever adds them.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.errors import InputError
from embed.printable import printable
from embed.settings import LARGEST
from embed.table_file import TableFile, as_text, name_rows, parse_whole, read_table
from pipelines.datasets.image_folder import ImageFolder
from pipelines.datasets.images import SUFFIXES, is_dead_link, list_images
from pipelines.datasets.naming import make_id, name_landmark

from .class_folders import list_classes
from .folders import NO_LANDMARK_FOLDER

logger = logging.getLogger(__name__)

NO_NUMBER = "its landmark_id is no whole number from 0 to 2^53"


@dataclass(frozen=True)
class Said:
    """What a photo is said to show: a number, a name, or both."""

    label: int | None = None
    name: str | None = None  # as name_landmark returns it


@dataclass(frozen=True)
class NewPhoto:
    """A photo that is to be added."""

    path: Path
    said: Said
    image_id: str | None = None  # None: after its file
    title: str = ""  # by which errors call it; empty: its path


def list_of_one(paths: Sequence[Path], label: int | None, name: str | None) -> list[NewPhoto]:
    """Return the photos of one landmark: files, or folders of them; errors as list_images."""
    said = Said(label, None if name is None else name_landmark(name))
    return [NewPhoto(path, said) for path in list_images(paths)]


def list_of_classes(folders: Sequence[Path]) -> list[NewPhoto]:
    """Return the photos in folders that each hold a folder a class, named after it.

    Raises:
        MissingFileError: one is no folder.
        InputError: none holds a class.
    """
    photos = []
    for folder in folders:
        classes = list_classes(folder)
        if classes.pop(NO_LANDMARK_FOLDER, None):
            logger.warning(
                "left out %s: photos without a landmark are no part of the database that grows",
                printable(str(folder / NO_LANDMARK_FOLDER)),
            )
        for inside in sorted(folder.glob("*/[!.]*")):
            if is_dead_link(inside) and inside.suffix.lower() in SUFFIXES:
                # It cannot be read, which whoever adds it says.
                classes.get(name_landmark(inside.parent.name), []).append(inside)
        photos += [
            NewPhoto(path, Said(name=name)) for name, paths in classes.items() for path in paths
        ]
    if not photos:
        raise InputError(
            f"{', '.join(map(str, folders))} holds no folder of photos for each thing; say what "
            "the photos show: --label NUMBER, or --name NAME"
        )
    return photos


def list_of_table(table: Path, folder: Path | None = None) -> list[NewPhoto]:
    """Return the photos of a table: id or path, landmark_id or name.

    Args:
        table: CSV or Parquet. Of a row with an id alone the file is <id>.jpg, or another suffix.
        folder: that files are named from; None for the table's own.

    Raises:
        MissingFileError: there is no table.
        InputError: columns are missing, or a row has no file, no landmark or an id that cannot be
            a file name.
    """
    columns = ("id", "path", "landmark_id", "name")
    read = read_table(TableFile.open(table), (), columns)
    names = read.column_names
    for pair in (columns[:2], columns[2:]):
        if not set(pair) & set(names):
            raise InputError(f"{table} has neither column {' nor '.join(pair)}; give it one")
    if not len(read):
        raise InputError(f"{table} has no rows; write a row for each photo")
    texts = {name: as_text(read[name], name, table).to_pylist() for name in names}
    ids, paths, titles = (texts.get(n) or [""] * len(read) for n in ("id", "path", "name"))
    labels: list[int | None] = [None] * len(read)
    if "landmark_id" in names:
        values, whole = parse_whole(as_text(read["landmark_id"], "landmark_id", table))
        given = np.array([bool(text.strip()) for text in texts["landmark_id"]])
        _refuse(table, given & (~whole | (values < 0) | (values > LARGEST)), NO_NUMBER)
        labels = [value if has else None for value, has in zip(values.tolist(), given, strict=True)]
    _refuse(table, [not (i or p) for i, p in zip(ids, paths, strict=True)], "no id and no path")
    unsaid = [n is None and not t for n, t in zip(labels, titles, strict=True)]
    _refuse(table, unsaid, "neither landmark_id nor name")
    _refuse(table, [i != make_id(i) for i in ids], "its id cannot be the name of a file")
    folder = folder or table.parent
    files = ImageFolder(folder)
    return [
        NewPhoto(
            folder / path if path else Path(str(files.locate(image_id))),
            Said(label, name_landmark(title) if title else None),
            image_id or None,
        )
        for image_id, path, label, title in zip(ids, paths, labels, titles, strict=True)
    ]


def _refuse(table: Path, wrong: Sequence[bool] | np.ndarray, what: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise InputError(f"{table}, {name_rows(table, rows)}: {what}; mend it, or take it out")
