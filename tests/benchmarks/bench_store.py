"""How many local features a second one thread reads of the store, and two threads.

Writes a store of random features into a temporary folder. One thread and two take turns, so that
what else the machine does meets both. Run it alone: python -m tests.benchmarks.bench_store
"""

import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from rerank.features import LocalFeatures
from rerank.store import FeatureStore, write_features_part

PARTS, IMAGES, FEATURES = 4, 128, 600  # parts, images in each, features of an image
ROUNDS, SEED = 11, 7


def run() -> str:
    """Return images a second by one thread and by two, and the ratio of a round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = _write(folder)
        return "\n".join(_compare(folder, ids, cold) for cold in (False, True))


def _compare(folder: Path, ids: list[str], cold: bool) -> str:
    """Return the line of files that the system holds in memory, or of such that it must fetch."""
    _read(folder, ids, 2, cold)
    one, two = [], []
    for _ in range(ROUNDS):
        one.append(_read(folder, ids, 1, cold))
        two.append(_read(folder, ids, 2, cold))
    low, ratio, high = statistics.quantiles(np.divide(one, two).tolist(), n=4)
    rates = [len(ids) / statistics.median(seconds) for seconds in (one, two)]
    source = "from the disk" if cold else "from memory"
    return (
        f"{source}: one thread {rates[0]:,.0f} images a second, "
        f"two {rates[1]:,.0f}: {ratio:.2f} times as fast (quartiles of {ROUNDS} rounds: {low:.2f}, "
        f"{high:.2f})"
    )


def _write(folder: Path) -> list[str]:
    rng = np.random.default_rng(SEED)
    ids = [f"{part}-{row}" for part in range(PARTS) for row in range(IMAGES)]
    for part in range(PARTS):
        some = ids[part * IMAGES : (part + 1) * IMAGES]
        found = [_draw_features(rng) for _ in some]
        write_features_part(folder / f"part-{part:05d}.parquet", some, found, "")
    return list(rng.permutation(ids))


def _draw_features(rng: np.random.Generator) -> LocalFeatures:
    return LocalFeatures(
        keypoints=rng.uniform(0, 512, (FEATURES, 2)).astype(np.float32),
        descriptors=rng.integers(0, 256, (FEATURES, 128), dtype=np.uint8),
        scores=rng.random(FEATURES, np.float32),
        scales=rng.uniform(1, 9, FEATURES).astype(np.float32),
        image_size=(512, 384),
    )


def _read(folder: Path, ids: list[str], threads: int, cold: bool) -> float:
    """Return the seconds in which threads read all images of a store that was just opened."""
    for path in folder.iterdir() if cold else ():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    store = FeatureStore(folder, "", cache_images=1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(abs, range(threads)))  # started
        started = time.perf_counter()
        list(pool.map(lambda some: [store.get(i) for i in some], _split(ids, threads)))
        return time.perf_counter() - started


def _split(ids: list[str], threads: int) -> list[list[str]]:
    return [ids[start::threads] for start in range(threads)]


if __name__ == "__main__":
    print(run())
