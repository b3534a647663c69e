"""Make a dataset of a folder a class: `photos/<name of the thing>/*.jpg`.

Reads file names, and what class_folders reads. Writes images/ (hard links, or copies across file
systems) and the tables; see renewal for how they take the place of older ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from embed.errors import InputError, MissingFileError
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import read_rows, write_rows
from pipelines.datasets.images import SUFFIXES as IMAGE_SUFFIXES
from pipelines.datasets.linking import link_image
from pipelines.datasets.naming import name_landmark, name_photo
from pipelines.datasets.origin import claim
from pipelines.datasets.renewal import SUFFIXES, Renewal, renewing

from .class_folders import list_classes

NO_LANDMARK_FOLDER = "_none"  # its photos show none of the things


@dataclass
class _Tables:
    """Rows of the dataset's tables, in order."""

    database: list[tuple[str, int]] = field(default_factory=list)
    test: list[tuple[str, int | None]] = field(default_factory=list)
    non_landmark: list[str] = field(default_factory=list)
    trained: frozenset[str] = frozenset()  # ids that must not be in the test
    taken: set[str] = field(default_factory=set)  # ids of all tables


def import_folders(
    source: Path, folder: Path, *, test_every: int, keep_training: bool = False
) -> dict[str, int]:
    """Write a dataset folder of a folder a class; return how many rows each table got.

    Of each class, and of the folder `_none` with photos of nothing known, every so many-th photo
    by name goes into the test set; the other photos of `_none` are the non-landmark pool. A class
    keeps its landmark_id when the folder is imported again with more classes.

    Args:
        source: holds one folder a class.
        folder: the dataset folder to write.
        test_every: 5 keeps every fifth photo for the test, 0 none.
        keep_training: leave train.csv as it is and write the photos to index.csv: new classes are
            searched by the model that is there. No photo trained on goes into the test.

    Raises:
        FileNotFoundError: source is no folder, or no class in it has a photo; or keep_training,
            and the dataset folder has no train table yet.
        InputError: the dataset folder holds tables that this function has not written.
        InputError: test_every is 1 or negative: nothing would be left to train on; or the dataset
            folder is in source, or source is a dataset.
    """
    check_test_every(test_every)
    classes = list_classes(source)
    names = [name for name in classes if name != NO_LANDMARK_FOLDER]
    if not names:
        raise MissingFileError(
            f"{source} holds no folder with photos ({', '.join(IMAGE_SUFFIXES)}); put the photos "
            "of each thing into a folder of its own, named after it"
        )
    check_apart(source, folder)
    claim(folder, {"folders": "a folder a class"})
    landmark_ids = assign_ids(names, folder)
    trained = Dataset(folder).load_split("train").ids if keep_training else ()
    tables = _Tables(trained=frozenset(trained))
    database = ("index",) if keep_training else ("train", "index")
    with renewing(folder, ("labels", "test", "solution", "non_landmark", *database)) as renewal:
        for name, files in classes.items():
            _add_class(tables, files, landmark_ids.get(name), renewal, test_every)
        _write_tables(tables, landmark_ids, renewal.waiting, database[0])
    return {
        "landmarks": len(names),
        database[0]: len(tables.database),
        "test": len(tables.test),
        "non_landmark": len(tables.non_landmark),
    }


def check_apart(source: Path, folder: Path) -> None:
    """Raise InputError if a dataset would be written among the photos, or be taken for photos."""
    if folder.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{folder} is among the photos in {source}; name a folder outside: --data")
    if (source / "dataset.json").is_file():
        raise InputError(f"{source} is a dataset already, not a folder of photos; use it as it is")


def check_test_every(test_every: int) -> None:
    """Raise InputError if every so many-th photo cannot be kept for the test."""
    if test_every < 0 or test_every == 1:
        raise InputError(f"test_every is {test_every}; 0 keeps no photo for the test, 5 a fifth")


def assign_ids(names: Sequence[str], folder: Path) -> dict[str, int]:
    """Return an id for each name, those of an earlier import included, which are kept.

    Args:
        names: of landmarks, as name_landmark returns them.
        folder: the dataset folder, maybe with a table of labels.
    """
    path = next((p for s in SUFFIXES if (p := folder / f"labels{s}").is_file()), None)
    known = {} if path is None else _read_labels(path)
    following = max(known.values(), default=-1) + 1
    fresh = [name for name in names if name not in known]
    return {**known, **{name: following + place for place, name in enumerate(fresh)}}


def _read_labels(path: Path) -> dict[str, int]:
    """Return the landmark of each name, whatever the spelling it was written in."""
    rows = read_rows(path)
    if not {"landmark_id", "name"} <= {*rows.column_names}:
        raise InputError(
            f"{path} has the columns {', '.join(rows.column_names)}, not landmark_id,name; mend "
            "its header, or delete the dataset folder to number all landmarks anew"
        )
    named = zip(rows["name"].to_pylist(), rows["landmark_id"].to_pylist(), strict=True)
    return {name_landmark(name): landmark_id for name, landmark_id in named}


def _add_class(
    tables: _Tables,
    files: Sequence[Path],
    landmark_id: int | None,
    renewal: Renewal,
    test_every: int,
) -> None:
    """Link the photos of a class and give each to a table."""
    for place, path in enumerate(files):
        image_id = name_photo(path, tables.taken)
        tables.taken.add(image_id)
        link_image(path, renewal.folder / "images" / f"{image_id}{path.suffix.lower()}", renewal)
        for_test = test_every and place % test_every == test_every - 1
        if for_test and image_id not in tables.trained:
            tables.test.append((image_id, landmark_id))
        elif landmark_id is None:
            tables.non_landmark.append(image_id)
        else:
            tables.database.append((image_id, landmark_id))


def _write_tables(
    tables: _Tables, landmark_ids: dict[str, int], folder: Path, database: str
) -> None:
    """Write the tables that have rows."""
    labels = [(label, name) for name, label in landmark_ids.items()]
    solution = [(i, "" if label is None else str(label), "Public") for i, label in tables.test]
    for name, columns, rows in (
        ("labels", ("landmark_id", "name"), labels),
        ("test", ("id",), [(image_id,) for image_id, _ in tables.test]),
        ("solution", ("id", "landmarks", "Usage"), solution),
        ("non_landmark", ("id",), [(image_id,) for image_id in tables.non_landmark]),
        (database, ("id", "landmark_id"), tables.database),
    ):
        if rows:
            table = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
            write_rows(table, folder / name)
