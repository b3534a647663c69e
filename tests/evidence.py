"""Make evidence of imaginary queries for tests: how much similarity and geometry say is chosen."""

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence


def imagine(
    queries: int,
    *,
    seed: int = 0,
    similarity: float = 1.0,
    geometry: float = 1.0,
    labels: int = 12,
    neighbors: int = 30,
    distractor_share: float = 0.4,
) -> tuple[Evidence, NDArray[np.int64]]:
    """Return evidence and truths [Q], -1 for a distractor.

    Args:
        queries: Q.
        seed: of everything.
        similarity: how far the cosines of the right label lie above the others; 0 says nothing.
        geometry: how many more inliers the right label has; 0 says nothing.
        labels: landmarks of the database.
        neighbors: K.
        distractor_share: of the queries.
    """
    rng = np.random.default_rng(seed)
    truths = rng.integers(labels, size=queries)
    truths[rng.random(queries) < distractor_share] = -1
    found = rng.integers(labels, size=(queries, neighbors))
    right = (found == truths[:, None]).astype(np.float64)
    cosines = rng.normal(0.5, 0.08, found.shape) + 0.2 * similarity * right
    order = np.argsort(-cosines, axis=1, kind="stable")
    found, right = (np.take_along_axis(array, order, axis=1) for array in (found, right))
    cosines = np.take_along_axis(cosines, order, axis=1).clip(-1, 1).astype(np.float32)
    inliers = rng.poisson(3 + 15 * geometry * right * rng.random((queries, 1)))
    evidence = Evidence(
        tuple(f"q{row:05d}" for row in range(queries)),
        found.astype(np.int64),
        cosines,
        inliers.astype(np.int64),
        np.where(inliers > 4, rng.uniform(1, 4, found.shape), np.nan).astype(np.float32),
        (inliers / 500).astype(np.float32),
        np.full(found.shape, 8, dtype=np.int64),
        np.sort(rng.uniform(0, 0.6, (queries, 10)).astype(np.float32))[:, ::-1].copy(),
        np.sort(rng.uniform(0, 0.6, (*found.shape, 5)).astype(np.float32))[..., ::-1].copy(),
        np.argsort(rng.random((queries, labels)), axis=1)[:, :5].astype(np.int64),
        np.sort(rng.uniform(0, 0.6, (queries, min(labels, 5))).astype(np.float32))[:, ::-1].copy(),
    )
    return evidence, truths
