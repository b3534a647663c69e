"""The memory that stage `index` takes does not grow with the database."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from index.base import INDEX, VECTORS, BaseIndex
from tests.test_imports import ROOT

DIM = 256
# Draws embeddings of a database part by part, and indexes them in little memory.
STAGE = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from embed.head_scores import HeadScores
from embed.parts import write_part
from embed.shards import make_rows, write_images
from index import plan
from pipelines.artifacts import Manifest, record_file, save_manifest
from pipelines.runs.artifact import Artifact
from pipelines.runs.recipe import load_recipe, change_recipe
from pipelines.stages import fit_search, index

run, count, dim = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
fit_search.FITTED, plan.QUERIES = 1 << 21, 100
folder = run / "embeddings" / "index"
folder.mkdir(parents=True)
ids, size = [f"photo{row}" for row in range(count)], 10_000
for number, start in enumerate(range(0, count, size)):
    drawn = np.random.default_rng(number).standard_normal((size, dim), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    rows = make_rows(ids[start : start + size], drawn, HeadScores.none(size), "float16")
    write_part(folder / f"part-{number:05d}.parquet", rows, {}, "key")
write_images(folder / "images.parquet", ids, np.arange(count) // 4)
outputs = [record_file(path) for path in sorted(folder.glob("*.parquet"))]
save_manifest(Manifest("embed", "key", {}, "", "", {}, outputs, {"fingerprint": "f"}), folder)
changes = ["search.factory=PQ64x4fs", "search.recall=0.5", "search.neighbors=10"]
recipe = change_recipe(load_recipe("photos"), [*changes, "decide.landmark_head=false"])
dataset = SimpleNamespace(database_split="index", find_table=lambda name: None)
job = SimpleNamespace(run=run, recipe=recipe, recipe_name="", dataset=dataset)
del drawn, rows
before = Path("/proc/self/clear_refs")
before.write_text("5")  # the peak begins anew
index.index_database(Artifact(job, "index", run / "index", {}, {}), SimpleNamespace(model={}))
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


def measure_peak(run: Path, count: int) -> int:
    """Return the most bytes that the stage has in memory for so many photos."""
    words = [sys.executable, "-c", STAGE, str(run), str(count), str(DIM)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) * 1024


def test_the_peak_of_memory_grows_by_less_than_the_vectors(tmp_path: Path) -> None:
    small, large = 50_000, 200_000
    peaks = [measure_peak(tmp_path / str(count), count) for count in (small, large)]
    assert peaks[1] - peaks[0] < (large - small) * DIM * 4
    # Whitened by a sample, and with nothing left beside them.
    run = tmp_path / str(large)
    index = BaseIndex.load(run / "index" / VECTORS, run / "index" / INDEX, {"refine": 8})
    assert (index.ntotal, index.dim) == (large, DIM)
    rows = np.array([0, large // 2, large - 1])
    np.testing.assert_array_equal(index.search(index.vectors(rows), 1).rows[:, 0], rows)
    assert not [path for path in run.iterdir() if path.is_file()]
