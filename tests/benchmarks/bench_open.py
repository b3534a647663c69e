"""How long a database of 4.1 million images takes to be opened, and how much memory beside vectors.

Writes the index of a run of so many images of GLDv2's training set into a temporary folder, with
short vectors, which are mapped whatever their length; and features in parts that are links to one.
Each way of opening it has a process of its own. Run it alone:
python -m tests.benchmarks.bench_open
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from embed.sealed import read_seal
from index.base import BaseIndex
from index.ids import IdTable
from index.rows import ROWS, RowTable
from pipelines.artifacts import Manifest, record_file, save_manifest
from rerank.features import LocalFeatures
from rerank.places import PLACES, PartPlaces
from tests.features import write_features_part

IMAGES, LANDMARKS, PART_SIZE, DIM = 4_132_914, 203_094, 512, 8
SEED, ROUNDS = 7, 3

# Opens a run, asks for what a query asks for, and prints seconds and megabytes.
ASK = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from pipelines.answers.database import load_database
from rerank.store import FeatureStore

def used():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1e3

run, before, started = Path(sys.argv[1]), used(), time.perf_counter()
database = load_database(run, "model", {})
features = FeatureStore(run / "features", "extractor", places=run / "features" / "places.arrow")
opened, after = time.perf_counter(), used()
rows = np.random.default_rng(0).integers(0, len(database.rows), (1, 100))
labels = database.rows.labels(rows)
sizes = database.rows.class_sizes(labels)
ids = database.rows.ids(rows[0])
assert database.rows.rows_of(ids).tolist() == rows[0].tolist()
assert all(found is not None for found in features.get_many(ids[:1]))
asked = time.perf_counter()
vectors = database.images.base.exact.nbytes / 1e6
print(json.dumps([opened - started, asked - opened, after - before, used() - before, vectors]))
"""


def run() -> str:
    """Return seconds and memory of opening, and of what the first query looks up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        _write(folder)
        written = time.perf_counter() - started
        rounds = [_ask(folder) for _ in range(ROUNDS)]
    seconds, first, opened, used, vectors = np.median(rounds, axis=0)
    return (
        f"{IMAGES:,} images of {LANDMARKS:,} landmarks, features in "
        f"{-(-IMAGES // PART_SIZE):,} parts; written in {written:.0f} s\n"
        f"opened in {seconds:.2f} s (of {ROUNDS} processes: "
        f"{', '.join(f'{each[0]:.2f}' for each in rounds)}); memory grew by {opened:.0f} MB\n"
        f"what a first query looks up of 100 neighbours: {first:.2f} s; memory grew by "
        f"{used:.0f} MB in all, {vectors:.0f} MB of vectors included as far as they are read"
    )


def _ask(folder: Path) -> list[float]:
    found = subprocess.run(
        [sys.executable, "-c", ASK, str(folder)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    numbers: list[float] = json.loads(found.stdout)
    return numbers


def _write(run: Path) -> None:
    rng = np.random.default_rng(SEED)
    # As GLDv2's: 16 hexadecimal digits, in no order.
    numbers = rng.integers(0, 2**63, IMAGES).astype(">u8").view(np.uint8).tobytes().hex()
    ends = np.arange(IMAGES + 1, dtype=np.int64) * 16
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(numbers.encode())]
    ids = pa.Array.from_buffers(pa.large_string(), IMAGES, buffers)
    labels = np.concatenate([np.arange(LANDMARKS), rng.zipf(1.5, IMAGES - LANDMARKS) % LANDMARKS])
    RowTable.build(ids, np.sort(labels)).save(run / "index" / ROWS)
    vectors = rng.standard_normal((IMAGES, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    written = [*BaseIndex(vectors).save(run / "index"), ROWS]
    manifest = Manifest(
        *("index", "key", {"database": "train"}, "recipe", "sha256", {}),
        [record_file(run / "index" / name) for name in written],
        model={"fingerprint": "model"},
        details={"index": {"parameters": {}}},
    )
    save_manifest(manifest, run / "index")
    _write_features(run / "features", ids)


def _write_features(folder: Path, ids: pa.Array) -> None:
    """Write one part of features, links to it, and places that say it holds all images."""
    folder.mkdir()
    one = LocalFeatures(
        np.zeros((1, 2), np.float32),
        np.ones((1, 128), np.uint8),
        *(np.ones(1, np.float32),) * 2,
        (9, 9),
    )
    first = folder / "part-00000.parquet"
    write_features_part(first, ids[:PART_SIZE].to_pylist(), [one] * PART_SIZE, "extractor")
    starts = np.minimum(np.arange(0, IMAGES + PART_SIZE, PART_SIZE), IMAGES)
    paths = [folder / f"part-{number:05d}.parquet" for number in range(len(starts) - 1)]
    for path in paths[1:]:
        os.link(first, path)
    seals = (read_seal(first),) * len(paths)
    PartPlaces(IdTable.build(ids), tuple(paths), seals, starts).save(folder / PLACES, "extractor")


if __name__ == "__main__":
    print(run())
