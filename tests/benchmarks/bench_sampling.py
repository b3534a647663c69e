"""Time an epoch's order, and a balanced set, of as many images and classes as GLDv2 has and more.

Run as `python -m tests.benchmarks.bench_sampling`. The library's sampler is timed for some batches,
and its epoch reckoned from them.
"""

import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pytorch_metric_learning.samplers import MPerClassSampler

from embed.balance import draw_set
from embed.sampling import EXPONENTS, epoch_order, split_validation

IMAGES, CLASSES, BATCH, PER_CLASS = 5_000_000, 203_094, 64, 4
LIBRARY_BATCHES = 20


def make_labels() -> NDArray[np.int64]:
    """Return shuffled labels with a long tail, each class at least once."""
    rng = np.random.default_rng(0)
    weights = rng.zipf(1.6, CLASSES).clip(1, 5000).astype(np.float64)
    rest = rng.choice(CLASSES, IMAGES - CLASSES, p=weights / weights.sum())
    return rng.permutation(np.concatenate([np.arange(CLASSES), rest]))


def time_call(function: Callable[[], object]) -> float:
    """Return seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def time_library(labels: NDArray[np.int64]) -> float:
    """Return the seconds that MPerClassSampler would take for an epoch."""
    start = time.perf_counter()
    sampler = MPerClassSampler(labels, PER_CLASS, BATCH, BATCH * LIBRARY_BATCHES)
    built = time.perf_counter() - start
    return built + time_call(partial(list, sampler)) / LIBRARY_BATCHES * IMAGES / BATCH


def run(rounds: int = 3) -> str:
    """Time each way once a round, in turn; return medians in seconds and the peak of memory."""
    labels = make_labels()
    options = {"batch_size": BATCH, "per_class": PER_CLASS, "seed": 0, "epoch": 0}
    calls: dict[str, Callable[[], object]] = {
        f"epoch_order, {name}": partial(epoch_order, labels, name, **options)
        for name in ("m-per-class", *EXPONENTS)
    }
    calls["split_validation"] = partial(split_validation, labels, 0.1, 0)
    calls["draw_set, cap 120, upsampled to 60"] = partial(
        draw_set, labels, cap=120, upsample_to=60, set_number=1, seed=0
    )
    times: dict[str, list[float]] = {name: [] for name in (*calls, "MPerClassSampler, reckoned")}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(time_call(call))
        times["MPerClassSampler, reckoned"].append(time_library(labels))
    lines = [f"{IMAGES} images, {CLASSES} classes, batches of {BATCH}, {rounds} rounds"]
    lines += [f"{name:36} {statistics.median(values):8.1f} s" for name, values in times.items()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return "\n".join([*lines, f"peak of memory, all of them: {peak:.1f} GB"])


if __name__ == "__main__":
    print(run())
