"""Hold the answers to Q queries beside their true landmarks, ranked as GAP ranks them.

Arrays in, arrays out: this file knows no table, no path and no model.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Self

import numpy as np

from .label_scores import Bools, Choice, Floats, Ints
from .promise import Kinds

NO_LANDMARK = -1


def check_ids(query_ids: Iterable[str], kinds: Iterable[str] = repeat("")) -> None:
    """Raise ValueError where an id is empty, or repeated with the same kind."""
    seen = set()
    for query in zip(query_ids, kinds, strict=False):
        if not query[0] or query in seen:
            raise ValueError(f"query id {query[0]!r} is empty or repeated; give each one row")
        seen.add(query)


def as_truths(labels: Ints) -> tuple[frozenset[int], ...]:
    """Return the truths of queries [Q] that show one landmark each, or none, -1.

    >>> as_truths(np.array([7, -1]))
    (frozenset({7}), frozenset())
    """
    return tuple(frozenset([label] if label >= 0 else []) for label in labels.tolist())


@dataclass(frozen=True, eq=False)
class Answers(Choice):
    """The answers to the scored queries, beside their true landmarks.

    Attributes:
        query_ids: [Q], unique among queries of one kind.
        truths: [Q], the landmark_ids the query shows; empty for a distractor.
        kinds: [Q] of promise.py, of the known queries of a run; "" for any others.

    Raises:
        ValueError: as Choice and check_ids, and for other lengths or a true label below 0.
    """

    query_ids: tuple[str, ...]
    truths: tuple[frozenset[int], ...]
    kinds: Kinds = field(default_factory=lambda: np.array(""))

    def __post_init__(self) -> None:
        """Check the rows and keep read-only copies of the arrays."""
        super().__post_init__()
        queries = len(self.labels)
        if not len(self.query_ids) == len(self.truths) == queries:
            lengths = f"{len(self.query_ids)} query ids and {len(self.truths)} truths"
            raise ValueError(f"{lengths} for {queries} answers")
        for name in ("labels", "confidences", "kinds"):
            copy = np.broadcast_to(getattr(self, name), queries).copy()
            copy.setflags(write=False)
            object.__setattr__(self, name, copy)
        check_ids(self.query_ids, self.kinds.tolist())
        for query_id, truth in zip(self.query_ids, self.truths, strict=True):
            if truth and min(truth) < 0:
                raise ValueError(f"query {query_id!r} has the true label {min(truth)}, below 0")

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, int, float, Iterable[int]]]) -> Self:
        """Collect rows of (query id, label or -1, confidence, true labels)."""
        table = list(rows)
        return cls(
            labels=np.array([row[1] for row in table], dtype=np.int64),
            confidences=np.array([row[2] for row in table], dtype=np.float64),
            query_ids=tuple(row[0] for row in table),
            truths=tuple(frozenset(row[3]) for row in table),
        )

    def take(self, rows: Bools | Ints) -> Self:
        """Return the answers to some queries: [Q] bool, or an index array."""
        places = np.arange(len(self.query_ids))[rows]
        return type(self)(
            self.labels[places],
            self.confidences[places],
            tuple(self.query_ids[place] for place in places),
            tuple(self.truths[place] for place in places),
            self.kinds[places],
        )

    @cached_property
    def has_landmark(self) -> Bools:
        """[Q] bool, whether the query shows a landmark."""
        return np.fromiter((bool(truth) for truth in self.truths), np.bool_, len(self.truths))

    @cached_property
    def first_truths(self) -> Ints:
        """[Q] int64, the lowest of the true labels; -1 where there is none."""
        lowest = (min(truth, default=NO_LANDMARK) for truth in self.truths)
        return np.fromiter(lowest, np.int64, len(self.truths))

    @cached_property
    def correct(self) -> Bools:
        """[Q] bool, whether the answer is one of the true labels; never where there is none."""
        pairs = zip(self.labels.tolist(), self.truths, strict=True)
        return np.fromiter((label in truth for label, truth in pairs), np.bool_, len(self.truths))

    @cached_property
    def given(self) -> Floats:
        """[Q] float64, the confidence of each answer; -inf where there is none.

        Example:
            >>> Answers.from_rows([("a", 7, 0.9, [7]), ("b", -1, 0.8, [])]).given.tolist()
            [0.9, -inf]
        """
        return np.where(self.labels == NO_LANDMARK, -np.inf, self.confidences)

    @property
    def judged(self) -> tuple[Bools, Floats, Kinds]:
        """What thresholds and promises are measured by."""
        return self.correct, self.given, self.kinds

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
        rows = np.flatnonzero(self.labels != NO_LANDMARK)
        return rows[np.lexsort((self.id_rank[rows], -self.confidences[rows]))]
