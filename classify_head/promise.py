"""Predict the precision and coverage of answers, for each kind of distractors apart.

Known queries are asked of two kinds of distractors: photos of other things (the pool), and photos
of landmarks that were taken out of the database for them (removed). What share of the photos that
will be asked about are distractors, and of which kind, the known queries do not tell: so they are
weighed. Arrays in, numbers out; knows no files and no landmarks.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

LANDMARK, POOL, REMOVED = "landmark", "pool", "removed"  # kinds of queries
DISTRACTORS = (POOL, REMOVED)
FEW = 20  # distractors of a kind say little, and weigh less the fewer they are

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Kinds = NDArray[np.str_]


@dataclass(frozen=True)
class Promise:
    """What became of known queries at a threshold: of landmarks, and distractors of one kind.

    Raises:
        ValueError: more answers than queries.
    """

    landmarks: int  # queries that show a landmark of the database
    right: int  # of these
    wrong: int  # of these
    distractors: int
    answered_distractors: int

    def __post_init__(self) -> None:
        """Check the counts."""
        if (
            min(asdict(self).values()) < 0
            or self.right + self.wrong > self.landmarks
            or self.answered_distractors > self.distractors
        ):
            raise ValueError(f"{self}: answers are 0 or more, and no more than there are queries")

    def precision(self, share: float) -> float:
        """Return how many of the answers are right; nan where nothing is answered.

        With r and w the shares of the landmark queries that are answered right and wrong, and a
        the share of the distractors that are answered, it is (1 - share) r / ((1 - share) (r + w) +
        share a). Without any known distractor, it is that of the landmark queries.

        Args:
            share: in [0, 1], how many of the photos that are asked about are distractors.

        Example: 90 of 100 right, 5 wrong, and 2 of 50 distractors answered.

            >>> round(Promise(100, 90, 5, 50, 2).precision(0.5), 4)
            0.9091
        """
        right, answered = self._masses(share)
        return right / answered if answered else math.nan

    def precision_low(self, share: float, level: float = 0.95) -> float:
        """Return what precision is at least, with a confidence of `level`; 0 without answers.

        The bound of Clopper and Pearson, for as many answers as if each query weighed like the
        heaviest kind: so few distractors, of which none happens to be answered, promise little. It
        takes queries to be independent of each other, which photos of one landmark hardly are.

        Example: with equal weights it is the bound of so many answers: 0.05 ** (1 / 20).

            >>> round(Promise(20, 20, 0, 20, 0).precision_low(0.5), 4)
            0.8609
        """
        from scipy.special import betaincinv  # scipy.stats takes a second, this a tenth of it

        right, answered = self._masses(share)
        if not right:
            return 0.0
        heaviest = max(self._weights(share))
        return float(betaincinv(right / heaviest, (answered - right) / heaviest + 1, 1 - level))

    def coverage(self, share: float) -> float:
        """Return how many of the photos get an answer."""
        return self._masses(share)[1]

    def _weights(self, share: float) -> tuple[float, float]:
        """Return the weight of a landmark query and of a distractor; all weigh 1 together."""
        if not self.distractors:
            share = 0.0
        return (1 - share) / max(self.landmarks, 1), share / max(self.distractors, 1)

    def _masses(self, share: float) -> tuple[float, float]:
        """Return the weight of the right answers, and that of all answers."""
        of_landmark, of_distractor = self._weights(share)
        right = self.right * of_landmark
        wrong = self.wrong * of_landmark + self.answered_distractors * of_distractor
        return right, right + wrong

    def to_json(self, share: float) -> dict[str, Any]:
        """Return what is promised at a share of distractors, and the counts it is made of."""
        return {**describe(self, share), **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a promise. Raises KeyError for missing counts."""
        return cls(*(values[each.name] for each in fields(cls)))


def describe(promise: Promise, share: float) -> dict[str, float | None]:
    """Return precision, its lower bound and coverage at a share of distractors; None for nan."""
    precision = promise.precision(share)
    return {
        "precision": None if math.isnan(precision) else precision,
        "precision_low": promise.precision_low(share),
        "coverage": promise.coverage(share),
    }


def measure_promises(
    correct: Bools, confidence: Floats, kinds: Kinds, threshold: float
) -> dict[str, Promise]:
    """Count what is answered at a threshold.

    Args:
        correct: [Q] whether the answer is right; that to a distractor never is.
        confidence: [Q], -inf where there is no answer.
        kinds: [Q] LANDMARK, POOL or REMOVED.
        threshold: confidence that an answer must reach.

    Returns:
        For each kind of distractors that there are.
    """
    return {
        kind: measure_promise(correct, confidence, kinds, threshold, kind)
        for kind in present(kinds)
    }


def measure_promise(
    correct: Bools, confidence: Floats, kinds: Kinds, threshold: float, kind: str
) -> Promise:
    """Count what is answered at a threshold of landmark queries and distractors of one kind."""
    given = (confidence >= threshold) & (confidence > -np.inf)
    landmark, distractor = kinds == LANDMARK, kinds == kind
    counts = (
        landmark,
        landmark & given & correct,
        landmark & given & ~correct,
        distractor,
        distractor & given,
    )
    return Promise(*(int(rows.sum()) for rows in counts))


def present(kinds: Kinds) -> list[str]:
    """Return the kinds of distractors that there are."""
    return [kind for kind in DISTRACTORS if (kinds == kind).any()]


def pick_harder(promises: Iterable[Promise], share: float) -> Promise:
    """Return the promise of least precision; one that answers nothing promises nothing.

    Raises:
        ValueError: there is none.
    """
    return min(promises, key=lambda each: np.nan_to_num(each.precision(share), nan=-1.0))


def share_weights(kinds: Kinds, share: float) -> Floats:
    """Return [Q] weights of sum Q: distractors together have their share of it.

    The kinds of distractors weigh the same, however many there are of either; but one of fewer than
    FEW weighs less, in proportion. Without distractors all weigh the same.
    """
    counts = {kind: int((kinds == kind).sum()) for kind in present(kinds)}
    if not counts:
        return np.ones(len(kinds))
    parts = {kind: min(count, FEW) for kind, count in counts.items()}
    landmark = kinds == LANDMARK
    weights = np.where(landmark, (1 - share) / max(int(landmark.sum()), 1), 0.0)
    for kind, count in counts.items():
        weights[kinds == kind] = share * parts[kind] / sum(parts.values()) / count
    return np.asarray(weights * len(kinds), dtype=np.float64)
