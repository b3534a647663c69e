"""The landmark head: what it separates, its balance, and that it comes back from JSON the same."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from classify_head import landmark_head
from classify_head.landmark_head import (
    FOLDS,
    LEAST_IMAGES,
    CrossFittedHead,
    LandmarkHead,
    cross_fit,
    fit_landmark_head,
)


def unit_rows(count: int, towards: int, dim: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Return descriptors that lean towards one axis."""
    rows = np.random.default_rng(seed + towards).normal(size=(count, dim))
    rows[:, towards] += 4
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_unseen_images_are_told_apart() -> None:
    head = fit_landmark_head(unit_rows(200, 0), unit_rows(50, 1))
    probabilities = head.probability(
        np.concatenate([unit_rows(100, 0, seed=9), unit_rows(100, 1, seed=9)])
    )
    assert probabilities.shape == (200,) and probabilities.dtype == np.float64
    assert roc_auc_score(np.arange(200) < 100, probabilities) > 0.98


def test_images_of_one_kind_have_no_say_by_their_number() -> None:
    few, many = unit_rows(40, 0), np.tile(unit_rows(40, 0), (10, 1))
    others, queries = unit_rows(40, 1), unit_rows(30, 2)
    np.testing.assert_allclose(
        fit_landmark_head(many, others).probability(queries),
        fit_landmark_head(few, others).probability(queries),
        atol=0.15,  # more images make the penalty smaller
    )
    same = fit_landmark_head(np.tile(others, (10, 1)), others).probability(queries)
    np.testing.assert_allclose(same, 0.5, atol=1e-3)


def test_turning_the_space_changes_nothing() -> None:
    landmarks, others, queries = unit_rows(60, 0), unit_rows(60, 1), unit_rows(20, 2)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))
    turned = [np.asarray(rows @ turn, dtype=np.float32) for rows in (landmarks, others, queries)]
    np.testing.assert_allclose(
        fit_landmark_head(turned[0], turned[1]).probability(turned[2]),
        fit_landmark_head(landmarks, others).probability(queries),
        atol=1e-3,
    )


def test_the_probability_is_the_logistic_function_by_hand() -> None:
    head = LandmarkHead(np.array([2.0, -1.0]), 0.5)
    vectors = np.array([[0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
    expected = 1 / (1 + np.exp(-np.array([0.9, -0.5])))
    np.testing.assert_allclose(head.probability(vectors), expected, rtol=1e-6)
    assert head.probability(vectors[:0]).shape == (0,)


def test_a_head_comes_back_from_json_the_same() -> None:
    head = fit_landmark_head(unit_rows(20, 0), unit_rows(20, 1))
    again = LandmarkHead.from_json(json.loads(json.dumps(head.to_json())))
    np.testing.assert_array_equal(again.weights, head.weights)
    assert again.intercept == head.intercept


def test_an_image_of_the_fit_is_asked_of_a_head_without_it() -> None:
    landmarks, others = unit_rows(33, 0), unit_rows(20, 1)
    head = cross_fit(landmarks, others)
    found = head.probability(landmarks, np.arange(33))
    for row in (0, 4, 31):
        without = np.arange(33) % FOLDS != row % FOLDS
        expected = fit_landmark_head(landmarks[without], others).probability(landmarks[[row]])
        np.testing.assert_allclose(found[row], expected[0], rtol=1e-12)
    whole = fit_landmark_head(landmarks, others).probability(landmarks)
    np.testing.assert_array_equal(head.probability(landmarks), whole)
    np.testing.assert_array_equal(head.probability(landmarks, np.full(33, -2)), whole)


def test_of_noise_only_the_head_that_learned_an_image_is_sure() -> None:
    """Both kinds are drawn alike, so there is nothing to know of either."""
    drawn = unit_rows(120, 2, dim=256)
    head = cross_fit(drawn[:60], drawn[60:])
    assert head.probability(drawn[:60]).mean() > 0.7
    assert head.probability(drawn[:60], np.arange(60)).mean() < 0.6


def test_as_few_images_as_a_head_needs_can_be_cross_fitted() -> None:
    head = cross_fit(unit_rows(LEAST_IMAGES, 0), unit_rows(LEAST_IMAGES, 1))
    assert head.probability(unit_rows(0, 0), np.empty(0, np.int64)).shape == (0,)
    with pytest.raises(ValueError, match=f"expected {LEAST_IMAGES} or more"):
        cross_fit(unit_rows(LEAST_IMAGES - 1, 0), unit_rows(LEAST_IMAGES, 1))


def test_of_many_images_a_part_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks, others = unit_rows(60, 0), unit_rows(45, 1)
    expected = fit_landmark_head(landmarks[::3], others[[row * 45 // 20 for row in range(20)]])
    monkeypatch.setattr(landmark_head, "MOST_IMAGES", 20)
    np.testing.assert_array_equal(fit_landmark_head(landmarks, others).weights, expected.weights)


def test_cross_fitted_heads_come_back_from_json_the_same() -> None:
    landmarks = unit_rows(20, 0)
    head = cross_fit(landmarks, unit_rows(20, 1))
    again = CrossFittedHead.from_json(json.loads(json.dumps(head.to_json())))
    for rows in (None, np.arange(20)):
        np.testing.assert_array_equal(
            again.probability(landmarks, rows), head.probability(landmarks, rows)
        )


def test_heads_that_do_not_go_together_are_refused() -> None:
    short, long = LandmarkHead(np.ones(2), 0.0), LandmarkHead(np.ones(3), 0.0)
    with pytest.raises(ValueError, match="1 folds over descriptors of length"):
        CrossFittedHead(short, (short,))
    with pytest.raises(ValueError, match=r"length \[2, 3\]"):
        CrossFittedHead(short, (long,) * FOLDS)


def test_large_scores_do_not_overflow() -> None:
    head = LandmarkHead(np.array([1e6]), 0.0)
    assert head.probability(np.array([[1], [-1]], dtype=np.float32)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("landmarks", "others"), [(LEAST_IMAGES - 1, 20), (20, 0)])
def test_too_few_images_of_either_kind_are_refused(landmarks: int, others: int) -> None:
    with pytest.raises(ValueError, match=f"expected {LEAST_IMAGES} or more"):
        fit_landmark_head(unit_rows(landmarks, 0), unit_rows(others, 1))


def test_descriptors_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match=r"others \(20, 8\), expected \[N, 16\]"):
        fit_landmark_head(unit_rows(20, 0), unit_rows(20, 1, dim=8))
    with pytest.raises(ValueError, match="one and the same model"):
        LandmarkHead(np.ones(4), 0.0).probability(unit_rows(2, 0))


@pytest.mark.parametrize("weights", [np.ones((2, 2)), np.ones(2, np.float32), np.array([np.nan])])
def test_senseless_weights_are_refused(weights: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="weights"):
        LandmarkHead(weights, 0.0)
