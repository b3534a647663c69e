"""Penalties for the likeness to images without a landmark, worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.extras import MissingEvidenceError
from classify_head.penalties import NeighborPenalty, NoPenalty, Penalty, QueryGate, average_pool
from tests.small_evidence import query, stack

NEAR = [[0.5, 0.25, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25, 0.0]]


def test_without_a_penalty_the_score_is_the_cosine_and_padding_has_none() -> None:
    scores = NoPenalty()(query([1, 2], [0.75, -0.5], padding=1))
    assert scores.tolist() == [[0.75, -0.5, -np.inf]] and scores.dtype == np.float64


def test_the_neighbour_penalty_subtracts_the_mean_of_the_nearest() -> None:
    evidence = query([1, 2], [0.75, -0.5], neighbor_pool=NEAR, padding=1)
    # 0.75 - (0.5 + 0.25 + 0) / 3; -0.5 - (0.25 + 0.25 + 0.25) / 3
    scores = NeighborPenalty(nearest=3)(evidence)
    assert scores.tolist() == [[0.5, -0.75, -np.inf]]


def test_clipped_cosines_are_never_negative_before_the_penalty() -> None:
    evidence = query([1, 2], [0.75, -0.5], neighbor_pool=NEAR, padding=1)
    # 0.75 - 0.75 / 5; 0 - 1 / 5
    scores = NeighborPenalty(nearest=5, clip=True)(evidence)
    assert scores[0].tolist() == [pytest.approx(0.6), pytest.approx(-0.2), -np.inf]


def test_the_gate_closes_above_its_mean_and_not_at_it() -> None:
    at = query([1, 2], [0.75, 0.5], pool=[0.75, 0.25], padding=1)
    above = query([1, 2], [0.75, 0.5], pool=[0.75, 0.375], padding=1)
    scores = QueryGate(nearest=2, above=0.5)(stack(at, above))
    assert scores.tolist() == [[0.75, 0.5, -np.inf], [0.0, 0.0, -np.inf]]


@pytest.mark.parametrize("penalty", [NeighborPenalty(), QueryGate()])
def test_a_penalty_without_a_pool_says_how_to_get_one(penalty: Penalty) -> None:
    with pytest.raises(MissingEvidenceError, match=f"'{penalty.name}'.*add a table non_landmark"):
        penalty(query([1], [0.5]))


@given(st.integers(0, 4), st.integers(0, 9), st.integers(1, 12), st.integers(0, 99))
def test_the_pool_is_averaged_over_its_nearest(
    queries: int, images: int, nearest: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed).uniform(-1, 1, (queries, images)).astype(np.float32)
    cosines = -np.sort(-drawn, axis=1)
    found = average_pool(cosines, nearest)
    assert found.shape == (queries,) and found.dtype == np.float64
    for row, mean in zip(drawn, found, strict=True):
        largest = sorted(map(float, row), reverse=True)[:nearest]
        assert mean == pytest.approx(sum(largest) / len(largest) if largest else 0, abs=1e-7)
