"""Promises: precision at any share of distractors, and a bound that holds."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from classify_head.promise import (
    FEW,
    LANDMARK,
    POOL,
    REMOVED,
    Promise,
    measure_promises,
    pick_harder,
    share_weights,
)

KINDS = np.array([LANDMARK] * 6 + [POOL] * 2 + [REMOVED] * 4)
CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.6, 0.2, -np.inf, 0.5, 0.1, 0.95, 0.65, 0.3, -np.inf])
CORRECT = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=np.bool_)


def test_each_kind_is_counted_apart() -> None:
    found = measure_promises(CORRECT, CONFIDENCE, KINDS, 0.6)
    assert found == {POOL: Promise(6, 3, 1, 2, 0), REMOVED: Promise(6, 3, 1, 4, 2)}
    everything = measure_promises(CORRECT, CONFIDENCE, KINDS, -math.inf)
    assert everything[REMOVED] == Promise(6, 4, 1, 4, 3)  # no answer is none at any threshold
    assert measure_promises(CORRECT[:8], CONFIDENCE[:8], KINDS[:8], 0.6).keys() == {POOL}
    assert measure_promises(CORRECT[:0], CONFIDENCE[:0], KINDS[:0], 0.6) == {}


@given(
    right=st.integers(1, 50),
    wrong=st.integers(0, 50),
    more=st.integers(0, 50),
    distractors=st.integers(1, 100),
    share=st.floats(0, 0.99),
    data=st.data(),
)
def test_precision_is_that_of_photos_mixed_so(
    right: int, wrong: int, more: int, distractors: int, share: float, data: st.DataObject
) -> None:
    answered = data.draw(st.integers(0, distractors))
    promise = Promise(right + wrong + more, right, wrong, distractors, answered)
    # A million photos in the same proportions.
    landmarks = 1e6 * (1 - share)
    good = landmarks * right / promise.landmarks
    bad = landmarks * wrong / promise.landmarks + 1e6 * share * answered / distractors
    assert promise.precision(share) == pytest.approx(good / (good + bad))
    assert promise.coverage(share) == pytest.approx((good + bad) / 1e6)
    assert 0 <= promise.precision_low(share) <= promise.precision(share)
    assert promise.precision_low(share, 0.99) <= promise.precision_low(share)


@given(right=st.integers(0, 40), wrong=st.integers(0, 40), more=st.integers(0, 40))
def test_without_distractors_the_bound_is_that_of_clopper_and_pearson(
    right: int, wrong: int, more: int
) -> None:
    promise = Promise(right + wrong + more, right, wrong, 0, 0)
    low = 0.0
    if right:
        test = binomtest(right, right + wrong, alternative="greater")
        low = test.proportion_ci(0.95, method="exact").low
    for share in (0.0, 0.5):
        assert promise.precision_low(share) == pytest.approx(low)


def test_the_bound_holds_in_nearly_all_draws() -> None:
    """Few distractors weigh much, landmark queries little."""
    rng = np.random.default_rng(0)
    landmarks, distractors, share = 300, 40, 0.5
    right, wrong, answered = 0.7, 0.02, 0.03
    true = right / (right + wrong + answered)
    draws = []
    for _ in range(1000):
        good, bad, _ = rng.multinomial(landmarks, [right, wrong, 0.28]).tolist()
        given = int(rng.binomial(distractors, answered))
        draws.append(Promise(landmarks, good, bad, distractors, given))
    assert np.mean([each.precision_low(share) <= true for each in draws]) > 0.95


def test_few_distractors_promise_little() -> None:
    shy, sure = Promise(300, 250, 2, 3, 0), Promise(300, 250, 2, 300, 0)
    assert shy.precision(0.5) == sure.precision(0.5)
    assert shy.precision_low(0.5) < 0.6 < 0.95 < sure.precision_low(0.5)


def test_nothing_answered_promises_nothing() -> None:
    nothing = Promise(10, 0, 0, 10, 0)
    assert math.isnan(nothing.precision(0.5))
    assert (nothing.precision_low(0.5), nothing.coverage(0.5)) == (0, 0)
    assert nothing.to_json(0.5)["precision"] is None
    assert Promise(0, 0, 0, 10, 3).precision(0.5) == 0


def test_the_harder_is_the_less_precise() -> None:
    easy, hard = Promise(10, 9, 0, 10, 0), Promise(10, 9, 0, 10, 2)
    assert pick_harder([easy, hard], 0.5) == hard
    assert pick_harder([hard, easy], 0.5) == hard
    nothing = Promise(10, 0, 0, 10, 0)
    assert pick_harder([easy, nothing], 0.5) == nothing


def test_a_promise_survives_json() -> None:
    promise = Promise(10, 7, 1, 5, 2)
    values = json.loads(json.dumps(promise.to_json(0.25)))
    assert Promise.from_json(values) == promise
    assert values["precision"] == promise.precision(0.25)


@pytest.mark.parametrize("counts", [(3, 2, 2, 0, 0), (3, 1, 1, 2, 3), (3, -1, 1, 2, 1)])
def test_impossible_counts_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no more than there are queries"):
        Promise(*counts)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_distractors_have_their_share_and_both_kinds_the_same(share: float) -> None:
    kinds = np.array([LANDMARK] * 70 + [POOL] * FEW + [REMOVED] * 60)
    weights = share_weights(kinds, share)
    sums = [weights[kinds == kind].sum() for kind in (LANDMARK, POOL, REMOVED)]
    assert sums == pytest.approx([len(kinds) * part for part in (1 - share, share / 2, share / 2)])
    alone = share_weights(kinds[:90], share)
    assert alone[70:].sum() == pytest.approx(90 * share)


def test_a_handful_of_distractors_weighs_less() -> None:
    kinds = np.array([LANDMARK] * 70 + [POOL] * (FEW // 4) + [REMOVED] * 60)
    weights = share_weights(kinds, 0.5)
    assert weights[kinds == POOL].sum() * 4 == pytest.approx(weights[kinds == REMOVED].sum())


def test_without_distractors_all_weigh_the_same() -> None:
    assert share_weights(KINDS[:6], 0.5).tolist() == [1] * 6
    assert share_weights(KINDS[:0], 0.5).tolist() == []
