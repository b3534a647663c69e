"""Selective answering against loops over every threshold and over every order of ties."""

import itertools
import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from classify_head.answers import Answers
from classify_head.coverage import (
    OperatingPoint,
    RiskCoverage,
    measure_threshold,
    operating_point,
    risk_coverage,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Queries = tuple[Bools, Floats]


@st.composite
def queries(draw: st.DrawFn, max_size: int = 12) -> Queries:
    """Draw queries with few confidences, so that ties are common, and some without an answer."""
    size = draw(st.integers(1, max_size))
    levels = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
    confidence = np.array(draw(st.lists(levels, min_size=size, max_size=size)))
    correct = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    return correct & (confidence > -np.inf), confidence


def slow_area(correct: list[bool]) -> float:
    """Return the mean of the risks of the first 1..Q answers."""
    wrong, risks = 0, []
    for rank, right in enumerate(correct, start=1):
        wrong += not right
        risks.append(wrong / rank)
    return sum(risks) / len(risks)


def slow_point(correct: Bools, confidence: Floats, min_precision: float) -> tuple[float, float]:
    """Return threshold and coverage of the best of all thresholds, each measured anew."""
    best = (math.inf, 0.0)
    for threshold in sorted(set(confidence.tolist()) - {-np.inf}, reverse=True):
        given = [
            bool(right) for right, c in zip(correct, confidence, strict=True) if c >= threshold
        ]
        if sum(given) / len(given) >= min_precision:
            best = (threshold, len(given) / len(correct))
    return best


@given(queries())
def test_each_point_counts_the_answers_at_its_threshold(drawn: Queries) -> None:
    correct, confidence = drawn
    curve = risk_coverage(correct, confidence)
    assert curve.thresholds.tolist() == sorted(set(confidence.tolist()) - {-np.inf}, reverse=True)
    for row, threshold in enumerate(curve.thresholds):
        given = confidence >= threshold
        assert curve.coverage[row] == given.mean()
        assert curve.precision[row] == correct[given].mean()


@given(queries(max_size=6))
@settings(max_examples=60)
def test_the_area_is_the_mean_over_all_orders_of_ties(drawn: Queries) -> None:
    correct, confidence = drawn
    areas = [
        slow_area([bool(correct[row]) for row in order])
        for order in itertools.permutations(range(len(correct)))
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order))
    ]
    assert risk_coverage(correct, confidence).area == pytest.approx(np.mean(areas))


@given(queries(max_size=6))
@settings(max_examples=60)
def test_the_ideal_area_is_the_smallest_over_all_orders(drawn: Queries) -> None:
    correct, confidence = drawn
    curve = risk_coverage(correct, confidence)
    orders = itertools.permutations(correct.tolist())
    assert curve.ideal_area == pytest.approx(min(slow_area(list(order)) for order in orders))
    assert curve.excess_area == pytest.approx(curve.area - curve.ideal_area, abs=1e-12)
    assert curve.excess_area >= 0


def test_the_area_of_four_answers_is_the_one_found_by_hand() -> None:
    # Risks 0, 1/2, 1/3, 2/4; in the best order 0, 0, 1/3, 2/4.
    curve = risk_coverage(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.6]))
    assert curve.area == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.ideal_area == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert curve.excess_area == pytest.approx(1 / 8)


@given(queries(), st.randoms())
def test_row_order_and_increasing_maps_of_the_confidence_change_nothing(
    drawn: Queries, random: Random
) -> None:
    correct, confidence = drawn
    order = list(range(len(correct)))
    random.shuffle(order)
    mapped = np.where(confidence > -np.inf, np.exp(confidence) - 7, -np.inf)[order]
    before, after = risk_coverage(correct, confidence), risk_coverage(correct[order], mapped)
    assert before.coverage.tolist() == after.coverage.tolist()
    assert before.right.tolist() == after.right.tolist()
    assert before.area == after.area
    first = operating_point(correct, confidence, 0.6)
    second = operating_point(correct[order], mapped, 0.6)
    assert (first.coverage, first.precision_low) == (second.coverage, second.precision_low)


@given(queries())
def test_withholding_an_answer_equals_giving_it_last(drawn: Queries) -> None:
    correct, confidence = drawn
    sunk = np.where(confidence > -np.inf, confidence, -99.0)
    assert risk_coverage(correct, sunk).area == risk_coverage(correct, confidence).area


