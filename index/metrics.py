"""Measure ranked lists of neighbours against sets of relevant ids.

Arrays in, numbers out. Every function takes

    ranked: [Q, K] int64, the ids found for each query, best first, -1 padding at the end;
    relevant: [Q] collections of ids that count as hits (a retrieval ground truth).

The order of `ranked` is final, so ties are the searcher's to break. An id that appears again
in the same row keeps its rank but counts as a hit only once. A query with no relevant id is
left out of every mean; if that leaves none, the figure is undefined and a ValueError says so.
Ranks beyond K count as misses, so ask for K of at least k.

Source: Weyand et al., "Google Landmarks Dataset v2", CVPR 2020, section 3.3 (mAP@100).
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Relevant = Sequence[Collection[int]]


def recall_at_k(ranked: Ints, relevant: Relevant, k: int) -> float:
    """Compute the share of queries with at least one relevant id among the first k.

    This is the R@K of metric learning: a query counts once, however many hits it has.

    Raises:
        ValueError: as hits, and if k is below 1.

    Example: the first query has its hit at rank 2, the second has none.

        >>> recall_at_k(np.array([[8, 1], [9, -1]]), [{1, 2}, {3}], 2)
        0.5
    """
    found, _ = _scored(ranked, relevant, k)
    return float(found.any(axis=1).mean())


def mean_precision_at_k(ranked: Ints, relevant: Relevant, k: int) -> float:
    """Compute the mean share of relevant ids among the first k.

    The divisor is always k: a row with fewer ids is not excused.

    Raises:
        ValueError: as hits, and if k is below 1.

    Example: one hit in two for the first query, none for the second.

        >>> mean_precision_at_k(np.array([[8, 1], [9, -1]]), [{1, 2}, {3}], 2)
        0.25
    """
    found, _ = _scored(ranked, relevant, k)
    return float(found.sum(axis=1).mean() / k)


def mean_average_precision(ranked: Ints, relevant: Relevant, k: int) -> float:
    """Compute the mean over queries of the average precision of the first k ids.

    AP = sum over hits at rank i <= k of (hits up to i) / i, divided by min(k, number of
    relevant ids), so a perfect list of k reaches 1 even if more than k ids are relevant.

    Raises:
        ValueError: as hits, and if k is below 1.

    Example: a hit at rank 2 of two relevant ids, (1/2) / 2, and a query without a hit.

        >>> mean_average_precision(np.array([[8, 1], [9, -1]]), [{1, 2}, {3}], 2)
        0.125
    """
    found, sizes = _scored(ranked, relevant, k)
    precision = np.cumsum(found, axis=1) / np.arange(1, found.shape[1] + 1)
    summed = np.where(found, precision, 0).sum(axis=1)
    return float((summed / np.minimum(sizes, k)).mean())


def map_at_100(ranked: Ints, relevant: Relevant) -> float:
    """Compute mAP@100, the retrieval metric of Google Landmarks: mean_average_precision, k = 100.

    Raises:
        ValueError: as hits.

    Example: hits at ranks 1 and 3 of two relevant ids, (1 + 2/3) / 2.

        >>> round(map_at_100(np.array([[1, 8, 2]]), [{1, 2}]), 4)
        0.8333
    """
    return mean_average_precision(ranked, relevant, 100)


def first_hit_position(ranked: Ints, relevant: Relevant, k: int = 100) -> tuple[float, float]:
    """Compute the mean and the median position of the first hit; 1 is best.

    A query without a hit among the first k counts as k + 1.

    Raises:
        ValueError: as hits, and if k is below 1.

    Example: a hit at rank 2, and none among the first 100.

        >>> first_hit_position(np.array([[8, 1], [9, -1]]), [{1, 2}, {3}])
        (51.5, 51.5)
    """
    found, _ = _scored(ranked, relevant, k)
    padded = np.column_stack([found, np.ones(len(found), np.bool_)])
    position = np.where(found.any(axis=1), padded.argmax(axis=1), k) + 1
    return float(position.mean()), float(np.median(position))


def hits(ranked: Ints, relevant: Relevant) -> Bools:
    """Mark the ids that are relevant to their query, each at its first rank only.

    Returns:
        [Q, K] bool.

    Raises:
        ValueError: if ranked is not [Q, K] int64, holds an id below -1 or an id
            after padding, or if a relevant id is below 0.

    Example: id 1 is relevant and appears twice.

        >>> hits(np.array([[1, 8, 1], [1, -1, -1]]), [{1}, {3}]).tolist()
        [[True, False, False], [False, False, False]]
    """
    _check_ranked(ranked, len(relevant))
    sizes = [len(ids) for ids in relevant]
    wanted = np.fromiter((i for ids in relevant for i in ids), np.int64, sum(sizes))
    if wanted.size and wanted.min() < 0:
        raise ValueError(f"relevant id {wanted.min()} is below 0; -1 is kept for padding")
    # One key for each (query, id): compressing the ids first keeps the product within int64.
    ids, compact = np.unique(np.concatenate([ranked.ravel(), wanted]), return_inverse=True)
    rows = np.arange(len(ranked))
    queries = np.concatenate([np.repeat(rows, ranked.shape[1]), np.repeat(rows, sizes)])
    keys = queries * len(ids) + compact
    first = np.zeros(ranked.size, np.bool_)
    first[np.unique(keys[: ranked.size], return_index=True)[1]] = True
    return (first & np.isin(keys[: ranked.size], keys[ranked.size :])).reshape(ranked.shape)


def _check_ranked(ranked: Ints, n_queries: int) -> None:
    """Refuse anything but [n_queries, K] int64 with -1 at the end of rows only."""
    if ranked.ndim != 2 or len(ranked) != n_queries or ranked.dtype.kind != "i":
        got = f"ranked has shape {ranked.shape} and dtype {ranked.dtype}"
        raise ValueError(f"{got}, expected [{n_queries}, K] int64: one row a relevant set")
    if ranked.size and ranked.min() < -1:
        raise ValueError(f"ranked holds the id {ranked.min()}; only -1 is padding")
    resumed = (ranked[:, :-1] == -1) & (ranked[:, 1:] != -1)
    for row in np.flatnonzero(resumed.any(axis=1))[:1]:
        raise ValueError(f"row {row} of ranked goes on after padding: {ranked[row].tolist()[:10]}")


def _scored(ranked: Ints, relevant: Relevant, k: int) -> tuple[Bools, Ints]:
    """Keep the queries with relevant ids: hits among the first k, and how many ids there are."""
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")
    _check_ranked(ranked, len(relevant))
    found = hits(ranked[:, :k], relevant)
    sizes = np.array([len(set(ids)) for ids in relevant], dtype=np.int64)
    if not sizes.any():
        problem = f"none of the {len(sizes)} queries has a relevant id"
        raise ValueError(f"{problem}: the metric is undefined; score at least one that has")
    return found[sizes > 0], sizes[sizes > 0]
