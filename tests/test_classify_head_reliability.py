"""Calibration errors against a loop over the bins, scikit-learn, and figures found by hand."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from classify_head.reliability import (
    ReliabilityBins,
    brier_score,
    expected_calibration_error,
    log_loss,
    maximum_calibration_error,
    reliability_bins,
)

Drawn = tuple[NDArray[np.bool_], NDArray[np.float64]]


@st.composite
def answers(draw: st.DrawFn, max_size: int = 30) -> Drawn:
    """Draw answers whose probabilities often tie and often lie on the border of a bin."""
    size = draw(st.integers(1, max_size))
    tenths = st.integers(0, 10).map(lambda tenth: tenth / 10)
    shares = st.one_of(tenths, st.floats(0, 1))
    probability = np.array(draw(st.lists(shares, min_size=size, max_size=size)))
    return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size))), probability


def slow_errors(correct: list[bool], probability: list[float], bins: int) -> tuple[float, float]:
    """Return ECE and MCE with bins of equal width, as Guo et al. write them down."""
    expected, worst = 0.0, 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [
            (right, p)
            for right, p in zip(correct, probability, strict=True)
            if low < p <= high or (number == 0 and p == 0)
        ]
        if inside:
            share = sum(right for right, _ in inside) / len(inside)
            gap = abs(share - sum(p for _, p in inside) / len(inside))
            expected += gap * len(inside) / len(correct)
            worst = max(worst, gap)
    return expected, worst


@given(answers(), st.sampled_from([1, 2, 5, 10]))
def test_errors_of_equal_width_equal_the_slow_loop(drawn: Drawn, bins: int) -> None:
    found = reliability_bins(*drawn, bins=bins, equal_mass=False)
    slow = slow_errors(drawn[0].tolist(), drawn[1].tolist(), bins)
    assert (found.expected_error, found.maximum_error) == pytest.approx(slow)


@given(answers(), st.integers(1, 12))
def test_bins_of_equal_mass_hold_every_answer_once_and_split_no_tie(
    drawn: Drawn, bins: int
) -> None:
    correct, probability = drawn
    found = reliability_bins(correct, probability, bins=bins)
    assert len(found.counts) <= bins
    assert found.counts.sum() == len(correct)
    ends = np.cumsum(found.counts)[:-1]
    ordered = np.sort(probability)
    assert (ordered[ends - 1] < ordered[ends]).all()
    for part, mean in zip(np.split(ordered, ends), found.mean_probability, strict=True):
        assert mean == pytest.approx(part.mean())
    assert found.share_right @ found.counts == pytest.approx(correct.sum())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True), st.integers(1, 12))
def test_without_ties_bins_of_equal_mass_differ_by_at_most_one_answer(
    probability: list[float], bins: int
) -> None:
    found = reliability_bins(np.ones(len(probability), bool), np.array(probability), bins=bins)
    assert len(found.counts) == min(bins, len(probability))
    assert np.ptp(found.counts) <= 1


@given(answers(), st.randoms())
def test_the_row_order_changes_nothing_but_last_digits_of_sums(
    drawn: Drawn, random: Random
) -> None:
    correct, probability = drawn
    order = list(range(len(correct)))
    random.shuffle(order)
    for error in (expected_calibration_error, maximum_calibration_error):
        assert error(correct[order], probability[order]) == error(correct, probability)
    for figure in (brier_score, log_loss):
        assert figure(correct[order], probability[order]) == pytest.approx(
            figure(correct, probability)
        )


@given(answers())
def test_brier_score_and_log_loss_are_those_of_scikit_learn(drawn: Drawn) -> None:
    correct, probability = drawn
    assert brier_score(*drawn) == pytest.approx(
        brier_score_loss(correct, probability, labels=[False, True])
    )
    assert log_loss(*drawn) == pytest.approx(
        sklearn_log_loss(correct, probability, labels=[False, True])
    )


def test_six_answers_in_five_bins_have_the_errors_found_by_hand() -> None:
    # (0, .2]: .1 wrong: gap .1. (.2, .4]: .3, .4 both wrong: gap .35. (.8, 1]: .85, .9, .95 with
    # two right: |2/3 - .9| = .2333. ECE = (1 * .1 + 2 * .35 + 3 * .2333) / 6 = .25.
    probability = np.array([0.95, 0.1, 0.4, 0.9, 0.3, 0.85])
    correct = np.array([True, False, False, False, False, True])
    found = reliability_bins(correct, probability, bins=5, equal_mass=False)
    assert found.counts.tolist() == [1, 2, 3]
    assert found.gaps == pytest.approx([0.1, 0.35, 7 / 30])
    assert found.expected_error == pytest.approx(0.25)
    assert found.maximum_error == pytest.approx(0.35)
    # Three bins of equal mass: {.1, .3}, {.4, .85}, {.9, .95}, gaps .2, .125, .425.
    assert expected_calibration_error(correct, probability, bins=3) == pytest.approx(0.25)
    assert maximum_calibration_error(correct, probability, bins=3) == pytest.approx(0.425)


def test_borders_belong_to_the_bin_below() -> None:
    borders = np.arange(11) / 10
    found = reliability_bins(np.ones(11, bool), borders, equal_mass=False)
    assert found.counts.tolist() == [2, 1, 1, 1, 1, 1, 1, 1, 1, 1]


def test_errors_of_calibrated_answers_shrink_with_their_root() -> None:
    generator = np.random.default_rng(0)
    errors = []
    for size in (1_000, 100_000):
        probability = generator.random(size)
        correct = generator.random(size) < probability
        errors.append(expected_calibration_error(correct, probability))
        # E|normal| = 0.8 of a standard error a bin; p (1 - p) is 1/6 on average.
        assert errors[-1] == pytest.approx(0.8 * np.sqrt(10 / 6 / size), rel=0.5)
    assert errors[0] > 5 * errors[1]


def test_a_constant_half_is_calibrated_when_half_are_right_and_says_nothing() -> None:
    correct, probability = np.arange(100) % 2 == 0, np.full(100, 0.5)
    for equal_mass in (True, False):
        assert expected_calibration_error(correct, probability, equal_mass=equal_mass) == 0
    assert reliability_bins(correct, probability).counts.tolist() == [100]
    assert brier_score(correct, probability) == 0.25
    assert log_loss(correct, probability) == pytest.approx(np.log(2))


def test_sure_answers_cost_nothing_when_right_and_all_when_wrong() -> None:
    sure = np.array([1.0, 0.0])
    right, wrong = np.array([True, False]), np.array([False, True])
    assert (expected_calibration_error(right, sure), brier_score(right, sure)) == (0, 0)
    assert (expected_calibration_error(wrong, sure), brier_score(wrong, sure)) == (1, 1)
    assert log_loss(right, sure) == pytest.approx(0, abs=1e-15)
    assert log_loss(wrong, sure) == pytest.approx(36.04, abs=0.01)


def test_the_intervals_are_wilsons() -> None:
    # (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    share, n, z = 0.7, 10, float(norm.ppf(0.975))
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + (z / n) ** 2 / 4)
    found = reliability_bins(np.arange(10) < 7, np.full(10, 0.6))
    assert found.low == pytest.approx([(middle - half) / (1 + z**2 / n)])
    assert found.high == pytest.approx([(middle + half) / (1 + z**2 / n)])


def test_neighbouring_numbers_in_different_bins_still_ascend() -> None:
    tenth = 0.1  # the sum of three, divided by 3, is the next larger number
    probability = np.array([tenth] * 3 + [np.nextafter(tenth, 1)] * 3)
    found = reliability_bins(np.ones(6, bool), probability, bins=2)
    assert found.mean_probability.tolist() == [tenth, np.nextafter(tenth, 1)]


@pytest.mark.parametrize("right", [True, False])
def test_a_single_answer_is_one_bin(right: bool) -> None:
    found = reliability_bins(np.array([right]), np.array([0.25]))
    assert (found.counts.tolist(), found.share_right.tolist()) == ([1], [float(right)])
    assert found.expected_error == found.maximum_error == (0.75 if right else 0.25)
    assert 0 <= found.low[0] <= right <= found.high[0] <= 1


@pytest.mark.parametrize(
    ("correct", "probability", "message"),
    [
        ([], [], "at least one answer"),
        ([True], [0.1, 0.2], r"correct \(1,\) and probability \(2,\)"),
        ([1], [0.1], "correct has dtype int64"),
        ([True, True], [0.1, 1.5], r"row 1 has probability 1.5, outside \[0, 1\]"),
        ([True], [np.nan], "row 0 has probability nan"),
    ],
)
@pytest.mark.parametrize("figure", [reliability_bins, brier_score, log_loss])
def test_answers_without_a_probability_are_refused(
    figure: object, correct: list[bool], probability: list[float], message: str
) -> None:
    assert callable(figure)
    with pytest.raises(ValueError, match=message):
        figure(np.array(correct), np.array(probability))


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="bins is 0"):
        reliability_bins(np.array([True]), np.array([0.5]), bins=0)


GOOD = {
    "mean_probability": np.array([0.2, 0.8]),
    "share_right": np.array([0.1, 0.9]),
    "low": np.array([0.0, 0.7]),
    "high": np.array([0.3, 1.0]),
    "counts": np.array([3, 4]),
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("low", [0.0], "shapes"),
        ("counts", [3, 0], "empty bins"),
        ("high", [0.3, 1.1], "must lie in"),
        ("mean_probability", [0.8, 0.2], "ascend"),
    ],
)
def test_impossible_bins_are_refused(name: str, value: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReliabilityBins(**{**GOOD, name: np.array(value)})
