"""Find test queries that the database holds as good as they are: no test of recognition.

Reads verified.parquet and neighbors.parquet of a run. Writes near_duplicates.csv where there are
any: query_id, image_id, overlap, similarity. Knows no truth: a distractor may be one, too.
"""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

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
COLUMNS = (*PAIR, "overlap", "similarity")


def find_near_duplicates(verified: Path, neighbors: Path) -> tuple[pa.Table, str]:
    """Return the pairs of COLUMNS, sorted, and the criterion that they meet, for people.

    The files are verified.parquet and neighbors.parquet of a run.
    overlap is empty where a run has no local features, so that nothing is verified.
    """
    if not pq.read_metadata(verified).num_rows:
        near = pc.field("score") >= LEAST_SIMILARITY
        pairs = _read_neighbors(neighbors, near)
        none = pa.nulls(pairs.num_rows, pa.float32())
        criterion = f"similarity >= {LEAST_SIMILARITY}"
        return pairs.append_column("overlap", none).select(COLUMNS), criterion
    near = pc.field("overlaps") >= LEAST_OVERLAP
    pairs = pq.read_table(verified, columns=[*PAIR, "overlaps"], filters=near)
    pairs = pairs.rename_columns([*PAIR, "overlap"])
    asked = pc.field("query_id").isin(pairs["query_id"].unique())
    pairs = pairs.join(_read_neighbors(neighbors, asked), keys=PAIR)
    return pairs.select(COLUMNS).sort_by([(name, "ascending") for name in PAIR]), (
        f"overlap >= {LEAST_OVERLAP}"
    )


def _read_neighbors(path: Path, wanted: pc.Expression) -> pa.Table:
    table = pq.read_table(path, columns=[*PAIR, "score"], filters=wanted)
    pairs = table.rename_columns([*PAIR, "similarity"])
    return pairs.sort_by([(name, "ascending") for name in PAIR])


def write_near_duplicates(pairs: pa.Table, path: Path) -> None:
    """Write the pairs as CSV; with none, delete the file that told of some."""
    if not pairs.num_rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for query_id, image_id, overlap, similarity in zip(*pairs.to_pydict().values(), strict=True):
        shown = "" if overlap is None else f"{overlap:.3f}"
        writer.writerow([query_id, image_id, shown, f"{similarity:.4f}"])
    # Scoring a run again leaves alone what is the same.
    if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
        with writing(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
