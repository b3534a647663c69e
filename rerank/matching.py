"""Match the descriptors of a query image against those of its candidates.

Knows nothing of keypoints or geometry. Reads and writes no files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .cosines import list_cosines

# Squared distance of unit vectors that rounding alone can make: 8 steps of float32 at 1.
SQUARED_ROUNDING = 1e-6


def match_mutual(
    descriptors0: npt.NDArray[Any],
    candidates: Sequence[npt.NDArray[Any]],
    *,
    max_ratio: float = 0.9,
    max_distance: float = 2.0,
) -> list[npt.NDArray[np.int64]]:
    """Find, for each candidate, the mutual nearest neighbours that pass Lowe's ratio test.

    Rows are compared by the Euclidean distance of their directions, sqrt(2 - 2 cos), 0 to 2. A
    match (i, j) means: j is nearest to i, i is nearest to j, the distance is at most max_distance,
    and at most max_ratio times the distance from i to the second nearest row of that candidate. A
    candidate of one row has no second, so its match passes the ratio. Rows that tie, but for
    float32 rounding, go to the lowest. Distances below 1e-3 are rounding too and count as 0.

    A candidate's matches do not depend on which others are given: each has a product of its own.
    One product of all candidates, or of blocks that fit the L2 cache, was no faster.

    Args:
        descriptors0: [N, D] uint8, float16 or float32, of the query.
        candidates: [N_c, D] arrays, one a candidate.
        max_ratio: largest ratio of the distances to the nearest and second nearest, 0 to 1;
            1 turns the test off.
        max_distance: largest distance of a match, 0 to 2; 2 turns the limit off.

    Returns:
        One [M, 2] int64 array a candidate: query row, candidate row; ascending query rows.

    Raises:
        ValueError: a limit is out of its range, or a candidate's D differs from the query's.

    Source: Lowe, IJCV 2004, section 7.1, with mutual nearest neighbours added. The ratio is asked
    in one direction only.
    """
    if not 0 < max_ratio <= 1 or not 0 < max_distance <= 2:
        raise ValueError(
            f"max_ratio {max_ratio} must be in (0, 1], max_distance {max_distance} in (0, 2]"
        )
    dim = descriptors0.shape[1]
    for number, descriptors1 in enumerate(candidates):
        if descriptors1.shape[1] != dim:
            raise ValueError(
                f"candidate {number} has descriptors of dim {descriptors1.shape[1]}, the query of "
                f"dim {dim}; extract both with the same extractor"
            )
    return [
        _match_pair(cosines, max_ratio, max_distance)
        for cosines in list_cosines(descriptors0, candidates)
    ]


def _match_pair(
    similarity: npt.NDArray[np.float32], max_ratio: float, max_distance: float
) -> npt.NDArray[np.int64]:
    """Match one candidate from its [N0, N1] similarities."""
    n0, n1 = similarity.shape
    if not n0 or not n1:
        return np.empty((0, 2), np.int64)
    columns = similarity.argmax(axis=1)
    best = similarity[np.arange(n0), columns]
    # max over axis 0 is several times faster than argmax, and equality tells the same.
    rows = np.flatnonzero(best == similarity.max(axis=0)[columns])
    # Of query rows that tie for one column keep the first: it is the last to be written.
    first = np.empty(n1, np.int64)
    first[columns[rows[::-1]]] = rows[::-1]
    rows = rows[first[columns[rows]] == rows]
    if max_distance < 2:
        rows = rows[_squared_distance(best[rows]) <= max_distance**2]
    if max_ratio < 1:
        # Of these rows alone: they are a third, and the second best takes another pass.
        rivals = similarity[rows]
        rivals[np.arange(len(rows)), columns[rows]] = -np.inf
        limit = max_ratio**2 * _squared_distance(rivals.max(axis=1))
        rows = rows[_squared_distance(best[rows]) <= limit]
    matches = np.empty((len(rows), 2), np.int64)
    matches[:, 0], matches[:, 1] = rows, columns[rows]
    return matches


def _squared_distance(cosine: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    squared = 2.0 - 2.0 * cosine
    return np.asarray(squared * (squared >= SQUARED_ROUNDING))
