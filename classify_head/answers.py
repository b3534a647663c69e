"""Hold the answers to Q queries beside their true landmarks, ranked as GAP ranks them.

Arrays in, arrays out: this file knows no table, no path and no model.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NO_LANDMARK = -1


def check_predictions(query_ids: tuple[str, ...], predicted: Ints, confidence: Floats) -> None:
    """Refuse predictions that can't be ranked.

    Args:
        query_ids: [Q], unique and not empty.
        predicted: [Q] int64, a landmark_id or -1 for no answer.
        confidence: [Q] float64, higher is better, finite wherever there is an answer.

    Raises:
        InputError: for a wrong shape or dtype, an empty or repeated id, a label below -1, or
            a confidence that is not finite.
    """
    for name, array in (("predicted", predicted), ("confidence", confidence)):
        if array.shape != (len(query_ids),):
            expected = f"one value for each of the {len(query_ids)} queries"
            raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
    if predicted.size and predicted.dtype.kind != "i":
        raise ValueError(f"predicted has dtype {predicted.dtype}, expected int64 labels")
    seen: set[str] = set()
    for query_id in query_ids:
        if not query_id or query_id in seen:
            raise ValueError(f"query id {query_id!r} is empty or repeated; give each query one row")
        seen.add(query_id)
    for row in np.flatnonzero(predicted < NO_LANDMARK)[:1]:
        problem = f"query {query_ids[row]!r} has label {predicted[row]}"
        raise ValueError(f"{problem}, expected a landmark_id from 0 on, or -1 for no answer")
    for row in np.flatnonzero((predicted != NO_LANDMARK) & ~np.isfinite(confidence))[:1]:
        problem = f"query {query_ids[row]!r} has confidence {confidence[row]}"
        raise ValueError(f"{problem}, expected a finite number")


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers to the scored queries, beside their true landmarks.

    Attributes:
        query_ids: [Q], unique.
        predicted: [Q] int64, a landmark_id or -1 for no answer.
        confidence: [Q] float64, higher is better; not read where there is no answer.
        truths: [Q], the landmark_ids the query shows; empty for a distractor.

    Raises:
        InputError: as check_predictions, and for a true label below 0.
    """

    query_ids: tuple[str, ...]
    predicted: Ints
    confidence: Floats
    truths: tuple[frozenset[int], ...]

    def __post_init__(self) -> None:
        """Check the rows and keep read-only copies of the arrays."""
        check_predictions(self.query_ids, self.predicted, self.confidence)
        if len(self.truths) != len(self.query_ids):
            raise ValueError(f"{len(self.truths)} truths for {len(self.query_ids)} queries")
        for query_id, truth in zip(self.query_ids, self.truths, strict=True):
            if truth and min(truth) < 0:
                raise ValueError(f"query {query_id!r} has the true label {min(truth)}, below 0")
        for name, dtype in (("predicted", np.int64), ("confidence", np.float64)):
            copy = np.array(getattr(self, name), dtype=dtype)
            copy.setflags(write=False)
            object.__setattr__(self, name, copy)

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, int, float, Iterable[int]]]) -> Self:
        """Collect rows of (query id, predicted label or -1, confidence, true labels)."""
        table = list(rows)
        return cls(
            query_ids=tuple(row[0] for row in table),
            predicted=np.array([row[1] for row in table], dtype=np.int64),
            confidence=np.array([row[2] for row in table], dtype=np.float64),
            truths=tuple(frozenset(row[3]) for row in table),
        )

    def take(self, rows: Bools) -> Self:
        """Return the answers to some queries: [Q] bool, or an index array."""
        places = np.arange(len(self.query_ids))[rows]
        return type(self)(
            tuple(self.query_ids[place] for place in places),
            self.predicted[places],
            self.confidence[places],
            tuple(self.truths[place] for place in places),
        )

    @cached_property
    def has_landmark(self) -> Bools:
        """[Q] bool, whether the query shows a landmark."""
        return np.fromiter((bool(truth) for truth in self.truths), np.bool_, len(self.truths))

    @cached_property
    def correct(self) -> Bools:
        """[Q] bool, whether the answer is one of the true labels; never where there is none."""
        pairs = zip(self.predicted.tolist(), self.truths, strict=True)
        return np.fromiter((label in truth for label, truth in pairs), np.bool_, len(self.truths))

    @cached_property
    def id_rank(self) -> Ints:
        """[Q] int64, the place of each query when the ids are sorted."""
        order = sorted(range(len(self.query_ids)), key=self.query_ids.__getitem__)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank

    @cached_property
    def ranking(self) -> Ints:
        """[N] int64, the answered rows, most confident first, ties by query id."""
        rows = np.flatnonzero(self.predicted != NO_LANDMARK)
        return rows[np.lexsort((self.id_rank[rows], -self.confidence[rows]))]
