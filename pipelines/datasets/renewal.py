"""Renew a dataset folder: its new tables and images take the place of the old ones together.

Until all of them are whole they wait in .next/, and the dataset stays what it was. Then that folder
is renamed to .ready/, and from there everything moves to its place. Who is interrupted in that
leaves .ready/, and whoever opens the dataset next finishes it. So a dataset is the old one or the
new one, never a mixture.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.artifacts import write_json

from .images import SUFFIXES as IMAGE_SUFFIXES

NEXT, READY = ".next", ".ready"
SUFFIXES = (".csv", ".parquet")  # of tables
IMAGES = "images"
_REMOVED = "removed.json"  # in .ready/: names of the files that have no successor


@dataclass(frozen=True)
class Renewal:
    """What a dataset folder is going to be."""

    folder: Path  # of the dataset
    waiting: Path  # takes the new files, at the places that they will have in the dataset folder

    def place_image(self, target: Path) -> Path:
        """Return where to write the image of target, a path in images/: there, if it is free.

        If an image of that id is there, the new one waits until the tables are whole, too.
        """
        if not list_files(target):
            return target
        return self.waiting / target.relative_to(self.folder)


@contextlib.contextmanager
def renewing(folder: Path, names: Iterable[str]) -> Iterator[Renewal]:
    """Yield what is to be filled; when the block ends well it takes the place of what is there.

    Args:
        folder: of the dataset.
        names: tables (train, test, ...) and other files (selection.json, ...) that belong to what
            is written: those of them that the block does not write are deleted. Tables that are
            not named stay.
    """
    finish_renewal(folder)
    waiting = folder / NEXT
    shutil.rmtree(waiting, ignore_errors=True)  # of a process that was killed
    waiting.mkdir(parents=True)
    try:
        yield Renewal(folder, waiting)
        files = [f"{name}{s}" for name in names for s in ([""] if "." in name else SUFFIXES)]
        removed = [name for name in files if not (waiting / name).is_file()]
        write_json(removed, waiting / _REMOVED)
        os.rename(waiting, folder / READY)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    finish_renewal(folder)


def finish_renewal(folder: Path) -> None:
    """Move to its place what a renewal had made ready, if there is any."""
    ready = folder / READY
    if not ready.is_dir():
        return
    record = ready / _REMOVED
    for name in json.loads(record.read_text(encoding="utf-8")) if record.is_file() else ():
        (folder / name).unlink(missing_ok=True)
    for path in sorted(p for p in ready.rglob("*") if p.is_file() and p != record):
        target = folder / path.relative_to(ready)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_relative_to(folder / IMAGES):
            _remove_others(target)
        shutil.move(path, target)  # a rename, but where images/ lies on another disk
    shutil.rmtree(ready)


def list_files(image: Path) -> list[Path]:
    """Return the files of an image, whatever their suffix."""
    names = (image.with_name(f"{image.stem}{suffix}") for suffix in IMAGE_SUFFIXES)
    return [path for path in names if path.exists()]


def _remove_others(image: Path) -> None:
    """Delete the files of an image with other suffixes: one of them might be read instead."""
    for path in list_files(image):
        if path != image:
            path.unlink()
