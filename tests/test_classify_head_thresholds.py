"""Thresholds: set by the harder kind of distractors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from classify_head.promise import LANDMARK, POOL, REMOVED, measure_promises
from classify_head.thresholds import precise_threshold, probability_threshold, share_threshold

Queries = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_]]


def draw(seed: int, count: int = 60, steps: int = 1000) -> Queries:
    """Return queries whose confidence tells something, with ties, and some without an answer."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice([LANDMARK, LANDMARK, POOL, REMOVED], count)
    confidence = np.round(rng.random(count) * steps) / steps
    correct = (kinds == LANDMARK) & (rng.random(count) < confidence)
    confidence[~correct & (rng.random(count) < 0.1)] = -np.inf
    return correct, confidence, kinds


@given(
    seed=st.integers(0, 500),
    share=st.floats(0, 0.9),
    wanted=st.floats(0.05, 1),
    steps=st.sampled_from([5, 1000]),
)
def test_it_is_the_smallest_that_is_precise_enough_for_both(
    seed: int, share: float, wanted: float, steps: int
) -> None:
    queries = draw(seed, steps=steps)

    def reaches(threshold: float) -> bool:
        found = measure_promises(*queries, threshold).values()
        return all(each.right and each.precision(share) >= wanted - 1e-9 for each in found)

    tried = sorted(set(queries[1][queries[1] > -np.inf].tolist()))
    expected = next((each for each in tried if reaches(each)), math.inf)
    assert precise_threshold(*queries, share, wanted) == expected


def test_a_kind_that_is_not_there_asks_for_nothing() -> None:
    correct, confidence, kinds = draw(1)
    rows = kinds == LANDMARK
    alone = precise_threshold(correct[rows], confidence[rows], kinds[rows], 0.5, 0.7)
    assert alone <= precise_threshold(correct, confidence, kinds, 0.5, 0.7) < math.inf
    assert precise_threshold(correct[:0], confidence[:0], kinds[:0], 0.5, 0.7) == math.inf


def calibrated(seed: int, harder: float, count: int = 4000) -> Queries:
    """Return queries whose confidences are true of half a mixture; removed ones are harder."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat([LANDMARK, POOL, REMOVED], [2 * count, count, count])
    logits = rng.normal(np.where(kinds == LANDMARK, 2.0, -2.0), 2.0)
    logits += np.where(kinds == REMOVED, harder, 0) - np.where(kinds == POOL, harder, 0)
    return kinds == LANDMARK, 1 / (1 + np.exp(-logits)), kinds


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_answers_are_right_with_the_probability_whatever_the_distractors(share: float) -> None:
    queries = calibrated(0, harder=1.0)
    _, confidence, kinds = queries
    threshold = probability_threshold(*queries, share, 0.8)
    near = np.abs(confidence - threshold) < 0.02
    rates = [(near & (kinds == kind)).sum() / (kinds == kind).sum() for kind in (LANDMARK, REMOVED)]
    right = (1 - share) * rates[0] / ((1 - share) * rates[0] + share * rates[1])
    assert right == pytest.approx(0.8, abs=0.06) or threshold == 0.8


def test_the_harder_kind_sets_it() -> None:
    correct, confidence, kinds = calibrated(1, harder=1.0)
    both = probability_threshold(correct, confidence, kinds, 0.5, 0.5)
    without = {
        kind: probability_threshold(
            correct[kinds != kind], confidence[kinds != kind], kinds[kinds != kind], 0.5, 0.5
        )
        for kind in (POOL, REMOVED)
    }
    assert both == without[POOL] > without[REMOVED] == 0.5  # of the easy one never below


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_where_little_is_known_it_is_the_probability(probability: float) -> None:
    assert probability_threshold(*draw(0, 12), 0.5, probability) == probability
    correct, confidence, kinds = calibrated(2, harder=0.0, count=100)
    backwards = 1 - confidence  # says nothing that could be scaled
    assert probability_threshold(correct, backwards, kinds, 0.5, probability) == probability


@pytest.mark.parametrize("rejected", [0.0, 0.5, 0.95, 1.0])
def test_a_share_of_either_kind_is_rejected(rejected: float) -> None:
    _, confidence, kinds = draw(3, 400)
    threshold = share_threshold(confidence, kinds, rejected)
    shares = [(confidence[kinds == kind] < threshold).mean() for kind in (POOL, REMOVED)]
    assert min(shares) >= rejected
    assert math.isfinite(threshold)
