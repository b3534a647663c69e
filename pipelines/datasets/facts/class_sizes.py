"""Describe how many images classes have: percentiles, inequality, a histogram.

Arrays in, records out. Knows no dataset; reads and writes no files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

DECILES = tuple(range(10, 100, 10))
FEW = 10  # images; balanced-ensemble dropped classes of fewer, 40 % of its labels


@dataclass(frozen=True)
class SizeBin:
    """The classes of low to high images, both included."""

    low: int
    high: int
    classes: int


@dataclass(frozen=True)
class ClassSizes:
    """How many images the classes of a table have."""

    images: int
    classes: int
    smallest: int
    median: int  # the lower one of two
    mean: float
    largest: int
    percentiles: tuple[tuple[int, int], ...]  # (per cent, images), see find_percentile
    singletons: int  # classes of one image: no pair to learn from
    below_ten: int  # classes of fewer than FEW images, singletons included
    gini: float  # 0: all of one size; towards 1: few classes have nearly all images
    top_share: float  # of the images, in the largest hundredth of the classes, rounded up
    histogram: tuple[SizeBin, ...]


def describe_sizes(sizes: NDArray[np.int64]) -> ClassSizes:
    """Describe class sizes.

    Args:
        sizes: [C] images of each class, at least 1, in any order.

    Raises:
        ValueError: no classes, or an empty one.
    """
    ordered = np.sort(sizes)
    if not len(ordered) or ordered[0] < 1:
        raise ValueError(f"{len(ordered)} class sizes, expected 1 or more, each 1 or more")
    images = int(ordered.sum())
    return ClassSizes(
        images=images,
        classes=len(ordered),
        smallest=int(ordered[0]),
        median=find_percentile(ordered, 50),
        mean=images / len(ordered),
        largest=int(ordered[-1]),
        percentiles=tuple((percent, find_percentile(ordered, percent)) for percent in DECILES),
        singletons=int(np.searchsorted(ordered, 1, side="right")),
        below_ten=int(np.searchsorted(ordered, FEW)),
        gini=measure_gini(ordered),
        top_share=float(ordered[-_ceil_percent(len(ordered), 1) :].sum() / images),
        histogram=count_bins(ordered),
    )


def find_percentile(ordered: NDArray[np.int64], percent: int) -> int:
    """Return the least size that so many per cent of the classes do not exceed.

    It is always the size of a class: numpy's 'inverted_cdf', in whole numbers, for there
    q = 0.07 of 100 classes rounds to the 8th.

    >>> find_percentile(np.array([4, 5, 7, 9, 14, 22, 34, 62, 142, 900]), 20)
    5
    """
    return int(ordered[max(_ceil_percent(len(ordered), percent), 1) - 1])


def measure_gini(ordered: NDArray[np.int64]) -> float:
    """Return the Gini coefficient of ascending sizes, 0 for equal ones.

    Source: Gini 1912, as the mean difference of all pairs over twice the mean.

    >>> measure_gini(np.array([5, 5, 5])), round(measure_gini(np.array([1, 1, 10])), 3)
    (0.0, 0.5)
    """
    count = len(ordered)
    ranks = np.arange(1, count + 1)
    return float((2 * ranks - count - 1) @ ordered / (count * ordered.sum()))


def count_bins(ordered: NDArray[np.int64]) -> tuple[SizeBin, ...]:
    """Count ascending sizes in bins about equally wide on a log scale, up to the largest size.

    The edges are powers of two and what lies midway, so two tables have the same bins.

    >>> [(bin.low, bin.high, bin.classes) for bin in count_bins(np.array([1, 1, 2, 5, 6]))]
    [(1, 1, 2), (2, 2, 1), (3, 3, 0), (4, 5, 1), (6, 7, 1)]
    """
    edges = list(_bin_edges(int(ordered[-1])))
    counts = np.diff(np.searchsorted(ordered, edges)).tolist()
    return tuple(
        SizeBin(low, following - 1, count)
        for (low, following), count in zip(pairwise(edges), counts, strict=True)
    )


def _bin_edges(largest: int) -> Iterator[int]:
    """Yield 1, 2, 3, 4, 6, 8, 12, ... to the first edge above the largest size."""
    yield 1
    power = 2
    while True:
        for edge in (power, power * 3 // 2):
            yield edge
            if edge > largest:
                return
        power *= 2


def _ceil_percent(count: int, percent: int) -> int:
    """Return count * percent / 100, rounded up."""
    return -(-count * percent // 100)
