"""Compare two sets of answers to the same queries: is the new GAP better by more than chance?

Two GAPs of the same queries rise and fall together from one drawn set to the next, so their
difference is far surer than either: overlapping intervals of the two say little. Here each
resample of the queries is scored for both, and the interval is that of the difference.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
"""

from dataclasses import dataclass

import numpy as np

from embed.errors import InputError

from .answers import Answers
from .bootstrap import draw_counts, percentile_interval
from .gap import gap, gap_of_counts

ROUNDING = 1e-12  # sums of the same precisions in another order may differ by less


@dataclass(frozen=True)
class Comparison:
    """How the GAP of answers b differs from that of answers a.

    Attributes:
        difference: GAP of b minus GAP of a.
        low: lower end of the bootstrap interval of the difference.
        high: upper end; if low and high have one sign, the difference is hardly chance.
        share_better: share of resamples in which b is better; equal ones don't count.
        became_wrong: ids that a answers rightly and b doesn't, by a wrong answer or none; sorted.
        became_right: ids that b answers rightly and a doesn't; sorted. A query without a landmark
            is never right, so it appears in neither.

    Raises:
        InputError: if low exceeds high, or share_better lies outside [0, 1].
    """

    difference: float
    low: float
    high: float
    share_better: float
    became_wrong: tuple[str, ...]
    became_right: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the figures."""
        if not self.low <= self.high or not 0 <= self.share_better <= 1:
            figures = f"interval [{self.low}, {self.high}], share_better {self.share_better}"
            raise ValueError(f"{figures}: expected low <= high and a share from 0 to 1")


def compare_answers(
    a: Answers, b: Answers, *, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> Comparison:
    """Estimate the difference of two GAPs by a paired bootstrap over the queries.

    Every resample draws the queries once and scores both answers on it. The row order of either
    doesn't matter; the same seed gives the same figures, and swapping a and b mirrors them.

    Args:
        a: the answers before.
        b: the answers after, to the same queries with the same truths, in any order.
        level: of the interval, inside (0, 1).
        samples: resamples, 1 or more; fewer than 1,000 make the ends of the interval rough.
        seed: start of the random numbers.

    Raises:
        InputError: if the queries or their truths differ, no query shows a landmark, level lies
            outside (0, 1) or samples is below 1.

    Example: b finds the second landmark, too.

        >>> a = Answers.from_rows([("p", 1, 0.9, [1]), ("q", 3, 0.5, [2])])
        >>> b = Answers.from_rows([("q", 2, 0.5, [2]), ("p", 1, 0.9, [1])])
        >>> found = compare_answers(a, b)
        >>> found.difference, found.low, found.high, found.became_right
        (0.5, 0.0, 1.0, ('q',))
    """
    a, b = _sort_by_id(a), _sort_by_id(b)
    _check_same_queries(a, b)
    difference = gap(b) - gap(a)  # before the draws: it refuses a set without a landmark
    draws = draw_counts(a.has_landmark, samples=samples, seed=seed)
    differences = [gap_of_counts(b, counts) - gap_of_counts(a, counts) for counts in draws]
    low, high = percentile_interval(differences, level)
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        share_better=float(np.mean(np.array(differences) > ROUNDING)),
        became_wrong=tuple(a.query_ids[row] for row in np.flatnonzero(a.correct & ~b.correct)),
        became_right=tuple(a.query_ids[row] for row in np.flatnonzero(b.correct & ~a.correct)),
    )


def _sort_by_id(answers: Answers) -> Answers:
    return answers.take(np.argsort(answers.id_rank))


def _check_same_queries(a: Answers, b: Answers) -> None:
    """Refuse sets that differ in their queries or truths; both are sorted by id."""
    for names, some, other in (("a, not in b", a, b), ("b, not in a", b, a)):
        extra = sorted(set(some.query_ids) - set(other.query_ids))
        if extra:
            problem = f"{len(extra)} queries are in {names}: {_some(extra)}"
            raise InputError(f"{problem}; compare answers to the same queries")
    truths = zip(a.query_ids, a.truths, b.truths, strict=True)
    differing = [query_id for query_id, truth, other in truths if truth != other]
    if differing:
        problem = f"the truths of {len(differing)} queries differ: {_some(differing)}"
        raise InputError(f"{problem}; score both against one solution")


def _some(ids: list[str]) -> str:
    """Name the first few ids."""
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")
