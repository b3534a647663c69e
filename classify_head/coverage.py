"""Measure what is left of the errors when only the surest answers are given.

Arrays in, records out: this file knows no label, no path and no model. Answers with a confidence
of at least some threshold are given, the others withheld. Over all Q queries, then,

    coverage = answers given / Q        precision = right answers given / answers given

and risk = 1 - precision. A query without a landmark (a distractor) is never right, so giving it
an answer is an error. Equal confidences are given together: no threshold tells them apart.

Every function takes

    correct: [Q] bool, whether the answer is right (Answers.correct);
    confidence: [Q] float64, higher is better, -inf where there is no answer (Answers.given).

Source: Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017;
Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers",
ICLR 2019 (the excess over the ideal, E-AURC).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """What every threshold would give; P distinct confidences, from sure to unsure.

    Attributes:
        thresholds: [P] float64, the distinct confidences, descending.
        answered: [P] int64, queries whose confidence is at least the threshold.
        right: [P] int64, the right answers among them.
        n_queries: all queries, 1 or more, answered or not.

    Raises:
        ValueError: for unequal shapes, an order other than stated, or impossible counts.
    """

    thresholds: NDArray[np.float64]
    answered: NDArray[np.int64]
    right: NDArray[np.int64]
    n_queries: int

    def __post_init__(self) -> None:
        """Check the counts, so that the figures below can't leave [0, 1]."""
        shapes = self.thresholds.shape, self.answered.shape, self.right.shape
        if self.thresholds.ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(f"thresholds, answered, right have shapes {shapes}, expected [P] each")
        if not (np.diff(self.thresholds) < 0).all():
            raise ValueError("thresholds must descend, without repeats")
        given = np.diff(self.answered, prepend=0, append=self.n_queries)
        right = np.diff(self.right, prepend=0)
        if self.n_queries < 1 or not (given[:-1] > 0).all() or given[-1] < 0:
            raise ValueError(f"answered must ascend from 1 to at most {self.n_queries} queries")
        if not ((right >= 0) & (right <= given[:-1])).all():
            raise ValueError("each threshold adds from 0 right answers to as many as it answers")

    @property
    def coverage(self) -> NDArray[np.float64]:
        """[P] float64, the share of all queries that is answered, ascending."""
        return self.answered / self.n_queries

    @property
    def precision(self) -> NDArray[np.float64]:
        """[P] float64, the share of the given answers that is right."""
        return self.right / self.answered

    @property
    def area(self) -> float:
        """Area under the risk-coverage curve (AURC), in [0, 1], lower is better.

        The mean over k = 1..Q of the risk when k queries are answered. Within a tied group it is
        the mean over all orders of the group, exactly. Queries without an answer come last and
        count as wrong, as covering them would take a guess: so withholding answers never helps,
        and two systems are compared over the same Q queries. 1 if nothing is right.
        """
        sizes = np.diff(self.answered, prepend=0, append=self.n_queries)
        right = np.append(np.diff(self.right, prepend=0), 0)
        # On average over its orders, a tied group adds its wrong answers evenly.
        added = np.repeat((sizes - right) / np.maximum(sizes, 1), sizes)
        return float((np.cumsum(added) / np.arange(1, self.n_queries + 1)).mean())

    @property
    def ideal_risk(self) -> NDArray[np.float64]:
        """[Q] float64, risk when 1..Q queries are answered in the best order, right ones first."""
        ranks = np.arange(1, self.n_queries + 1)
        right = int(self.right.max(initial=0))
        return np.maximum(ranks - right, 0) / ranks

    @property
    def ideal_area(self) -> float:
        """AURC of the same answers in the best order; 0 if all are right."""
        return float(self.ideal_risk.mean())

    @property
    def excess_area(self) -> float:
        """AURC above the ideal (E-AURC), 0 or more: what the order of confidences costs."""
        return max(self.area - self.ideal_area, 0.0)


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold and what it does; with no answers, it answers nothing.

    Attributes:
        threshold: answers of at least this confidence are given; inf if no threshold would do.
        precision: the share of given answers that is right; nan if none is given.
        precision_low: one-sided lower confidence bound of the precision; 0 if none is given.
        coverage: the share of all queries that is answered.
        answered: how many that are.

    Raises:
        ValueError: if 0 <= precision_low <= precision <= 1 or 0 <= coverage <= 1 doesn't hold.
    """

    threshold: float
    precision: float
    precision_low: float
    coverage: float
    answered: int

    def __post_init__(self) -> None:
        """Check the shares."""
        precise = 0 <= self.precision_low <= self.precision <= 1
        if not 0 <= self.coverage <= 1 or (self.answered and not precise):
            raise ValueError(f"{self}: expected shares from 0 to 1, the bound below the precision")


def risk_coverage(correct: NDArray[np.bool_], confidence: NDArray[np.float64]) -> RiskCoverage:
    """Count the answers given, and those that are right, at every threshold.

    Raises:
        ValueError: for shapes other than [Q], no query, a confidence of nan or +inf, or a query
            that is correct without an answer.

    Example: the three surest answers hold two right ones; the last query has none.

        >>> curve = risk_coverage(
        ...     np.array([True, False, True, False]), np.array([0.9, 0.7, 0.7, -np.inf])
        ... )
        >>> curve.coverage.tolist(), curve.right.tolist()
        ([0.25, 0.75], [1, 2])
    """
    _check(correct, confidence)
    rows = np.flatnonzero(confidence > -np.inf)
    order = rows[np.argsort(-confidence[rows])]
    thresholds = confidence[order]
    last = np.flatnonzero(np.append(thresholds[1:] != thresholds[:-1], True)[: len(order)])
    return RiskCoverage(
        thresholds=thresholds[last].astype(np.float64),
        answered=last + 1,
        right=np.cumsum(correct[order], dtype=np.int64)[last],
        n_queries=len(correct),
    )


def operating_point(
    correct: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    min_precision: float,
    *,
    level: float = 0.95,
) -> OperatingPoint:
    """Choose the smallest threshold whose answers are as precise as wanted.

    The smallest threshold gives the largest coverage; a larger one may be less precise, where
    the surest answers are wrong. Its precision is optimistic, for it was chosen on the same
    queries: measure the threshold on others with measure_threshold before relying on it.

    Args:
        correct: [Q] bool.
        confidence: [Q] float64.
        min_precision: in [0, 1].
        level: of the lower bound, inside (0, 1).

    Returns:
        The point; threshold inf and coverage 0 if no threshold is precise enough.

    Raises:
        ValueError: as risk_coverage, and for min_precision or level out of range.

    Example: down to 0.7, two of three answers are right; 0.5 would make it two of four.

        >>> correct = np.array([True, False, True, False])
        >>> point = operating_point(correct, np.array([0.9, 0.8, 0.7, 0.5]), 0.6)
        >>> point.threshold, point.coverage, round(point.precision, 3)
        (0.7, 0.75, 0.667)
    """
    if not 0 <= min_precision <= 1:
        raise ValueError(f"min_precision is {min_precision}, expected a share from 0 to 1")
    curve = risk_coverage(correct, confidence)
    enough = np.flatnonzero(curve.precision >= min_precision)
    threshold = float(curve.thresholds[enough[-1]]) if enough.size else math.inf
    return measure_threshold(correct, confidence, threshold, level=level)


def measure_threshold(
    correct: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    threshold: float,
    *,
    level: float = 0.95,
) -> OperatingPoint:
    """Measure a threshold that was chosen before, on queries that had no part in the choice.

    The lower bound is that of Clopper and Pearson: were the true precision below it, so many
    right answers would turn up with a probability of at most 1 - level, however few there are.
    (Wilson's bound is higher but breaks its promise where nearly all answers are right: of 30
    answers, 92 percent of which are, that of level 0.95 holds in 92.5 percent of the draws.)

    Args:
        correct: [Q] bool.
        confidence: [Q] float64.
        threshold: the smallest confidence that is given; not nan. No threshold, not even -inf,
            gives answers where there are none.
        level: of the lower bound, inside (0, 1).

    Raises:
        ValueError: as risk_coverage, and for a threshold of nan or a level out of range.

    Example: 20 right answers of 20 leave room for a precision of 0.05 ** (1 / 20).

        >>> round(measure_threshold(np.ones(20, bool), np.ones(20), 0.5).precision_low, 4)
        0.8609
    """
    from scipy.special import betaincinv  # scipy.stats takes a second, this a tenth of it

    _check(correct, confidence)
    if math.isnan(threshold) or not 0 < level < 1:
        raise ValueError(f"threshold {threshold} must not be nan, level {level} lie in (0, 1)")
    given = (confidence >= threshold) & (confidence > -np.inf)
    answered, right = int(given.sum()), int(correct[given].sum())
    if not answered:
        return OperatingPoint(threshold, math.nan, 0.0, 0.0, 0)
    # The bound of Clopper and Pearson.
    low = float(betaincinv(right, answered - right + 1, 1 - level)) if right else 0.0
    return OperatingPoint(threshold, right / answered, low, answered / len(correct), answered)


def _check(correct: NDArray[np.bool_], confidence: NDArray[np.float64]) -> None:
    if correct.ndim != 1 or correct.shape != confidence.shape or not len(correct):
        shapes = f"correct {correct.shape} and confidence {confidence.shape}"
        raise ValueError(f"{shapes}: expected [Q] both, for at least one query")
    if correct.dtype != np.bool_:
        raise ValueError(f"correct has dtype {correct.dtype}, expected bool")
    for row in np.flatnonzero(~(confidence < np.inf))[:1]:
        problem = f"row {row} has confidence {confidence[row]}"
        raise ValueError(f"{problem}, expected a finite number, or -inf for no answer")
    for row in np.flatnonzero(correct & (confidence == -np.inf))[:1]:
        raise ValueError(f"row {row} is correct but has no answer (confidence -inf)")
