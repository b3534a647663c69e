"""Know where each image lies inside the tars of a dataset, so that none is unpacked.

Reads and writes images/tars.parquet: id, tar (relative path), offset and size in bytes, sorted by
id. The file's notes hold size and time of each tar. `tar_build` makes it. Opens no image.
"""

import bisect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.errors import InputError
from embed.files import writing
from embed.image_file import FileSlice
from pipelines.datasets.naming import spellings

INDEX_NAME = "tars.parquet"
FORMAT = 1
_NOTES = b"cairn.tars"
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "tar": pa.dictionary(pa.int32(), pa.string()),
        "offset": pa.int64(),
        "size": pa.int64(),
    }
)


def state_of(path: Path) -> dict[str, int]:
    """Return what changes when a tar does."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def differs(state: dict[str, int] | None, note: dict[str, Any]) -> bool:
    """Tell whether a tar is not, or no more, what was noted of it."""
    return state is None or any(note[name] != value for name, value in state.items())


def write_index(table: pa.Table, notes: Mapping[str, dict[str, Any]], path: Path) -> None:
    """Write rows sorted by id, and a note on each tar."""
    text = json.dumps({"format": FORMAT, "tars": notes}, sort_keys=True)
    table = table.replace_schema_metadata({_NOTES: text.encode()})
    with writing(path) as temporary:
        # One row group is read as one array, without a copy to join parts. Ids and offsets are all
        # different: a dictionary of them would only be built to be dropped.
        rows = max(table.num_rows, 1)
        pq.write_table(
            table, temporary, compression="zstd", use_dictionary=["tar"], row_group_size=rows
        )


def read_index(path: Path) -> tuple[pa.Table, dict[str, dict[str, Any]]]:
    """Return the rows and the notes by tar. Raises InputError if the file is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            notes = json.loads(file.schema_arrow.metadata[_NOTES])
            if notes["format"] != FORMAT or file.schema_arrow != SCHEMA:
                raise InputError("another format")
            # One after another: half the memory of all at once (measured: 220 MB, not 390, for
            # the 4.1 million images of GLDv2).
            columns = [_read_column(file, name) for name in SCHEMA.names]
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(f"{path} is no index of tars ({error}); {_remedy(path)}") from error
    return pa.table(columns, schema=SCHEMA), notes["tars"]


def _read_column(file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    column = file.read([name])[name]
    pa.default_memory_pool().release_unused()
    return column


def _remedy(path: Path) -> str:
    return f"build it again: repeat the `cairn data` command that made {path.parent.parent}"


class Places(Sequence[FileSlice | None]):
    """Where images are, in arrays: 20 bytes an image, where a list of FileSlice takes 160.

    Workers that decode get a copy each. None stands for an image that is in no tar.
    """

    def __init__(
        self,
        tars: Sequence[Path],
        numbers: NDArray[np.int32],
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
    ) -> None:
        """Take the tars, and of each image the number of its tar or -1, its offset, its size."""
        self._tars = tars
        self._numbers, self._offsets, self._sizes = numbers, offsets, sizes

    def __len__(self) -> int:
        """Count the images."""
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> FileSlice | None: ...
    @overload
    def __getitem__(self, place: slice) -> "Places": ...
    def __getitem__(self, place: int | slice) -> "FileSlice | Places | None":
        """Return where one image is, or some of them."""
        if isinstance(place, slice):
            parts = (self._numbers[place], self._offsets[place], self._sizes[place])
            return Places(self._tars, *parts)
        if (number := int(self._numbers[place])) < 0:
            return None
        return FileSlice(self._tars[number], int(self._offsets[place]), int(self._sizes[place]))

    def take(self, rows: NDArray[np.int64]) -> "Places":
        """Return those of some rows, in their order; a row of -1 gives None."""
        found = rows >= 0
        numbers = np.full(len(rows), -1, dtype=np.int32)
        offsets, sizes = np.zeros((2, len(rows)), dtype=np.int64)
        numbers[found] = self._numbers[rows[found]]
        offsets[found], sizes[found] = self._offsets[rows[found]], self._sizes[rows[found]]
        return Places(self._tars, numbers, offsets, sizes)


class TarIndex:
    """Images by id, found by binary search in compact arrays: about 40 bytes an image."""

    def __init__(self, ids: pa.Array, places: Places) -> None:
        """Take the ids [N], sorted, and where each image is."""
        self.ids = ids
        self._places = places

    @classmethod
    def load(cls, path: Path) -> "TarIndex":
        """Read images/tars.parquet.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it is damaged; or a tar has changed since, or is gone, so that other bytes
                would be read for the images.
        """
        table, notes = read_index(path)
        _check_unchanged(path, notes)
        ids, tars, offsets, sizes = map(_join_chunks, table.unify_dictionaries().columns)
        places = Places(
            tuple(path.parent / name for name in tars.dictionary.to_pylist()),
            np.asarray(tars.indices, dtype=np.int32),
            np.asarray(offsets, dtype=np.int64),
            np.asarray(sizes, dtype=np.int64),
        )
        return cls(ids, places)

    def __len__(self) -> int:
        """Count the images."""
        return len(self.ids)

    def locate(self, image_id: str) -> FileSlice | None:
        """Return where an image is, or None if it is in no tar.

        Where none is spelled as the id, one counts that differs in the Unicode form alone.
        """
        row = self._find(image_id)
        return None if row < 0 else self._places[row]

    def _find(self, image_id: str) -> int:
        """Return the row of an image, or -1."""
        rows = range(len(self.ids))
        for spelled in spellings(image_id):
            row = bisect.bisect_left(rows, spelled, key=lambda row: self.ids[row].as_py())
            if row < len(self.ids) and self.ids[row].as_py() == spelled:
                return row
        return -1

    def locate_all(self, ids: Sequence[str] | pa.Array) -> Places:
        """Return where each of many images is, in their order; quicker than one by one."""
        array = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
        wanted = array.dictionary_encode()  # an id may be asked for twice
        found = pc.index_in(self.ids, value_set=wanted.dictionary)
        # Backwards: of rows that repeat an id the first is written last, and stays.
        rows = np.flatnonzero(np.asarray(found.is_valid()))[::-1]
        row_of = np.full(len(wanted.dictionary), -1, dtype=np.int64)
        row_of[np.asarray(found.take(pa.array(rows)), dtype=np.int64)] = rows
        for place in np.flatnonzero(row_of < 0):
            image_id = wanted.dictionary[place].as_py()
            row_of[place] = -1 if image_id.isascii() else self._find(image_id)
        return self._places.take(row_of[np.asarray(wanted.indices)])


def _join_chunks(column: pa.ChunkedArray) -> pa.Array:
    if not column.num_chunks:
        return pa.array([], column.type)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _check_unchanged(path: Path, notes: Mapping[str, dict[str, Any]]) -> None:
    for name, note in notes.items():
        tar = path.parent / name
        try:
            state = state_of(tar)
        except OSError as error:
            raise InputError(
                f"{tar} cannot be read ({os.strerror(error.errno or 0).lower()}), but {path} has "
                f"{note['size']} bytes of it; put it back, or {_remedy(path)}"
            ) from error
        if differs(state, note):
            was = f"{note['size']} bytes of time {note['mtime_ns']}"
            now = f"{state['size']} of {state['mtime_ns']}"
            raise InputError(
                f"{tar} has changed since {path} was made: {was}, now {now}; {_remedy(path)}"
            )
