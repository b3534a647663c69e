"""Find test queries that the database holds as good as they are: no test of recognition.

Reads verified.parquet and neighbors.parquet of a run. Writes near_duplicates.csv where there are
any: query_id, image_id, overlap, similarity. Knows no truth: a distractor may be one, too.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.columns import to_array, to_mask
from embed.files import writing

# Inliers divided by the features of the image that has fewer. Of 24 photos of cartons, saved anew
# at quality 50 all reached 0.54, with a twentieth cut off each side 0.59; at half the size most
# did. Photos of one thing from other places reached 0.31 there, and 0.46 in the rendered city. A
# flat thing that fills both photos may reach more without being copied: look at the pairs.
LEAST_OVERLAP = 0.5
# Cosine, where nothing was verified. It finds copies of nearly the same bytes alone: the photos
# that were saved anew had 0.978 to 0.995, as have different photos of the same thing elsewhere.
LEAST_SIMILARITY = 0.995

PAIR = ["query_id", "image_id"]


class NearDuplicate(NamedTuple):
    """A query and an image of the database."""

    query_id: str
    image_id: str
    overlap: float | None  # None where a run has no local features, so that nothing is verified
    similarity: float  # cosine


def find_near_duplicates(verified: Path, neighbors: Path) -> tuple[list[NearDuplicate], str]:
    """Return the pairs, sorted, and the criterion that they meet, for people.

    The files are verified.parquet and neighbors.parquet of a run.
    """
    if not pq.read_metadata(verified).num_rows:
        near = _read(neighbors, "score", lambda rows: to_array(rows["score"]) >= LEAST_SIMILARITY)
        found = [NearDuplicate(*pair, None, cosine) for pair, cosine in _pair(near, "score")]
        return sorted(found), f"similarity >= {LEAST_SIMILARITY}"
    near = _read(verified, "overlaps", lambda rows: to_array(rows["overlaps"]) >= LEAST_OVERLAP)
    queries = pc.SetLookupOptions(value_set=near["query_id"].combine_chunks())
    scores = _read(
        neighbors, "score", lambda rows: to_mask(pc.is_in(rows["query_id"], options=queries))
    )
    cosines = dict(_pair(scores, "score"))
    found = [
        NearDuplicate(*pair, overlap, cosines[pair]) for pair, overlap in _pair(near, "overlaps")
    ]
    return sorted(found), f"overlap >= {LEAST_OVERLAP}"


def _read(
    path: Path, column: str, choose: Callable[[pa.RecordBatch], NDArray[np.bool_]]
) -> pa.Table:
    """Return PAIR and a column of the chosen rows; the others are never in memory together."""
    names = [*PAIR, column]
    with pq.ParquetFile(path) as file:
        parts = [_keep(rows, choose(rows)) for rows in file.iter_batches(columns=names)]
        return pa.Table.from_batches(
            parts, pa.schema([file.schema_arrow.field(name) for name in names])
        )


def _keep(rows: pa.RecordBatch, chosen: NDArray[np.bool_]) -> pa.RecordBatch:
    places = np.flatnonzero(chosen)
    # Not pa.array, which imports pandas: see embed.columns.
    return rows.take(pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)]))


def _pair(table: pa.Table, column: str) -> Iterator[tuple[tuple[str, str], float]]:
    pairs = zip(*(table[name].to_pylist() for name in PAIR), strict=True)
    return zip(pairs, table[column].to_pylist(), strict=True)


def write_near_duplicates(pairs: Sequence[NearDuplicate], path: Path) -> None:
    """Write the pairs as CSV; with none, delete the file that told of some."""
    if not pairs:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NearDuplicate._fields)
    for query_id, image_id, overlap, similarity in pairs:
        shown = "" if overlap is None else f"{overlap:.3f}"
        writer.writerow([query_id, image_id, shown, f"{similarity:.4f}"])
    # Scoring a run again leaves alone what is the same.
    if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
        with writing(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
