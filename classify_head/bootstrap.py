"""Draw rows again, with replacement, to tell how far a figure depends on the rows at hand.

Arrays in, arrays out: this file knows no metric. A resample of N rows is passed on as how often
each row occurs in it, so that a metric can weigh rows where it would else copy and sort them.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (the percentile
interval).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray


def draw_counts(
    needed: NDArray[np.bool_], *, samples: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Draw resamples of N rows; the same arguments give the same resamples.

    Args:
        needed: [N] bool. A resample without any of these rows is drawn again: a metric that
            divides by their number is undefined there.
        samples: how many resamples are drawn, 1 or more.
        seed: start of the random numbers.

    Returns:
        An iterator of [N] int64, how often each row occurs; the sum is N.

    Raises:
        ValueError: if no row is needed, so that no resample would do, or samples is below 1.

    Example:
        >>> [counts.sum().item() for counts in draw_counts(np.ones(3, bool), samples=2, seed=0)]
        [3, 3]
    """
    if not needed.any():
        raise ValueError(f"none of the {len(needed)} rows is needed; mark at least one")
    if samples < 1:
        raise ValueError(f"samples is {samples}, expected 1 or more")
    generator = np.random.default_rng(seed)
    return (_draw(needed, generator) for _ in range(samples))


def percentile_interval(values: ArrayLike, level: float) -> tuple[float, float]:
    """Return the (1 - level) / 2 and (1 + level) / 2 quantiles of the resampled values.

    Args:
        values: [S], one figure a resample.
        level: the share of resamples between both ends, inside (0, 1).

    Raises:
        ValueError: if level lies outside (0, 1).

    Example: of the values 0 to 100, half lie between 25 and 75.

        >>> percentile_interval(range(101), 0.5)
        (25.0, 75.0)
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} must lie in (0, 1), like 0.95")
    low, high = np.quantile(np.asarray(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _draw(needed: NDArray[np.bool_], generator: "np.random.Generator") -> NDArray[np.int64]:
    size = len(needed)
    while True:
        counts = np.bincount(generator.integers(size, size=size), minlength=size)
        if counts[needed].any():
            return counts
