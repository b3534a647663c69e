"""Votes against a dictionary that is filled neighbour by neighbour."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from classify_head.votes import VOTES, vote_power, vote_sum, vote_top1

Neighbours = list[tuple[int, float]]  # label and cosine, nearest first

# label -1 is padding
neighbours = st.lists(st.tuples(st.integers(0, 4), st.floats(-1, 1, width=32)), max_size=12).map(
    lambda drawn: sorted(drawn, key=lambda pair: -pair[1])
)


def arrays(found: Neighbours, padding: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    labels = [label for label, _ in found] + [-1] * padding
    cosines = [cosine for _, cosine in found] + [-np.inf] * padding
    return np.array(labels, dtype=np.int64), np.array(cosines, dtype=np.float32)


def slow_votes(found: Neighbours, policy: str, power: float) -> dict[int, float]:
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for label, cosine in found:
        value = float(np.float32(cosine))
        if policy == "knn-power":
            value = max(value, 0.0) ** power
        most = {"top1": 1, "knn-sum": len(found), "knn-power": 5}[policy]
        if counts.get(label, 0) < most:
            sums[label] = sums.get(label, 0.0) + value
            counts[label] = counts.get(label, 0) + 1
    return sums


@given(neighbours, st.sampled_from(sorted(VOTES)), st.floats(0.5, 12), st.integers(0, 3))
def test_every_policy_equals_the_slow_count(
    found: Neighbours, policy: str, power: float, padding: int
) -> None:
    votes = VOTES[policy](*arrays(found, padding), power)
    expected = slow_votes(found, policy, power)
    assert set(votes.labels.tolist()) == set(expected)
    for label, score in zip(votes.labels.tolist(), votes.scores.tolist(), strict=True):
        assert score == pytest.approx(expected[label], abs=1e-9)


@given(neighbours, st.sampled_from(sorted(VOTES)))
def test_labels_come_best_first_and_the_lower_of_equal_ones_first(
    found: Neighbours, policy: str
) -> None:
    votes = VOTES[policy](*arrays(found), 8.0)
    pairs = list(zip((-votes.scores).tolist(), votes.labels.tolist(), strict=True))
    assert pairs == sorted(pairs)


def test_the_reference_vector() -> None:
    # c1: 0.9 ** 8 + 0.5 ** 8 = 0.43047 + 0.00391; c2: 0.8 ** 8 + 0.7 ** 8 = 0.16777 + 0.05765
    found = [(1, 0.9), (2, 0.8), (2, 0.7), (1, 0.5), (3, 0.45)]
    votes = vote_power(*arrays(found), 8)
    assert votes.labels.tolist() == [1, 2, 3]
    assert votes.scores.round(3).tolist() == [0.434, 0.225, 0.002]


def test_ties_go_to_the_lower_label() -> None:
    for policy in VOTES.values():
        assert policy(*arrays([(7, 0.5), (3, 0.5), (5, 0.5)]), 8).labels.tolist() == [3, 5, 7]


def test_negative_cosines_count_as_nothing_in_the_power_vote() -> None:
    votes = vote_power(*arrays([(1, 0.1), (2, -0.9)]), 8)
    assert votes.scores.tolist() == [pytest.approx(0.1**8), 0.0]


def test_only_five_neighbours_of_a_label_vote() -> None:
    votes = vote_power(*arrays([(1, 1.0)] * 9 + [(2, 0.5)] * 3), 2)
    assert votes.scores.tolist() == [5.0, 0.75]


def test_the_nearest_neighbour_alone_decides_top1() -> None:
    votes = vote_top1(*arrays([(2, 0.75), (1, 0.5), (1, 0.5)]), 8)
    assert (votes.labels.tolist(), votes.scores.tolist()) == ([2, 1], [0.75, 0.5])
    assert vote_sum(*arrays([(2, 0.75), (1, 0.5), (1, 0.5)]), 8).labels.tolist() == [1, 2]


@pytest.mark.parametrize("padding", [0, 4])
def test_no_neighbours_give_no_labels(padding: int) -> None:
    for policy in VOTES.values():
        votes = policy(*arrays([], padding), 8)
        assert votes.labels.shape == votes.scores.shape == (0,)
