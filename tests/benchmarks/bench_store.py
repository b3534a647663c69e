"""How many local features a second one thread reads of the store, two threads, and batches.

Writes a store of random features into a temporary folder. One thread and two take turns, so that
what else the machine does meets both; and so do copies of as many bytes, which hold no lock at all:
what two threads gain there is all that two can gain on the machine. Batches of a query's candidates
are read in the order of the files, beside the same images one by one. Run it alone:
python -m tests.benchmarks.bench_store
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rerank.features import LocalFeatures
from rerank.places import PLACES
from rerank.store import FeatureStore, find_places
from tests.features import write_features_part

PARTS, IMAGES, FEATURES = 4, 128, 600  # parts, images in each, features of an image
ROUNDS, SEED, BATCH = 11, 7, 100


def run() -> str:
    """Return images a second by one thread and by two, and the ratio of a round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = _write(folder)
        copies = np.zeros((len(ids), 4 * 90_000), np.uint8)  # a row group each
        measured = {
            "read from memory": lambda threads: _read(folder, ids, threads, cold=False),
            "read from the disk": lambda threads: _read(folder, ids, threads, cold=True),
            "copied": lambda threads: _copy(copies, threads),
        }
        return f"{_compare(measured, len(ids))}\n{_compare_batches(folder, ids)}"


def _compare(measured: dict[str, Callable[[int], float]], images: int) -> str:
    """Return a line for each function from a number of threads to seconds."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
    for _ in range(ROUNDS + 1):
        for name, measure in measured.items():
            seconds[name].append((measure(1), measure(2)))
    lines = []
    for name, rounds in seconds.items():
        one, two = np.array(rounds[1:]).T  # the first warms up
        low, ratio, high = statistics.quantiles((one / two).tolist(), n=4)
        lines.append(
            f"{name}: one thread {images / np.median(one):,.0f} images a second, two "
            f"{images / np.median(two):,.0f}: {ratio:.2f} times as fast (quartiles of {ROUNDS} "
            f"rounds: {low:.2f}, {high:.2f})"
        )
    return "\n".join(lines)


def _compare_batches(folder: Path, ids: list[str]) -> str:
    """Return a line: images one by one as they are asked for, and the same in batches."""
    ways = {"one by one": False, f"in batches of {BATCH}": True}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, together in ways.items():
            seconds[name].append(_read_batches(folder, ids, together))
    one, other = (np.array(each[1:]) for each in seconds.values())
    low, ratio, high = statistics.quantiles((one / other).tolist(), n=4)
    speeds = (f"{name} {len(ids) / np.median(each[1:]):,.0f}" for name, each in seconds.items())
    return (
        f"images a second: {', '.join(speeds)}: {ratio:.2f} times as fast (quartiles {low:.2f}, "
        f"{high:.2f})"
    )


def _read_batches(folder: Path, ids: list[str], together: bool) -> float:
    """Return the seconds in which one thread reads all images of a store from memory."""
    store = FeatureStore(folder, "", places=folder / PLACES, cache_images=1)
    started = time.perf_counter()
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        _ = store.get_many(some) if together else [store.get(image_id) for image_id in some]
    return time.perf_counter() - started


def _write(folder: Path) -> list[str]:
    rng = np.random.default_rng(SEED)
    ids = [f"{part}-{row}" for part in range(PARTS) for row in range(IMAGES)]
    for part in range(PARTS):
        some = ids[part * IMAGES : (part + 1) * IMAGES]
        found = [_draw_features(rng) for _ in some]
        write_features_part(folder / f"part-{part:05d}.parquet", some, found, "")
    find_places(sorted(folder.iterdir()), "").save(folder / PLACES, "")
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
    for path in folder.glob("part-*") if cold else ():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    store = FeatureStore(folder, "", places=folder / PLACES, cache_images=1)
    return _time(lambda start: [store.get(i) for i in ids[start::threads]], threads)


def _copy(arrays: NDArray[np.uint8], threads: int) -> float:
    """Return the seconds in which threads copy the arrays [images, bytes], one after the other."""
    return _time(lambda start: [array.copy() for array in arrays[start::threads]], threads)


def _time(work: Callable[[int], object], threads: int) -> float:
    """Return the seconds of threads that are running when they get their number to work on."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(abs, range(threads)))
        started = time.perf_counter()
        list(pool.map(work, range(threads)))
        return time.perf_counter() - started


if __name__ == "__main__":
    print(run())
