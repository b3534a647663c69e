"""Make a dataset of a folder a class: photos/<name of the thing>/*.jpg.

Reads file names only. Writes images/ (hard links, or copies across file systems), the tables and,
last, train.csv.
"""

import csv
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .artifacts import writing
from .dataset import SUFFIXES, Dataset

logger = logging.getLogger(__name__)

NO_LANDMARK_FOLDER = "_none"  # its photos show none of the things


@dataclass
class _Tables:
    """Rows of the dataset's tables, in order."""

    train: list[tuple[str, int]] = field(default_factory=list)
    test: list[tuple[str, int | None]] = field(default_factory=list)
    non_landmark: list[str] = field(default_factory=list)


def import_folders(source: Path, folder: Path, *, test_every: int) -> dict[str, int]:
    """Write a dataset folder of a folder a class; return how many rows each table got.

    Of each class, and of the folder `_none` with photos of nothing known, every so many-th photo
    by name goes into the test set; the other photos of `_none` are the non-landmark pool. A class
    keeps its landmark_id when the folder is imported again with more classes.

    Args:
        source: holds one folder a class.
        folder: the dataset folder to write.
        test_every: 5 keeps every fifth photo for the test, 0 none.

    Raises:
        FileNotFoundError: source is no folder, or no class in it has a photo.
        ValueError: test_every is 1 or negative: nothing would be left to train on.
    """
    if test_every < 0 or test_every == 1:
        raise ValueError(f"test_every is {test_every}; 0 keeps no photo for the test, 5 a fifth")
    classes = _list_classes(source)
    names = [name for name in classes if name != NO_LANDMARK_FOLDER]
    if not any(classes[name] for name in names):
        raise FileNotFoundError(
            f"{source} holds no folder with photos ({', '.join(SUFFIXES)}); put the photos of each "
            "thing into a folder of its own, named after it"
        )
    landmark_ids = _assign_ids(names, folder)
    tables = _Tables()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, files in classes.items():
        _add_class(tables, name, files, landmark_ids.get(name), folder / "images", test_every)
    _write_tables(tables, landmark_ids, folder)
    return {
        "landmarks": len(landmark_ids),
        "train": len(tables.train),
        "test": len(tables.test),
        "non_landmark": len(tables.non_landmark),
    }


def _list_classes(source: Path) -> dict[str, list[Path]]:
    """Return the photos of each folder in source, both sorted by name."""
    if not source.is_dir():
        raise FileNotFoundError(f"no folder at {source}")
    classes, others = {}, Counter[str]()
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        if folder.name.startswith("."):
            continue
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
        classes[folder.name] = [path for path in files if path.suffix.lower() in SUFFIXES]
        others.update(p.suffix.lower() or p.name for p in files if p.suffix.lower() not in SUFFIXES)
    if others:
        left_out = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        logger.warning("left out files of other kinds: %s; convert photos to JPEG", left_out)
    return classes


def _assign_ids(names: Sequence[str], folder: Path) -> dict[str, int]:
    """Return an id for each name; the ids of an earlier import are kept."""
    known: dict[str, int] = {}
    if (folder / "train.csv").is_file():
        known = {name: label for label, name in Dataset(folder).names.items()}
    following = max(known.values(), default=-1) + 1
    fresh = [name for name in names if name not in known]
    ids = {**known, **{name: following + place for place, name in enumerate(fresh)}}
    return {name: ids[name] for name in names}


def _add_class(
    tables: _Tables,
    name: str,
    files: Sequence[Path],
    landmark_id: int | None,
    images: Path,
    test_every: int,
) -> None:
    """Link the photos of a class and give each to a table."""
    taken: set[str] = set()
    for place, path in enumerate(files):
        image_id = f"{name}-{path.stem}"
        if image_id in taken:  # tower.jpg beside tower.png
            image_id = f"{name}-{path.stem}_{path.suffix[1:].lower()}"
        taken.add(image_id)
        _link(path, images / f"{image_id}{path.suffix.lower()}")
        if test_every and place % test_every == test_every - 1:
            tables.test.append((image_id, landmark_id))
        elif landmark_id is None:
            tables.non_landmark.append(image_id)
        else:
            tables.train.append((image_id, landmark_id))


def _link(source: Path, target: Path) -> None:
    """Make target the same file as source, or a copy where that cannot be."""
    if target.exists() and os.path.samefile(source, target):
        return
    with writing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)


def _write_tables(tables: _Tables, landmark_ids: dict[str, int], folder: Path) -> None:
    """Write the tables that have rows, take away those that have none, train.csv last."""
    labels = [(label, name) for name, label in landmark_ids.items()]
    solution = [(i, "" if label is None else label, "Public") for i, label in tables.test]
    _write_csv(folder / "labels.csv", ("landmark_id", "name"), labels)
    _write_csv(folder / "test.csv", ("id",), [(image_id,) for image_id, _ in tables.test])
    _write_csv(folder / "solution.csv", ("id", "landmarks", "Usage"), solution)
    _write_csv(folder / "non_landmark.csv", ("id",), [(i,) for i in tables.non_landmark])
    _write_csv(folder / "train.csv", ("id", "landmark_id"), tables.train)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    rows = list(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
