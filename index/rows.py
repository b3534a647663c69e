"""What the rows of an index stand for: image ids and landmark ids, of millions of rows.

All columns are arrays that lie in one Arrow file and are mapped, not read: opening it costs neither
time nor memory a row. Ids are found by their hashes, which are sorted. Reads and writes rows.arrow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.columns import to_array, to_column, to_mask, to_texts
from embed.errors import InputError, MissingFileError
from embed.files import writing

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Of the file; the last three are in orders of their own.
COLUMNS = ("image_id", "landmark_id", "by_landmark", "hashes", "by_hash")
# Fowler, Noll, Vo: FNV-1a, 64 bits; of texts of which half are equal but for a digit, all differ.
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@dataclass(frozen=True, eq=False)
class RowTable:
    """The ids of N rows; a removed row keeps its number, but neither id nor landmark finds it."""

    image_ids: tuple[pa.LargeStringArray, ...]  # [N] in one array, or in two: of base and added
    landmark_ids: Ints  # [N]
    by_landmark: Ints  # [L] the L rows that are not removed, in order of landmark, then of row
    hashes: NDArray[np.uint64]  # [L] of the ids of those rows, ascending
    by_hash: Ints  # [L] the rows that have them

    @classmethod
    def build(cls, ids: Iterable[str] | pa.Array, landmark_ids: Ints) -> Self:
        """Lay out the ids [N] of rows.

        Raises:
            ValueError: another number of ids than of landmarks.
            InputError: two rows of one id.
        """
        texts = _to_texts(ids)
        if landmark_ids.shape != (len(texts),):
            raise ValueError(f"{len(texts)} image ids for landmark ids {landmark_ids.shape}")
        labels = np.ascontiguousarray(landmark_ids, dtype=np.int64)
        hashes = hash_texts(texts)
        by_hash = np.argsort(hashes, kind="stable")
        table = cls((texts,), labels, np.argsort(labels, kind="stable"), hashes[by_hash], by_hash)
        table._refuse_repeated()
        return table

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map a file. Whether it is as it was written, the caller knows.

        Raises:
            MissingFileError: no file there.
            InputError: it is no table of rows.
        """
        try:
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
            columns = [table[name].combine_chunks() for name in COLUMNS]
            texts, (labels, by_landmark, hashes, by_hash) = columns[0], map(to_array, columns[1:])
        except FileNotFoundError as error:
            raise MissingFileError(f"{path} is missing; run `cairn index`") from error
        except (pa.ArrowException, KeyError, OSError) as error:
            raise InputError(
                f"{path} is no table of rows ({error}); run `cairn index --redo`"
            ) from error
        return cls((texts,), labels, by_landmark, hashes, by_hash)

    def save(self, path: Path) -> None:
        """Write the table, which has no removed rows, to a file.

        Raises:
            ValueError: it has removed rows.
        """
        if len(self.by_landmark) < len(self):
            raise ValueError(f"{len(self) - len(self.by_landmark)} rows are removed; build anew")
        texts = self.image_ids[0] if len(self.image_ids) == 1 else pa.concat_arrays(self.image_ids)
        numbers = (self.landmark_ids, self.by_landmark, self.hashes, self.by_hash)
        batch = pa.record_batch([texts, *map(pa.array, numbers)], names=list(COLUMNS))
        with writing(path) as temporary, pa.ipc.new_file(temporary, batch.schema) as file:
            file.write_batch(batch)

    def with_changes(
        self, ids: Iterable[str] | pa.Array, landmark_ids: Ints, removed: Bools
    ) -> Self:
        """Return the table with rows behind its own, and some rows removed.

        Args:
            ids: [M] of the added rows; that of a removed row may come again.
            landmark_ids: [M].
            removed: [N + M].

        Raises:
            ValueError: lengths that differ, or a table that was changed already.
            InputError: two rows that are not removed have one id.
        """
        if len(self.image_ids) > 1 or len(self.by_landmark) < len(self):
            raise ValueError("a table that was changed is changed again; give all changes at once")
        late = type(self).build(ids, landmark_ids)
        if removed.shape != (len(self) + len(late),):
            raise ValueError(f"removed has shape {removed.shape}, want [{len(self) + len(late)}]")
        table = self._append(late) if len(late) else self
        if removed.any():
            live, hashed = ~removed[table.by_landmark], ~removed[table.by_hash]
            by_landmark, by_hash = table.by_landmark[live], table.by_hash[hashed]
            hashes = table.hashes[hashed]
            table = replace(table, by_landmark=by_landmark, hashes=hashes, by_hash=by_hash)
        table._refuse_repeated()
        return table

    def _append(self, late: Self) -> Self:
        # What is sorted stays so: each of the few is put behind those it is equal to.
        labels = self.landmark_ids[self.by_landmark]
        sorted_late = late.landmark_ids[late.by_landmark]
        landmarks = np.searchsorted(labels, sorted_late, side="right")
        hashes = np.searchsorted(self.hashes, late.hashes, side="right")
        return type(self)(
            (*self.image_ids, *late.image_ids),
            np.concatenate([self.landmark_ids, late.landmark_ids]),
            np.insert(self.by_landmark, landmarks, late.by_landmark + len(self)),
            np.insert(self.hashes, hashes, late.hashes),
            np.insert(self.by_hash, hashes, late.by_hash + len(self)),
        )

    def __len__(self) -> int:
        """Return N, removed rows included."""
        return len(self.landmark_ids)

    def ids(self, rows: Sequence[int] | Ints) -> pa.LargeStringArray:
        """Return the image ids [n] of rows."""
        rows = np.asarray(rows, dtype=np.int64)
        first = self.image_ids[0]
        if len(self.image_ids) == 1:
            return first.take(to_column(rows))
        late = rows >= len(first)
        found = pa.concat_arrays(
            [
                first.take(to_column(rows[~late])),
                self.image_ids[1].take(to_column(rows[late] - len(first))),
            ]
        )
        return found.take(to_column(np.argsort(np.argsort(late, kind="stable"), kind="stable")))

    def list_ids(self) -> tuple[str, ...]:
        """Return all image ids [N] as Python has them: a hundred bytes each."""
        return tuple(self.ids(np.arange(len(self))).to_pylist())

    def image_id(self, row: int) -> str:
        """Return the image id of one row."""
        return str(self.ids([row])[0])

    def rows_of(self, ids: Iterable[str] | pa.Array) -> Ints:
        """Return [n] the rows of image ids; -1 for those that no row has."""
        texts = _to_texts(ids)
        wanted = hash_texts(texts)
        places = np.searchsorted(self.hashes, wanted)
        rows = np.full(len(texts), -1, dtype=np.int64)
        pending = np.arange(len(texts))
        while len(pending):  # once, but where hashes are equal and ids are not
            there = places[pending] < len(self.hashes)
            pending = pending[there]
            pending = pending[self.hashes[places[pending]] == wanted[pending]]
            found = self.by_hash[places[pending]]
            equal = to_mask(pc.equal(self.ids(found), texts.take(to_column(pending))))
            rows[pending[equal]] = found[equal]
            pending = pending[~equal]
            places[pending] += 1
        return rows

    def row_of(self, image_id: str) -> int:
        """Return the row of an image id; -1 if none has it."""
        return int(self.rows_of([image_id])[0])

    def labels(self, rows: Ints) -> Ints:
        """Return the landmark ids of rows of any shape; -1 for row -1, which is padding."""
        return np.where(rows < 0, -1, self.landmark_ids[rows])

    @cached_property
    def landmarks(self) -> Ints:
        """The landmarks [C] of rows that are not removed, ascending."""
        return self._classes[0]

    def class_sizes(self, landmark_ids: Ints) -> Ints:
        """Return how many rows landmarks have, of any shape; 0 for those that none has."""
        places, there = self._find_classes(landmark_ids)
        return np.where(there, np.diff(self._classes[1])[places], 0)

    @cached_property
    def largest_class(self) -> int:
        """The number of rows of the landmark that has most; 0 without rows."""
        return int(np.diff(self._classes[1]).max(initial=0))

    def rows_of_landmark(self, landmark_id: int) -> Ints:
        """Return [n] the rows of a landmark, ascending; none where it has none."""
        (place,), (there,) = self._find_classes(np.array([landmark_id]))
        start, end = self._classes[1][place : place + 2] if there else (0, 0)
        return self.by_landmark[start:end]

    def _find_classes(self, landmark_ids: Ints) -> tuple[Ints, Bools]:
        """Return where landmarks are among all, and whether they are."""
        known = self.landmarks
        if not len(known):
            return np.zeros(landmark_ids.shape, np.int64), np.zeros(landmark_ids.shape, np.bool_)
        places = np.minimum(np.searchsorted(known, landmark_ids), len(known) - 1)
        return places, known[places] == landmark_ids

    @cached_property
    def _classes(self) -> tuple[Ints, Ints]:
        """The landmarks [C], and [C + 1] where theirs start in by_landmark."""
        labels = self.landmark_ids[self.by_landmark]
        starts = np.flatnonzero(np.diff(labels)) + 1
        starts = np.concatenate([[0], starts, [len(labels)]]) if len(labels) else np.zeros(1, int)
        return labels[starts[:-1]], starts

    def _refuse_repeated(self) -> None:
        """Raise InputError if two rows that are not removed have one id."""
        equal = np.flatnonzero(self.hashes[1:] == self.hashes[:-1])
        for first in equal.tolist():
            run = np.flatnonzero(self.hashes == self.hashes[first])
            ids: list[Any] = self.ids(self.by_hash[run]).to_pylist()
            for image_id in ids:
                if ids.count(image_id) > 1:
                    raise InputError(
                        f"two rows are of image '{image_id}'; name each image once, or remove the "
                        "one that is there before another is added"
                    )


def hash_texts(texts: pa.LargeStringArray) -> NDArray[np.uint64]:
    """Return the 64-bit FNV-1a hashes [n] of texts, of their bytes as UTF-8."""
    ends = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset :][: len(texts) + 1]
    content = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    hashes = np.full(len(texts), FNV_OFFSET, dtype=np.uint64)
    lengths = np.diff(ends)
    left = np.flatnonzero(lengths)
    for place in range(int(lengths.max(initial=0))):
        if place:
            left = left[lengths[left] > place]
        hashes[left] = (hashes[left] ^ content[ends[left] + place]) * FNV_PRIME
    return hashes


def _to_texts(ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    return ids.cast(pa.large_string()) if isinstance(ids, pa.Array) else to_texts(ids)
