"""Find the rows of image ids among millions, without an object for each.

Ids lie in Arrow arrays, which may be mapped from a file; the hash of each is kept in a sorted
array. Reads and writes no files.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.columns import to_column, to_mask, to_texts
from embed.errors import InputError

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


class RepeatedIdError(InputError):
    """Two rows have one id."""

    def __init__(self, image_id: str, rows: tuple[int, int]) -> None:
        """Say which id, and keep the rows."""
        super().__init__(
            f"two rows are of image '{image_id}'; name each image once, or remove the one that is "
            "there before another is added"
        )
        self.image_id, self.rows = image_id, rows


@dataclass(frozen=True, eq=False)
class IdTable:
    """The distinct ids of N rows; a removed row keeps its number and id, but is not found."""

    texts: tuple[pa.LargeStringArray, ...]  # [N] in one array, or in two: first, and added
    hashes: NDArray[np.uint64]  # [L] of the ids of the L rows that are not removed, ascending
    by_hash: Ints  # [L] the rows that have them

    @classmethod
    def build(cls, ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> Self:
        """Lay out the ids [N] of rows.

        Raises:
            RepeatedIdError: two rows of one id.
        """
        texts = _to_texts(ids)
        hashes = hash_texts(texts)
        by_hash = np.argsort(hashes, kind="stable")
        table = cls((texts,), hashes[by_hash], by_hash)
        table._refuse_repeated()
        return table

    def with_changes(self, added: Self, removed: Bools) -> Self:
        """Return a table that was not changed yet, with rows behind its own and some removed.

        Args:
            added: M rows; the id of a removed row may come again.
            removed: [N + M].

        Raises:
            ValueError: a number of flags that differs, or a table that was changed already.
            RepeatedIdError: two rows that are not removed have one id.
        """
        if len(self.texts) > 1 or len(self.hashes) < len(self):
            raise ValueError("a table that was changed is changed again; give all changes at once")
        if removed.shape != (len(self) + len(added),):
            raise ValueError(f"removed has shape {removed.shape}, want [{len(self) + len(added)}]")
        texts, hashes, by_hash = self.texts, self.hashes, self.by_hash
        if len(added):
            places = np.searchsorted(hashes, added.hashes, side="right")
            texts = (*texts, *added.texts)
            hashes = np.insert(hashes, places, added.hashes)
            by_hash = np.insert(by_hash, places, added.by_hash + len(self))
        if removed.any():
            kept = ~removed[by_hash]
            hashes, by_hash = hashes[kept], by_hash[kept]
        table = type(self)(texts, hashes, by_hash)
        table._refuse_repeated()
        return table

    def __len__(self) -> int:
        """Return N, removed rows included."""
        return sum(map(len, self.texts))

    def ids(self, rows: Sequence[int] | Ints) -> pa.LargeStringArray:
        """Return the ids [n] of rows."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(self.texts) == 1:
            return self.texts[0].take(to_column(rows))
        late = rows >= len(self.texts[0])
        of_each = (rows[~late], rows[late] - len(self.texts[0]))
        found = [texts.take(to_column(n)) for texts, n in zip(self.texts, of_each, strict=True)]
        order = np.argsort(np.argsort(late, kind="stable"))
        return pa.concat_arrays(found).take(to_column(order))

    def image_id(self, row: int) -> str:
        """Return the id of one row."""
        texts, place = self.texts[0], row
        if row >= len(texts):
            texts, place = self.texts[1], row - len(texts)
        return str(texts[place])

    def row_of(self, image_id: str) -> int:
        """Return the row of an id, -1 if no row has it; of one id far faster than rows_of."""
        wanted = hash_text(image_id)
        place = int(np.searchsorted(self.hashes, np.uint64(wanted)))
        while place < len(self.hashes) and self.hashes[place] == wanted:
            row = int(self.by_hash[place])
            if self.image_id(row) == image_id:
                return row
            place += 1
        return -1

    def rows_of(self, ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> Ints:
        """Return [n] the rows of ids; -1 for those that no row has."""
        texts = _to_texts(ids)
        wanted = hash_texts(texts)
        places = np.searchsorted(self.hashes, wanted)
        rows = np.full(len(texts), -1, dtype=np.int64)
        pending = np.arange(len(texts))
        while len(pending):  # once, but where hashes are equal and ids are not
            pending = pending[places[pending] < len(self.hashes)]
            pending = pending[self.hashes[places[pending]] == wanted[pending]]
            found = self.by_hash[places[pending]]
            equal = to_mask(pc.equal(self.ids(found), texts.take(to_column(pending))))
            rows[pending[equal]] = found[equal]
            pending = pending[~equal]
            places[pending] += 1
        return rows

    def _refuse_repeated(self) -> None:
        """Raise RepeatedIdError if two rows that are not removed have one id."""
        again = np.flatnonzero(self.hashes[1:] == self.hashes[:-1])
        if not len(again):
            return
        alike = self.by_hash[np.unique(np.concatenate([again, again + 1]))]
        seen = dict[str, int]()  # few, unless ids repeat: hashes have 64 bits
        for row, image_id in zip(alike.tolist(), self.ids(alike).to_pylist(), strict=True):
            if image_id in seen:
                raise RepeatedIdError(image_id, (seen[image_id], row))
            seen[image_id] = row


def hash_texts(texts: pa.LargeStringArray) -> NDArray[np.uint64]:
    """Return the 64-bit FNV-1a hashes [n] of the bytes of texts.

    >>> [f"{number:x}" for number in hash_texts(to_texts(["", "a"]))]
    ['cbf29ce484222325', 'af63dc4c8601ec8c']
    """
    _, ends, content = texts.buffers()
    offsets = np.frombuffer(ends, dtype=np.int64)[texts.offset :][: len(texts) + 1]
    starts, lengths = offsets[:-1], np.diff(offsets)
    letters = np.frombuffer(content or b"", dtype=np.uint8)
    hashes = np.full(len(texts), FNV_OFFSET, dtype=np.uint64)
    left = np.flatnonzero(lengths)
    for place in range(int(lengths.max(initial=0))):
        if place:
            left = left[lengths[left] > place]
        hashes[left] = (hashes[left] ^ letters[starts[left] + place]) * np.uint64(FNV_PRIME)
    return hashes


def hash_text(text: str) -> int:
    """Return the hash that hash_texts gives one text."""
    value = FNV_OFFSET
    for byte in text.encode():
        value = (value ^ byte) * FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value


def _to_texts(ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    return ids.cast(pa.large_string()) if isinstance(ids, pa.Array) else to_texts(ids)
