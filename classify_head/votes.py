"""Let the neighbours of a query vote for its landmark.

The third step of a policy: a score a neighbour [Q, K] becomes a score a label, LabelScores. A
neighbour of score -inf does not vote. Of equal scores the nearer neighbour comes first. Arrays in,
arrays out.
"""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from embed.settings import Settings

from .evidence import Evidence
from .extras import Extras
from .label_scores import LabelScores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class SumVote(Settings):
    """Score each label by the sum of its neighbours' scores.

    With `most` 1 a label has the score of its best neighbour, so that the best neighbour of all
    decides.

    Source: baseline; with the 3 best neighbours, the first place of the 2020 Google Landmark
    Recognition challenge.
    """

    name: Literal["sum"] = "sum"
    neighbors: int | None = Field(None, ge=1)  # the best so many vote; None for all
    most: int | None = Field(None, ge=1)  # of one label at most so many, the best; None for all

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> LabelScores:
        """Return the labels' scores."""
        return sum_by_label(evidence.labels, scores, scores, self.neighbors, self.most)


class NormVote(Settings):
    """Score each label by sum(score) / min(K, n), n the database images of the label.

    So a landmark with one image is not beaten by others only because they have more.

    Source: fourth place of the 2018 Google Landmark Recognition challenge.
    """

    name: Literal["norm"] = "norm"
    neighbors: int = Field(5, ge=1)  # K: the best so many vote

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> LabelScores:
        """Return the labels' scores, at most 1 for cosines."""
        votes = scores / evidence.sizes.clip(1, self.neighbors)
        summed = sum_by_label(evidence.labels, scores, votes, self.neighbors, None)
        return replace(summed, largest=1.0)


class PowerVote(Settings):
    """Score each label by the sum of score^power over its best neighbours.

    Negative scores count as 0.

    Source: third place of the 2020 Google Landmark Recognition challenge; p = 8 (9 in its code).
    """

    name: Literal["power"] = "power"
    power: float = Field(8.0, gt=0)
    most: int = Field(5, ge=1)  # of one label at most so many, the best

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> LabelScores:
        """Return the labels' scores."""
        votes = np.maximum(scores, 0) ** self.power
        return sum_by_label(evidence.labels, scores, votes, None, self.most)


class CentroidVote(Settings):
    """Score each label by the cosine of the query to the centroid of its images.

    The scores of neighbours play no part.

    Source: tenth place of the 2018 and eighth of the 2019 Google Landmark Recognition challenge.
    """

    name: Literal["centroids"] = "centroids"

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> LabelScores:
        """Return the labels' scores. Raises MissingEvidenceError without centroids."""
        return extras.need_centroids(evidence)


Vote = Annotated[SumVote | NormVote | PowerVote | CentroidVote, Field(discriminator="name")]


def sum_by_label(
    labels: Ints, scores: Floats, votes: Floats, neighbors: int | None, most: int | None
) -> LabelScores:
    """Sum the votes of each query's best neighbours, label by label.

    Args:
        labels: [Q, K] int64; -1 is padding.
        scores: [Q, K] float64, which neighbours are best; -inf does not vote.
        votes: [Q, K] float64, what is summed.
        neighbors: how many of the best vote.
        most: how many of one label count at most.

    >>> scores = np.array([[0.75, 0.5, 0.5]])
    >>> found = sum_by_label(np.array([[2, 1, 1]]), scores, scores, None, None)
    >>> found.labels.tolist(), found.scores.tolist(), found.largest
    ([[1, 2]], [[1.0, 0.75]], 3.0)
    """
    k = labels.shape[1]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :neighbors]
    voting = np.take_along_axis(np.where(np.isneginf(scores), -1, labels), best, axis=1)
    # Stable: the neighbours of one label then stand together, still the best first.
    order = np.argsort(voting, axis=1, kind="stable")
    voting = np.take_along_axis(voting, order, axis=1)
    neighbor = np.take_along_axis(best, order, axis=1)
    votes = np.take_along_axis(votes, neighbor, axis=1)
    first = np.ones(voting.shape, dtype=np.bool_)
    first[:, 1:] = voting[:, 1:] != voting[:, :-1]
    columns = np.arange(voting.shape[1])
    places = columns - np.maximum.accumulate(np.where(first, columns, 0), axis=1)
    counted = (voting >= 0) & (places < (k if most is None else most))
    votes = np.where(counted, votes, 0.0)
    sums = np.bincount(np.cumsum(first) - 1, votes.ravel()).astype(np.float64)
    largest = min((limit for limit in (neighbors, most) if limit is not None), default=k)
    added = np.zeros(labels.shape)
    np.put_along_axis(added, neighbor, votes, axis=1)
    found = _sort_labels(np.where(first, voting, -1), first, sums, float(largest))
    return replace(found, added=added)


def _sort_labels(
    labels: Ints, first: NDArray[np.bool_], sums: Floats, largest: float
) -> LabelScores:
    """Put the labels, ascending where first [Q, K] is True and -1 elsewhere, best first."""
    scores = np.full(labels.shape, -np.inf)
    scores[first] = sums
    scores[labels < 0] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")  # stable: the lower of tied labels first
    width = int((labels >= 0).sum(axis=1).max(initial=0))
    order = order[:, :width]
    return LabelScores(
        np.take_along_axis(labels, order, axis=1),
        np.take_along_axis(scores, order, axis=1),
        largest,
    )
