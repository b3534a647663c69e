"""Time and memory of reading the neighbours of a submission, for recall@k: arrays, and lists.

Run as `python -m tests.benchmarks.bench_evaluate`. Writes a neighbors.parquet as large as that of
Google Landmarks, 117,577 queries of 100 neighbours each, in a temporary folder. Each way of reading
is a process of its own, so that its peak memory is its own.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.scores.evaluate import read_ranked

QUERIES, NEIGHBORS, LANDMARKS, MOST = 117_577, 100, 81_313, 20


def make_ids() -> list[str]:
    """Return the ids of the queries: 16 hexadecimal digits, as those of Google Landmarks."""
    return [f"{number * 2654435761 % 2**64:016x}" for number in range(QUERIES)]


def write_neighbors(path: Path) -> None:
    """Write random neighbours of all queries."""
    queries, ranks = (axis.ravel() for axis in np.indices((QUERIES, NEIGHBORS)))
    labels = np.random.default_rng(0).integers(0, LANDMARKS, len(queries))
    ids = pa.array(make_ids()).take(pa.array(queries))
    pq.write_table(pa.table({"query_id": ids, "rank": ranks, "landmark_id": labels}), path)


def read_lists(path: Path, query_ids: list[str], most: int) -> NDArray[np.int64]:
    """Do as read_ranked does, a Python object a cell."""
    table = pq.read_table(path)
    order = {query_id: row for row, query_id in enumerate(query_ids)}
    ranked = np.full((len(order), most), -1, dtype=np.int64)
    columns = (table[name].to_pylist() for name in ("query_id", "rank", "landmark_id"))
    for query_id, rank, label in zip(*columns, strict=True):
        if query_id in order and rank < most:
            ranked[order[query_id], rank] = label
    return ranked


WAYS = {"arrays": read_ranked, "lists": read_lists}


def measure(way: str, path: Path) -> str:
    """Read in this process; return the seconds, and what it took above what it had, in MB."""
    ids = make_ids()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    ranked = WAYS[way](path, ids, MOST)
    seconds = time.perf_counter() - start
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"{way}: {seconds:.1f} s, {taken:,.0f} MB; checksum {int(ranked.sum())}"


def main() -> None:
    """Write the table, and let each way read it."""
    if len(sys.argv) == 3:
        step, path = sys.argv[1], Path(sys.argv[2])
        if step in WAYS:
            print(measure(step, path))
        else:
            write_neighbors(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "neighbors.parquet"
        # A process starts with the peak of the one that started it, so this one stays small.
        for step in ("write", *WAYS):
            subprocess.run([sys.executable, "-m", __spec__.name, step, str(path)], check=True)


if __name__ == "__main__":
    main()
