"""Let the nearest neighbours of a query vote for its landmark.

Policies are functions from neighbours to a score a label; the table VOTES names them. Arrays in,
arrays out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelScores:
    """The labels that got votes from one query's neighbours, best first; ties by lower label."""

    labels: NDArray[np.int64]  # [L]
    scores: NDArray[np.float64]  # [L] descending


def vote_top1(labels: NDArray[np.int64], cosines: NDArray[np.float32], power: float) -> LabelScores:
    """Score each label by the cosine of its nearest neighbour; power is not used.

    Source: baseline.
    """
    return _sum_votes(labels, cosines.astype(np.float64), first=1)


def vote_sum(labels: NDArray[np.int64], cosines: NDArray[np.float32], power: float) -> LabelScores:
    """Score each label by the sum of the cosines of its neighbours; power is not used.

    Source: baseline.
    """
    return _sum_votes(labels, cosines.astype(np.float64), first=None)


def vote_power(
    labels: NDArray[np.int64], cosines: NDArray[np.float32], power: float
) -> LabelScores:
    """Score each label by the sum of cosine^power over its 5 nearest neighbours.

    Negative cosines count as 0.

    >>> scores = vote_power(np.array([1, 2, 2, 1, 3]), np.float32([0.9, 0.8, 0.7, 0.5, 0.45]), 8)
    >>> scores.labels.tolist(), scores.scores.round(3).tolist()
    ([1, 2, 3], [0.434, 0.225, 0.002])

    Source: third place of the 2020 Google Landmark Recognition challenge; p = 8 (9 in its code).
    """
    return _sum_votes(labels, np.maximum(cosines.astype(np.float64), 0) ** power, first=5)


def _sum_votes(
    labels: NDArray[np.int64], votes: NDArray[np.float64], first: int | None
) -> LabelScores:
    """Sum the first so many votes of each label; padded neighbours have label -1."""
    kept = labels >= 0
    labels, votes = labels[kept], votes[kept]
    distinct, inverse = np.unique(labels, return_inverse=True)
    sums = np.zeros(len(distinct))
    for column in range(len(distinct)):
        sums[column] = votes[inverse == column][:first].sum()
    order = np.lexsort((distinct, -sums))
    return LabelScores(distinct[order], sums[order])


VOTES: dict[str, Callable[[NDArray[np.int64], NDArray[np.float32], float], LabelScores]] = {
    "top1": vote_top1,
    "knn-sum": vote_sum,
    "knn-power": vote_power,
}
