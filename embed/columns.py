"""Read Parquet and Arrow files, columns of numbers and places of ids without pandas.

pyarrow's read_table and to_numpy, and its functions where an argument is a Python value, import
pandas, which takes half a second: a tenth of the time in which the command line answers its first
query.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .files import writing

# A scalar, of an array because pyarrow.scalar imports pandas.
NOWHERE = pa.Array.from_buffers(pa.int32(), 1, [None, pa.py_buffer(np.array([-1], np.int32))])[0]


def read_parquet(path: Path) -> pa.Table:
    """Read one Parquet file, whole. Raises OSError or pyarrow.ArrowInvalid if it is none."""
    with pq.ParquetFile(path) as file:
        return file.read()


def to_array(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column [N] of numbers without nulls as [N] of their type; read-only."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return np.from_dlpack(column)


def to_mask(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return a column [N] of booleans without nulls."""
    return to_array(pc.cast(column, pa.uint8())).astype(np.bool_)


def write_columns(
    path: Path,
    columns: Mapping[str, NDArray[Any] | pa.Array],
    metadata: Mapping[bytes, bytes] | None = None,
) -> None:
    """Write columns [N] as an Arrow file, whole or not at all, for map_columns."""
    arrays = [pa.array(values) for values in columns.values()]
    batch = pa.record_batch(arrays, names=list(columns)).replace_schema_metadata(metadata)
    with writing(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as file:
        file.write_batch(batch)


def map_columns(path: Path, names: Sequence[str]) -> tuple[list[pa.Array], dict[bytes, bytes]]:
    """Return columns of an Arrow file, which are mapped, not read, and its metadata.

    Raises:
        FileNotFoundError: no file there.
        pyarrow.ArrowException, OSError or KeyError: it is none, or lacks a column.
    """
    with pa.memory_map(str(path)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    return [batch.column(name) for name in names], dict(batch.schema.metadata or {})


def find_places(
    column: pa.Array | pa.ChunkedArray, values: Sequence[str] | pa.ChunkedArray
) -> NDArray[np.int64]:
    """Return [N] where each text of a column [N] is among distinct values; -1 where it is not.

    >>> find_places(pa.chunked_array([["b", "c"], ["b"]]), ["a", "b"]).tolist()
    [1, -1, 1]
    """
    known = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else to_texts(values)
    found = pc.index_in(column, value_set=known.cast(column.type))
    return to_array(found.fill_null(NOWHERE)).astype(np.int64)


def to_texts(values: Iterable[str]) -> pa.LargeStringArray:
    """Do what pyarrow.array does, which imports pandas."""
    texts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return pa.LargeStringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts))
    )


def to_column(values: NDArray[np.int64]) -> pa.Int64Array:
    """Return numbers [N] as a column, not copied; pyarrow.array imports pandas."""
    buffer = pa.py_buffer(np.ascontiguousarray(values, dtype=np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, buffer])
