"""How many damages to a run's files go unseen, and what it costs to look.

Makes two tiny runs in a temporary folder, damages the files of one that commands load, one at a
time, and loads it as they do. Run it alone: python -m tests.benchmarks.bench_damage
"""

import hashlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from embed.head_scores import HeadScores
from embed.parts import write_part
from embed.shards import Embeddings, make_rows, read_embeddings, write_images
from index.base import VECTORS, BaseIndex
from pipelines.artifacts import hash_file
from pipelines.progress import progress_bar
from rerank.features import LocalFeatures
from rerank.store import COLUMNS, FeatureStore
from tests.damage import KINDS, OUTCOMES, count_outcomes, list_loaded, load_all
from tests.datasets import cairn, make_dataset, make_recipe_file, options
from tests.features import write_features_part

DAMAGES, BATCH, SEED, ROUNDS = 2000, 100, 7, 7
ROWS, DIM, IMAGES, FEATURES = 200_000, 256, 512, 500  # of the files that reading is timed with


def run() -> str:
    """Return what became of the damages, and the cost of looking for them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return f"{_count(folder)}\n\n{_time(folder)}"


def _count(folder: Path) -> str:
    damaged = _make_run(folder / "a", 6, "")
    other = _make_run(folder / "b", 5, "[train]\nseed = 3\n[rerank]\nmax_features = 150\n")
    load_all(damaged, damaged / "run.json")  # as it is, all of it is loaded
    counts: Counter[tuple[str, str, str]] = Counter()
    wrong: list[str] = []
    started = time.perf_counter()
    with progress_bar("damage", DAMAGES) as advance:
        for batch in range(DAMAGES // BATCH):
            found, unseen = count_outcomes(damaged, other, BATCH, SEED + batch)
            counts, wrong = counts + found, wrong + unseen
            advance(BATCH)
    seconds = time.perf_counter() - started
    totals = ", ".join(f"{_sum(counts, 2, outcome)} {outcome}" for outcome in OUTCOMES)
    lines = [
        f"{counts.total()} damages to {len(list_loaded(damaged))} files: {totals} "
        f"({1e3 * seconds / counts.total():.0f} ms each)",
        _table("file", sorted({_kind(name) for name, _, _ in counts}), counts, 0),
        _table("damage", list(KINDS), counts, 1),
        *wrong[:20],
    ]
    return "\n".join(lines)


def _make_run(folder: Path, landmarks: int, changes: str) -> Path:
    data = make_dataset(folder / "data", landmarks)
    recipe = make_recipe_file(folder / "recipe.toml", changes)
    end = cairn("submit", *options(data, folder / "run", recipe))
    assert end.status == 0, end.err
    return folder / "run"


def _kind(name: str) -> str:
    """Return what stands for a file: features/*/part."""
    parts = Path(name).parts
    end = parts[-1].split("-")[0] if parts[-1].startswith("part-") else parts[-1]
    return "/".join([*parts[:1], "*", end] if len(parts) == 3 else [*parts[:-1], end])


def _sum(counts: Counter[tuple[str, str, str]], place: int, value: str) -> int:
    return sum(count for key, count in counts.items() if key[place] == value)


def _table(title: str, names: list[str], counts: Counter[tuple[str, str, str]], place: int) -> str:
    lines = [f"\n{title:34}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES)]
    for name in names:
        row = [
            sum(
                count
                for key, count in counts.items()
                if key[2] == outcome and (_kind(key[0]) if place == 0 else key[place]) == name
            )
            for outcome in OUTCOMES
        ]
        lines.append(f"{name:34}" + "".join(f"{count:9}" for count in row))
    return "\n".join(lines)


def _time(folder: Path) -> str:
    """Return seconds a gigabyte of reading with and without verification, taken in turns."""
    lines = [f"{'seconds a gigabyte':34}{'plain':>9}{'verified':>9}{'ratio':>9}"]
    for name, (path, plain, verified) in _make_readers(folder).items():
        size = path.stat().st_size / 1e9
        plain(), verified()  # from the disk into memory
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for read, seconds in zip((plain, verified), times, strict=True):
                started = time.perf_counter()
                read()
                seconds.append((time.perf_counter() - started) / size)
        a, b = (statistics.median(seconds) for seconds in times)
        lines.append(f"{name:34}{a:9.2f}{b:9.2f}{b / a:9.2f}")
    return "\n".join(lines)


Reader = tuple[Path, Callable[[], object], Callable[[], object]]


def _make_readers(folder: Path) -> dict[str, Reader]:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index, weights, part = folder / VECTORS, folder / "weights.bin", folder / "embeddings.bin"
    BaseIndex.build(vectors).save(folder)
    save_file({"weight": vectors}, weights)
    ids = tuple(map(str, range(ROWS)))
    labels = np.zeros(ROWS, dtype=np.int64)
    described = Embeddings(ids, labels, vectors, HeadScores.none(ROWS))
    write_part(part, make_rows(described.ids, described.vectors, described.head, "float32"), {}, "")
    images = folder / "images.parquet"
    write_images(images, described.ids, described.landmark_ids)
    stored = folder / "features" / "part-00000.parquet"
    stored.parent.mkdir()
    found = [_draw_features(rng) for _ in range(IMAGES)]
    write_features_part(stored, list(map(str, range(IMAGES))), found, "")
    return {
        VECTORS: (
            index,
            lambda: np.load(index),
            _hashed(index, lambda path: BaseIndex.load(path, None, {})),
        ),
        "model.safetensors": (
            weights,
            lambda: load_file(weights),
            _hashed(weights, load_file),
        ),
        "the same, tensors hashed as before": (
            weights,
            lambda: load_file(weights),
            lambda: [hashlib.sha256(t.tobytes()) for t in load_file(weights).values()],
        ),
        "embeddings, a part": (
            part,
            lambda: read_embeddings([part], images),
            _hashed(part, lambda path: read_embeddings([path], images)),
        ),
        "features, image by image": (
            stored,
            lambda: _read_plainly(stored),
            lambda: _read_store(stored.parent),
        ),
    }


def _hashed(path: Path, read: Callable[[Path], object]) -> Callable[[], object]:
    return lambda: (hash_file(path), read(path))


def _draw_features(rng: np.random.Generator) -> LocalFeatures:
    return LocalFeatures(
        keypoints=rng.uniform(0, 512, (FEATURES, 2)).astype(np.float32),
        descriptors=rng.integers(0, 256, (FEATURES, 128), dtype=np.uint8),
        scores=rng.random(FEATURES, np.float32),
        scales=rng.uniform(1, 9, FEATURES).astype(np.float32),
        image_size=(512, 384),
    )


def _read_store(folder: Path) -> None:
    store = FeatureStore(folder, "")
    for row in range(IMAGES):
        store.get(str(row))


def _read_plainly(path: Path) -> None:
    """Read a part row by row as the store does, without checking anything."""
    file = pq.ParquetFile(pa.memory_map(str(path)))
    rows = file.metadata.row_group(0).num_rows
    names = ("keypoints", "scores", "scales")
    for row in range(IMAGES):
        group = file.read_row_group(row // rows, list(COLUMNS[1:]))
        for name in names:
            np.from_dlpack(group[name][row % rows].values).copy()
        np.frombuffer(group["descriptors"][row % rows].as_buffer(), np.uint8).copy()


if __name__ == "__main__":
    print(run())
