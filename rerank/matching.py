"""Match the descriptors of a query image against those of its candidates.

Knows nothing of keypoints or geometry. Reads and writes no files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


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
    candidate of one row has no second, so its match passes the ratio. Ties go to the lowest row.
    A candidate's matches do not depend on which others are given.

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
    rows0 = unit_rows(descriptors0)
    return [
        _match_pair(rows0 @ unit_rows(descriptors1).T, max_ratio, max_distance)
        for descriptors1 in candidates
    ]


def unit_rows(descriptors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the rows as float32 of length 1; rows of zeros stay zeros."""
    rows = descriptors.astype(np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows *= (1.0 / np.maximum(norms, 1e-12))[:, None]
    return rows


def _match_pair(
    similarity: npt.NDArray[np.float32], max_ratio: float, max_distance: float
) -> npt.NDArray[np.int64]:
    """Match one candidate from its [N0, N1] similarities, which are overwritten."""
    n0, n1 = similarity.shape
    if not n0 or not n1:
        return np.empty((0, 2), np.int64)
    # max over axis 0 is several times faster than argmax, and equality tells the same.
    best_of_column = similarity.max(axis=0)
    rows = np.arange(n0)
    columns = similarity.argmax(axis=1)
    best = similarity[rows, columns]
    similarity[rows, columns] = -np.inf
    second = similarity.max(axis=1)
    distance = np.maximum(2.0 - 2.0 * best, 0.0)
    good = (best == best_of_column[columns]) & (distance <= max_distance**2)
    good &= distance <= max_ratio**2 * (2.0 - 2.0 * second)
    matches = np.stack([rows[good], columns[good]], axis=1).astype(np.int64)
    # Two query rows that tie for one column: keep the first.
    _, first = np.unique(matches[:, 1], return_index=True)
    return matches[np.sort(first)]
