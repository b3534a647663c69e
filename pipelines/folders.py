"""Make a dataset of a folder a class: photos/<name of the thing>/*.jpg.

Reads file names only. Writes images/ (hard links, or copies across file systems), the tables and,
last, train.csv or index.csv.
"""

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .artifacts import writing
from .dataset import Dataset
from .images import SUFFIXES
from .linking import link_image
from .origin import claim

logger = logging.getLogger(__name__)

UNUSABLE = re.compile(r"[\\\0\n\r]")  # in an id
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
        FileExistsError: the dataset folder holds tables that this function has not written.
        ValueError: test_every is 1 or negative: nothing would be left to train on; or the dataset
            folder is in source, or source is a dataset.
    """
    check_test_every(test_every)
    classes = _list_classes(source)
    names = [name for name in classes if name != NO_LANDMARK_FOLDER]
    if not any(classes[name] for name in names):
        raise FileNotFoundError(
            f"{source} holds no folder with photos ({', '.join(SUFFIXES)}); put the photos of each "
            "thing into a folder of its own, named after it"
        )
    check_apart(source, folder)
    claim(folder, {"folders": "a folder a class"})
    landmark_ids = assign_ids(names, folder)
    trained = Dataset(folder).load_split("train").ids if keep_training else ()
    tables = _Tables(trained=frozenset(trained))
    database = "index.csv" if keep_training else "train.csv"
    # Images change from here on: without this table an interrupted import is no dataset.
    (folder / database).unlink(missing_ok=True)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, files in classes.items():
        _add_class(tables, name, files, landmark_ids.get(name), folder / "images", test_every)
    _write_tables(tables, landmark_ids, folder, database)
    return {
        "landmarks": len(names),
        "index" if keep_training else "train": len(tables.database),
        "test": len(tables.test),
        "non_landmark": len(tables.non_landmark),
    }


def check_apart(source: Path, folder: Path) -> None:
    """Raise ValueError if a dataset would be written among the photos, or be taken for photos."""
    if folder.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{folder} is among the photos in {source}; name a folder outside: --data")
    if (source / "dataset.json").is_file():
        raise ValueError(f"{source} is a dataset already, not a folder of photos; use it as it is")


def check_test_every(test_every: int) -> None:
    """Raise ValueError if every so many-th photo cannot be kept for the test."""
    if test_every < 0 or test_every == 1:
        raise ValueError(f"test_every is {test_every}; 0 keeps no photo for the test, 5 a fifth")


def _list_classes(source: Path) -> dict[str, list[Path]]:
    """Return the photos of each folder in source, both sorted by name."""
    if not source.is_dir():
        raise FileNotFoundError(f"no folder at {source}")
    classes, others = {}, Counter[str]()
    misplaced: list[str] = []  # photos beside the folders, folders below them
    for folder in sorted(path for path in source.iterdir() if path.name[0] != "."):
        if not folder.is_dir():
            misplaced.append(folder.name)
            continue
        entries = sorted(path for path in folder.iterdir() if path.name[0] != ".")
        files = [path for path in entries if path.is_file()]
        misplaced += [f"{folder.name}/{path.name}/" for path in entries if path.is_dir()]
        classes[folder.name] = [path for path in files if path.suffix.lower() in SUFFIXES]
        others.update(p.suffix.lower() or p.name for p in files if p.suffix.lower() not in SUFFIXES)
    if others:
        left_out = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        logger.warning("left out files of other kinds: %s; convert photos to JPEG", left_out)
    if misplaced:
        logger.warning(
            "left out %d files and folders that are not photos directly in the folder of a thing, "
            "the first: %s",
            *(len(misplaced), ", ".join(misplaced[:3])),
        )
    return classes


def assign_ids(names: Sequence[str], folder: Path) -> dict[str, int]:
    """Return an id for each name, those of an earlier import included, which are kept."""
    known: dict[str, int] = {}
    labels = folder / "labels.csv"
    if labels.is_file():
        with labels.open(newline="", encoding="utf-8") as file:
            known = {row["name"]: int(row["landmark_id"]) for row in csv.DictReader(file)}
    following = max(known.values(), default=-1) + 1
    fresh = [name for name in names if name not in known]
    return {**known, **{name: following + place for place, name in enumerate(fresh)}}


def _add_class(
    tables: _Tables,
    name: str,
    files: Sequence[Path],
    landmark_id: int | None,
    images: Path,
    test_every: int,
) -> None:
    """Link the photos of a class and give each to a table."""
    for place, path in enumerate(files):
        image_id = UNUSABLE.sub("_", f"{name}-{path.stem}")
        while image_id in tables.taken:  # tower.jpg beside tower.png, a/b-c.jpg beside a-b/c.jpg
            image_id = f"{image_id}_{path.suffix[1:].lower()}"
        tables.taken.add(image_id)
        link_image(path, images / f"{image_id}{path.suffix.lower()}")
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
    """Write the tables that have rows, take away those that have none, the database last."""
    labels = [(label, name) for name, label in landmark_ids.items()]
    solution = [(i, "" if label is None else label, "Public") for i, label in tables.test]
    _write_csv(folder / "labels.csv", ("landmark_id", "name"), labels)
    _write_csv(folder / "test.csv", ("id",), [(image_id,) for image_id, _ in tables.test])
    _write_csv(folder / "solution.csv", ("id", "landmarks", "Usage"), solution)
    _write_csv(folder / "non_landmark.csv", ("id",), [(i,) for i in tables.non_landmark])
    if database == "train.csv":
        (folder / "index.csv").unlink(missing_ok=True)
    _write_csv(folder / database, ("id", "landmark_id"), tables.database)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    rows = list(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