@given(queries(), st.sampled_from([0.0, 0.25, 0.5, 2 / 3, 0.9, 1.0]))
def test_the_operating_point_is_the_best_of_all_thresholds(
    drawn: Queries, min_precision: float
) -> None:
    correct, confidence = drawn
    point = operating_point(correct, confidence, min_precision)
    assert (point.threshold, point.coverage) == slow_point(correct, confidence, min_precision)
    if point.answered:
        assert point.precision >= min_precision
        assert point.precision_low <= point.precision


@pytest.mark.parametrize(("right", "answered"), [(1, 1), (7, 10), (99, 100), (0, 5)])
def test_below_the_lower_bound_so_many_right_answers_are_improbable(
    right: int, answered: int
) -> None:
    correct = np.arange(answered) < right
    low = measure_threshold(correct, np.ones(answered), 0.0, level=0.9).precision_low
    # P(at least so many right) at the bound is 1 - level, by definition of the bound.
    assert binom.sf(right - 1, answered, low) == pytest.approx(0.1 if right else 1.0)


def test_the_bound_holds_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = [
        measure_threshold(generator.random(30) < 0.9, np.ones(30), 0.5).precision_low <= 0.9
        for _ in range(300)
    ]
    assert np.mean(held) >= 0.95


def test_an_answered_distractor_is_an_error_and_a_blank_one_is_none() -> None:
    rows = [("a", 1, 0.9, [1]), ("b", 2, 0.8, []), ("c", -1, 0.7, []), ("d", 4, 0.6, [4])]
    answers = Answers.from_rows(rows)
    curve = risk_coverage(answers.correct, answers.given)
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75]
    assert curve.precision.tolist() == [1, 0.5, 2 / 3]


def test_what_cannot_be_reached_answers_nothing() -> None:
    point = operating_point(np.array([False, True]), np.array([0.9, 0.8]), 0.6)
    assert point.threshold == math.inf
    assert (point.coverage, point.answered, point.precision_low) == (0, 0, 0)
    assert math.isnan(point.precision)


def test_without_any_answer_the_curve_has_no_point() -> None:
    correct, confidence = np.zeros(3, bool), np.full(3, -np.inf)
    curve = risk_coverage(correct, confidence)
    assert curve.thresholds.shape == (0,)
    assert (curve.area, curve.ideal_area, curve.excess_area) == (1, 1, 0)
    assert operating_point(correct, confidence, 0.0).answered == 0
    assert measure_threshold(correct, confidence, -math.inf).answered == 0


def test_one_right_answer_is_a_perfect_curve() -> None:
    curve = risk_coverage(np.array([True]), np.array([-3.0]))
    assert (curve.coverage.tolist(), curve.precision.tolist(), curve.area) == ([1], [1], 0)


@pytest.mark.parametrize(
    ("correct", "confidence", "message"),
    [
        ([], [], "at least one query"),
        ([True], [0.1, 0.2], r"correct \(1,\) and confidence \(2,\)"),
        ([1], [0.1], "correct has dtype int64"),
        ([True, True], [0.1, np.nan], "row 1 has confidence nan"),
        ([True], [np.inf], "row 0 has confidence inf"),
        ([False, True], [0.1, -np.inf], "row 1 is correct but has no answer"),
    ],
)
def test_queries_that_cannot_be_ranked_are_refused(
    correct: list[bool], confidence: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        risk_coverage(np.array(correct), np.array(confidence))
    with pytest.raises(ValueError, match=message):
        measure_threshold(np.array(correct), np.array(confidence), 0.5)


def test_shares_and_levels_out_of_range_are_refused() -> None:
    one = np.array([True]), np.array([0.5])
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="min_precision is"):
            operating_point(*one, share)
    with pytest.raises(ValueError, match="level 1"):
        operating_point(*one, 0.5, level=1)
    with pytest.raises(ValueError, match="threshold nan"):
        measure_threshold(*one, math.nan)
    with pytest.raises(ValueError, match="expected shares from 0 to 1"):
        OperatingPoint(0.5, precision=0.5, precision_low=0.6, coverage=1, answered=2)


@pytest.mark.parametrize(
    ("thresholds", "answered", "right", "n_queries", "message"),
    [
        ([0.5], [1, 2], [1], 2, "shapes"),
        ([0.5, 0.5], [1, 2], [1, 1], 2, "descend"),
        ([0.5], [3], [1], 2, "at most 2 queries"),
        ([0.9, 0.5], [1, 1], [1, 1], 2, "ascend"),
        ([], [], [], 0, "at most 0 queries"),
        ([0.9, 0.5], [1, 2], [0, 2], 2, "right answers"),
    ],
)
def test_impossible_curves_are_refused(
    thresholds: list[float], answered: list[int], right: list[int], n_queries: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RiskCoverage(np.array(thresholds), np.array(answered, int), np.array(right, int), n_queries)
