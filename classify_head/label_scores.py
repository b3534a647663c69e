"""Hold and look up what is known label by label, for Q queries at once.

A table [Q, L] has a row a query and a column for each of its labels; shorter rows are padded with
label -1 and score -inf. Arrays in, arrays out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .evidence import Evidence

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelScores:
    """The labels that each of Q queries may have, best first; ties by lower label.

    Attributes:
        labels: [Q, L] int64, each at most once a row; -1 is padding.
        scores: [Q, L] float64, descending; -inf for padding, finite elsewhere.
        largest: the score of a label for which as many neighbours as may vote do so with 1.
        added: [Q, K] float64, what each neighbour added to the score of its label, 0 for those that
            do not count; None where no neighbours were asked.

    Raises:
        ValueError: shapes differ, scores do not descend, or padding is not as stated.
    """

    labels: Ints
    scores: Floats
    largest: float = 1.0
    added: Floats | None = None

    def __post_init__(self) -> None:
        """Check both tables."""
        if self.labels.ndim != 2 or self.labels.shape != self.scores.shape:
            shapes = f"labels {self.labels.shape} and scores {self.scores.shape}"
            raise ValueError(f"{shapes}, expected [Q, L] both")
        if ((self.labels >= 0) != np.isfinite(self.scores)).any():
            raise ValueError("a score must be finite where there is a label, -inf elsewhere")
        if (self.scores[:, 1:] > self.scores[:, :-1]).any():
            raise ValueError("scores must descend in every row")


@dataclass(frozen=True, eq=False)
class Choice:
    """One label for each of Q queries and how sure it is.

    Attributes:
        labels: [Q] int64, landmark_ids; -1 for none.
        confidences: [Q] float64, finite; higher is surer. Not read where there is no label.

    Raises:
        ValueError: shapes differ, a label is no whole number from -1 on, or a confidence is not
            finite.
    """

    labels: Ints
    confidences: Floats

    def __post_init__(self) -> None:
        """Check both arrays."""
        if self.labels.ndim != 1 or self.labels.shape != self.confidences.shape:
            shapes = f"labels {self.labels.shape} and confidences {self.confidences.shape}"
            raise ValueError(f"{shapes}, expected [Q] both")
        if self.labels.size and self.labels.dtype.kind != "i":
            raise ValueError(f"labels have dtype {self.labels.dtype}, expected int64")
        for row in np.flatnonzero((self.labels < -1) | ~np.isfinite(self.confidences))[:1]:
            found = f"label {self.labels[row]} and confidence {self.confidences[row]}"
            raise ValueError(f"query {row} has {found}, expected -1 or above and a finite number")

    def only(self, kept: Bools) -> "Choice":
        """Return the choice with label -1 and confidence 0 where kept [Q] is False."""
        return Choice(np.where(kept, self.labels, -1), np.where(kept, self.confidences, 0.0))

    def pad(self, queries: int) -> "Choice":
        """Return the choice with so many queries more at its end, of label -1 and confidence 0."""
        none = np.full(queries, -1, dtype=np.int64)
        return Choice(np.append(self.labels, none), np.append(self.confidences, np.zeros(queries)))


def choose_best(labels: Ints, scores: Floats) -> Choice:
    """Choose the label of the largest score in each row; ties go to the lower label.

    Args:
        labels: [Q, L] int64; -1 is never chosen.
        scores: [Q, L] float64, in any order.

    >>> choice = choose_best(np.array([[7, 3, 5], [-1, -1, -1]]), np.array([[2.0, 2, 1], [9] * 3]))
    >>> choice.labels.tolist(), choice.confidences.tolist()
    ([3, -1], [2.0, 0.0])
    """
    scores = np.where(labels >= 0, scores, -np.inf)
    top = scores.max(axis=1, initial=-np.inf)
    none = np.iinfo(np.int64).max
    tied = (scores == top[:, None]) & (labels >= 0)
    best = np.where(tied, labels, none).min(axis=1, initial=none)
    found = best < none
    return Choice(np.where(found, best, -1), np.where(found, top, 0.0))


def look_up(labels: Ints, values: NDArray[np.generic], wanted: Ints, missing: float) -> Floats:
    """Return the largest value that each query has of each wanted label.

    Args:
        labels: [Q, A] int64, a label may occur several times a row; -1 is padding.
        values: [Q, A], one a label.
        wanted: [Q, B] int64.
        missing: stands for labels that the row does not have, and for -1.

    Returns:
        [Q, B] float64.

    >>> look_up(np.array([[4, 2, 4]]), np.array([[1, 5, 3]]), np.array([[2, 4, 6]]), 0).tolist()
    [[5.0, 3.0, 0.0]]
    """
    values = values.astype(np.float64)
    found = np.full(wanted.shape, -np.inf)
    # Column by column: all at once, 10,000 queries would take gigabytes.
    for column in range(wanted.shape[1]):
        same = (labels == wanted[:, column, None]) & (labels >= 0)
        found[:, column] = np.where(same, values, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isneginf(found), missing, found)


def images_of(evidence: Evidence, labels: Ints, most: int | None = None) -> Bools:
    """Mark [Q, K] the neighbours that show the label of each query; none for -1.

    Args:
        evidence: of Q queries.
        labels: [Q] int64.
        most: how many of them at most, the nearest; None for all.
    """
    same = (evidence.labels == labels[:, None]) & (labels[:, None] >= 0)
    return np.asarray(same if most is None else same & (np.cumsum(same, axis=1) <= most))
