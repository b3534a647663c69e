"""What the rows of an index stand for: image ids and landmark ids, of millions of rows.

All columns are arrays in one Arrow file that is mapped, not read: opening it takes neither time nor
memory a row. Reads and writes rows.arrow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from embed.columns import map_columns, to_array, write_columns
from embed.errors import InputError, MissingFileError

from .ids import Bools, IdTable, Ints

ROWS = "rows.arrow"
COLUMNS = ("image_id", "hashes", "by_hash", "landmark_id", "by_landmark")  # of the file


@dataclass(frozen=True, eq=False)
class RowTable:
    """The ids of N rows; a removed row keeps its number, but neither id nor landmark finds it."""

    image_ids: IdTable  # of N rows
    landmark_ids: Ints  # [N]
    by_landmark: Ints  # [L] the rows that are not removed, in order of landmark, then of row

    @classmethod
    def build(cls, ids: Iterable[str] | pa.Array | pa.ChunkedArray, landmark_ids: Ints) -> Self:
        """Lay out the ids [N] of rows.

        Raises:
            ValueError: another number of ids than of landmarks.
            InputError: two rows of one image.
        """
        table = IdTable.build(ids)
        if landmark_ids.shape != (len(table),):
            raise ValueError(f"{len(table)} image ids for landmark ids {landmark_ids.shape}")
        labels = np.ascontiguousarray(landmark_ids, dtype=np.int64)
        return cls(table, labels, np.argsort(labels, kind="stable"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map a file. Whether it is as it was written, the caller knows.

        Raises:
            MissingFileError: no file there.
            InputError: it is no table of rows.
        """
        try:
            texts, *numbers = map_columns(path, COLUMNS)[0]
        except FileNotFoundError as error:
            raise MissingFileError(f"{path} is missing; run `cairn index`") from error
        except (pa.ArrowException, KeyError, OSError) as error:
            message = f"{path} is no table of rows ({error}); run `cairn index --redo`"
            raise InputError(message) from error
        hashes, by_hash, labels, by_landmark = map(to_array, numbers)
        return cls(IdTable((texts,), hashes, by_hash), labels, by_landmark)

    def save(self, path: Path) -> None:
        """Write the table, which has no changes, to a file."""
        ids = self.image_ids
        (texts,) = ids.texts
        numbers = (ids.hashes, ids.by_hash, self.landmark_ids, self.by_landmark)
        write_columns(path, dict(zip(COLUMNS, (texts, *numbers), strict=True)))

    def with_changes(
        self,
        ids: Iterable[str] | pa.Array | pa.ChunkedArray,
        landmark_ids: Ints,
        removed: Bools,
    ) -> Self:
        """Return a table without changes, with rows behind its own and some removed.

        Args:
            ids: [M] of the added rows; that of a removed row may come again.
            landmark_ids: [M].
            removed: [N + M].

        Raises:
            ValueError: lengths that differ, or a table that was changed already.
            InputError: two rows that are not removed are of one image.
        """
        late = type(self).build(ids, landmark_ids)
        image_ids = self.image_ids.with_changes(late.image_ids, removed)
        labels, by_landmark = self.landmark_ids, self.by_landmark
        if len(late):  # each is put behind those of its landmark
            known = labels[by_landmark]
            places = np.searchsorted(known, late.landmark_ids[late.by_landmark], side="right")
            by_landmark = np.insert(by_landmark, places, late.by_landmark + len(self))
            labels = np.concatenate([labels, late.landmark_ids])
        if removed.any():
            by_landmark = by_landmark[~removed[by_landmark]]
        return type(self)(image_ids, labels, by_landmark)

    def __len__(self) -> int:
        """Return N, removed rows included."""
        return len(self.landmark_ids)

    def ids(self, rows: Sequence[int] | Ints) -> pa.LargeStringArray:
        """Return the image ids [n] of rows."""
        return self.image_ids.ids(rows)

    def list_ids(self) -> tuple[str, ...]:
        """Return all image ids [N] as Python has them: a hundred bytes each."""
        return tuple(self.ids(np.arange(len(self))).to_pylist())

    def image_id(self, row: int) -> str:
        """Return the image id of one row."""
        return self.image_ids.image_id(row)

    def rows_of(self, ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> Ints:
        """Return [n] the rows of image ids; -1 for those that no row has."""
        return self.image_ids.rows_of(ids)

    def row_of(self, image_id: str) -> int:
        """Return the row of an image id; -1 if none has it."""
        return self.image_ids.row_of(image_id)

    def labels(self, rows: Ints) -> Ints:
        """Return the landmark ids of rows of any shape; -1 for row -1, which is padding."""
        return np.where(rows < 0, -1, self.landmark_ids[rows])

    @property
    def landmarks(self) -> Ints:
        """The landmarks [C] of rows that are not removed, ascending."""
        return self._classes[0]

    @cached_property
    def largest_class(self) -> int:
        """The number of rows of the landmark that has most; 0 without rows."""
        return int(np.diff(self._classes[1]).max(initial=0))

    def class_sizes(self, landmark_ids: Ints) -> Ints:
        """Return how many rows landmarks have, of any shape; 0 for those that none has."""
        places, there = self._find_classes(landmark_ids)
        starts = self._classes[1]
        return np.where(there, starts[places + there] - starts[places], 0)

    def rows_of_landmark(self, landmark_id: int) -> Ints:
        """Return [n] the rows of a landmark, ascending; none where it has none."""
        (place,), (there,) = self._find_classes(np.array([landmark_id]))
        start, end = self._classes[1][place : place + 2] if there else (0, 0)
        return self.by_landmark[start:end]

    def _find_classes(self, landmark_ids: Ints) -> tuple[Ints, Bools]:
        """Return where landmarks are among all, and whether they are."""
        known = self.landmarks
        places = np.searchsorted(known, landmark_ids)
        there = places < len(known)
        there[there] = known[places[there]] == landmark_ids[there]
        return places, there

    @cached_property
    def _classes(self) -> tuple[Ints, Ints]:
        """The landmarks [C], and [C + 1] where theirs start in by_landmark."""
        labels = self.landmark_ids[self.by_landmark]
        starts = np.flatnonzero(np.diff(labels, prepend=labels[:1] - 1))
        return labels[starts], np.append(starts, len(labels))
