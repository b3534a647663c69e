"""Write down the evidence of few queries by hand."""

import math
from collections.abc import Sequence

import numpy as np

from classify_head.evidence import Evidence

Row = Sequence[float]


def query(
    labels: Sequence[int],
    cosines: Row,
    *,
    inliers: Sequence[int] | None = None,
    sizes: Sequence[int] | None = None,
    pool: Row = (),
    neighbor_pool: Sequence[Row] | None = None,
    head: dict[int, float] | None = None,
    landmark: float = math.nan,
    padding: int = 0,
) -> Evidence:
    """Return the evidence of one query.

    Args:
        labels: [K] of its neighbours, nearest first.
        cosines: [K].
        inliers: [K]; none are verified by default.
        sizes: [K]; 5 by default.
        pool: [P] cosines to images without a landmark.
        neighbor_pool: [K, G] the same of the neighbours.
        head: cosine by class, best first.
        landmark: the probability of any landmark; by default no such head was asked.
        padding: neighbours that are missing at the end.
    """
    count = len(labels)

    def row(values: Row, fill: float, dtype: type) -> np.ndarray:
        return np.array([[*values, *[fill] * padding]], dtype=dtype)

    near = np.array(neighbor_pool or np.empty((count, 0)), dtype=np.float32)
    near = near.reshape(count, -1 if count else 0)
    head = head or {}
    return Evidence(
        query_ids=("q",),
        labels=row(labels, -1, np.int64),
        similarities=row(cosines, -np.inf, np.float32),
        inliers=row([-1] * count if inliers is None else inliers, -1, np.int64),
        residuals=row([np.nan] * count, np.nan, np.float32),
        overlaps=row([0] * count, 0, np.float32),
        sizes=row([5] * count if sizes is None else sizes, 0, np.int64),
        query_pool=np.array([pool], dtype=np.float32),
        neighbor_pool=np.pad(near, ((0, padding), (0, 0)))[None],
        head_labels=np.array([list(head)], dtype=np.int64),
        head_scores=np.array([list(head.values())], dtype=np.float32),
        landmark=np.array([landmark], dtype=np.float32),
    )


def stack(*queries: Evidence) -> Evidence:
    """Return the evidence of several queries of one shape, with ids q0, q1 and so on."""
    arrays = [each.arrays for each in queries]
    ids = tuple(f"q{row}" for row in range(len(queries)))
    return Evidence(ids, **{name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]})


def random_evidence(seed: int, queries: int = 6, neighbors: int = 8, labels: int = 4) -> Evidence:
    """Return evidence without ties, in which every policy has all it needs.

    Some rows end in padding, and the last has no neighbours at all.
    """
    rng = np.random.default_rng(seed)
    shape = (queries, neighbors)

    def descending(*sizes: int) -> np.ndarray:
        return -np.sort(-rng.uniform(-0.2, 1, sizes).astype(np.float32))

    present = np.arange(neighbors) < rng.integers(1, neighbors + 1, (queries, 1))
    present[-1:] = False
    per_label = rng.integers(1, 9, labels + 1)
    found = np.where(present, rng.integers(0, labels, shape), -1)
    ranked = rng.permuted(np.tile(np.arange(labels), (queries, 1)), axis=1)[:, :3]
    return Evidence(
        query_ids=tuple(f"q{row}" for row in range(queries)),
        labels=found,
        similarities=np.where(present, descending(*shape), -np.inf).astype(np.float32),
        inliers=np.where(present, rng.integers(-1, 60, shape), -1),
        residuals=np.full(shape, np.nan, dtype=np.float32),
        overlaps=np.zeros(shape, dtype=np.float32),
        sizes=np.where(present, per_label[found], 0),
        query_pool=descending(queries, 10),
        neighbor_pool=descending(*shape, 5),
        head_labels=ranked,
        head_scores=descending(queries, ranked.shape[1]),
        landmark=rng.random(queries, dtype=np.float32),
    )
