"""The photos that a database has by now: those of its index, and what the journal says since.

Reads index/rows.arrow, images.parquet and removed.parquet of changes/. Imports neither torch nor
faiss: what is in a database, and in which row, is known without its vectors.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.columns import read_parquet, to_array, to_column, to_mask
from embed.errors import InputError, MissingFileError
from index.ids import IdTable
from index.rows import ROWS, RowTable
from pipelines.artifacts import CHANGES, hash_values, load_manifest, name_maker
from pipelines.datasets.naming import name_landmark
from pipelines.runs.changes import IMAGES, PHOTOS, REMOVED, Change, list_changes
from pipelines.runs.integrity import intact_file
from pipelines.runs.names import load_names

Bools = NDArray[np.bool_]
Read = TypeVar("Read")
TRIES = 10  # of reading changes that others take the place of meanwhile


@dataclass(frozen=True, eq=False)
class AddedPhotos:
    """The photos of one change that nothing has removed since."""

    change: Change
    images: pa.Table  # as images.parquet, of these photos
    kept: Bools  # [n] which of the photos of the change they are

    @cached_property
    def _ids(self) -> IdTable:
        return IdTable.build(self.images["image_id"])

    def __contains__(self, image_id: object) -> bool:
        """Tell whether a photo is one of them."""
        return self._ids.row_of(str(image_id)) >= 0

    def locate(self, image_id: str) -> Path | None:
        """Return where the copy of a photo is; None where there is none.

        Raises:
            InputError: as list_files.
        """
        row = self._ids.row_of(image_id)
        return None if row < 0 else self._place(self.images["file"][row].as_py())

    def list_files(self) -> list[tuple[str, Path | None]]:
        """Return the id of each, and where its copy is; None where the run was packed without.

        Raises:
            InputError: a name is no file's of the folder, which no command writes.
        """
        names = zip(*(self.images[c].to_pylist() for c in ("image_id", "file")), strict=True)
        return [(image_id, self._place(name)) for image_id, name in names]

    def _place(self, name: str | None) -> Path | None:
        if name is not None and Path(name).name != name:
            path = self.change.folder / IMAGES
            raise InputError(f"{path} names {name!r}, which is no file of {PHOTOS}/")
        return None if name is None else self.change.folder / PHOTOS / name


@dataclass(frozen=True, eq=False)
class Live:
    """The rows of a database: the N of its index, then the M that were added since."""

    indexed: RowTable  # [N]
    table: RowTable  # [N + M]
    removed: Bools  # [N + M]; none of the M
    added: tuple[AddedPhotos, ...]  # in the order of their rows
    changes: tuple[Change, ...]
    names: dict[int, str]  # of landmarks

    @property
    def content(self) -> str:
        """Hash of what changes make of the index; "" where that is as if there were none."""
        hidden = self.indexed.ids(np.flatnonzero(self.removed[: len(self.indexed)])).to_pylist()
        columns = ("image_id", "landmark_id", "sha256")
        added = [
            (*row, photos.change.manifest.key)
            for photos in self.added
            for row in zip(*(photos.images[name].to_pylist() for name in columns), strict=True)
        ]
        return hash_values([hidden, added]) if hidden or added else ""


def find_file(added: Sequence[AddedPhotos], image_id: str) -> Path | None:
    """Return where the copy of an added photo is; None where there is none."""
    found = (each.locate(image_id) for each in added)
    return next((path for path in found if path is not None), None)


def load_live(run: Path, names: dict[int, str] | None = None) -> Live:
    """Return what the database of a run has.

    Args:
        run: run folder.
        names: of landmarks, without those that changes bring; None: as load_names returns.

    Raises:
        MissingFileError: the run is not indexed.
        InputError: a file is damaged.
    """
    folder = run / "index"
    if load_manifest(folder) is None:
        raise MissingFileError(f"no complete index in {folder}; run `{name_maker(folder)}` first")
    names = load_names(run) if names is None else names
    table = RowTable.load(intact_file(folder, ROWS))
    return while_listed(run, lambda changes: apply_changes(changes, table, names))


def while_listed(run: Path, read: Callable[[list[Change]], Read]) -> Read:
    """Return what is read of the changes of a run, none of which was taken away meanwhile.

    Raises:
        InputError: a file is damaged, or gone without another change in the place of its own.
    """
    for _ in range(TRIES):
        changes = list_changes(run)
        try:
            return read(changes)
        except FileNotFoundError:
            if [each.folder for each in list_changes(run)] == [each.folder for each in changes]:
                raise
    raise MissingFileError(f"{run}/{CHANGES} was written anew each time it was read; ask again")


def apply_changes(changes: Sequence[Change], table: RowTable, names: dict[int, str]) -> Live:
    """Return what changes make of the rows of an index, whose landmarks have these names.

    Raises:
        InputError: a file of a change is damaged, or gone.
    """
    removed = np.zeros(len(table), dtype=np.bool_)
    added: list[AddedPhotos] = []
    numbers, brought = _number_landmarks(changes, table, names)
    for change, numbered in zip(changes, numbers, strict=True):
        if change.removes:
            listed = read_parquet(intact_file(change.folder, REMOVED))
            removed[_find(table, listed["image_id"].filter(listed["in_index"]))] = True
            added = [_without(photos, listed["image_id"]) for photos in added]
        if change.adds:
            images = _renumber(read_parquet(intact_file(change.folder, IMAGES)), numbered)
            added = [_without(photos, images["image_id"]) for photos in added]
            added.append(AddedPhotos(change, images, np.ones(len(images), dtype=np.bool_)))
    added = [photos for photos in added if len(photos.images)]
    if not changes:
        return Live(table, table, removed, (), (), names)
    late = [photos.images for photos in added]
    ids = _join([images["image_id"] for images in late])
    labels = np.concatenate([np.empty(0, np.int64), *(to_array(i["landmark_id"]) for i in late)])
    removed[_find(table, ids)] = True  # the dataset has them, too, by now
    removed = np.concatenate([removed, np.zeros(len(ids), dtype=np.bool_)])
    changed = table.with_changes(ids, labels, removed)
    brought = {n: name for n, name in brought.items() if len(changed.rows_of_landmark(n))}
    return Live(table, changed, removed, tuple(added), tuple(changes), {**brought, **names})


def _number_landmarks(
    changes: Sequence[Change], table: RowTable, names: Mapping[int, str]
) -> tuple[list[dict[int, int]], dict[int, str]]:
    """Return what numbers become others in each change, and the names of landmarks that they bring.

    The dataset may number a landmark that was added otherwise by now, or give its number to
    another: names tell which is which.
    """
    numbers = {name_landmark(name): number for number, name in names.items()}
    taken = {number for change in changes for number in change.names}
    start = max([*table.landmarks.tolist(), *names], default=-1) + 1
    free = (number for number in itertools.count(start) if number not in taken)
    moved, brought = list[dict[int, int]](), dict[int, str]()
    for change in changes:
        moved.append({})
        for number, name in change.names.items():
            if (known := name_landmark(name)) not in numbers:
                numbers[known] = next(free) if number in names else number
                brought[numbers[known]] = name
            if numbers[known] != number:
                moved[-1][number] = numbers[known]
    return moved, brought


def _renumber(images: pa.Table, numbers: Mapping[int, int]) -> pa.Table:
    """Return images with other numbers in the place of some."""
    if not numbers:
        return images
    labels = to_array(images["landmark_id"])
    changed = np.array([numbers.get(label, label) for label in labels.tolist()], dtype=np.int64)
    place = images.schema.get_field_index("landmark_id")
    return images.set_column(place, "landmark_id", to_column(changed))


def _find(table: RowTable, ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the rows of those ids that a table has."""
    rows = table.rows_of(ids)
    return rows[rows >= 0]


def _join(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.string())


def _without(photos: AddedPhotos, ids: pa.ChunkedArray) -> AddedPhotos:
    """Return photos without those of some ids."""
    stay = pc.invert(pc.is_in(photos.images["image_id"], value_set=ids.combine_chunks()))
    kept = photos.kept.copy()
    kept[kept] = to_mask(stay)
    return AddedPhotos(photos.change, photos.images.filter(stay), kept)
