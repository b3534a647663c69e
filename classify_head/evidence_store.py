"""Keep the evidence of a submission, so that any decision can be tried on it later.

Reads and writes evidence.parquet: a row a query, a list a row for each array of the record, of
length 1 where a query has one value, and for the record's third dimension the lists of all
neighbours one after the other. An array with a default may be missing, as in files of before it.
"""

import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embed.errors import InputError, MissingFileError

from .evidence import Evidence


def write_evidence(evidence: Evidence, path: Path) -> None:
    """Write a record."""
    columns = {"query_id": pa.array(evidence.query_ids, pa.string())}
    notes = {}
    for name, array in evidence.arrays.items():
        notes[name] = ",".join(str(size) for size in array.shape[1:])
        width = int(np.prod(array.shape[1:]))
        offsets = np.arange(len(evidence) + 1, dtype=np.int32) * width
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.ravel()))
    schema = {f"shape of {name}": shape for name, shape in notes.items()}
    table = pa.table(columns).replace_schema_metadata(schema)
    pq.write_table(table, path, write_page_checksum=True)


def read_evidence(path: Path) -> Evidence:
    """Read a record.

    Raises:
        MissingFileError: no file there.
        InputError: the file is no evidence.
    """
    if not path.is_file():
        raise MissingFileError(f"no evidence at {path}; {_name_maker(path)}")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        notes = table.schema.metadata or {}
        arrays = {}
        for name in table.column_names[1:]:
            sizes = notes[f"shape of {name}".encode()].decode()
            shape = [int(size) for size in sizes.split(",") if size]
            values = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            arrays[name] = values.reshape(table.num_rows, *shape)
        return Evidence(tuple(table["query_id"].to_pylist()), **arrays)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no evidence ({error}); {_name_maker(path)}") from error


def _name_maker(path: Path) -> str:
    """Say how the evidence in a run folder is made anew."""
    return f"make it anew: cairn submit --redo --run {shlex.quote(str(path.parent))}"
