"""The answer of votes, inliers and penalty: its formula, its range and its order."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from classify_head.fusion import Answer, FusionSettings, fuse, pool_penalty, verification_gain
from classify_head.votes import VOTES

Candidate = tuple[int, float, int]  # label, cosine, inliers; nearest first

candidates = st.lists(
    st.tuples(st.integers(0, 4), st.floats(-1, 1, width=32), st.integers(0, 400)),
    min_size=1,
    max_size=12,
).map(lambda drawn: sorted(drawn, key=lambda row: -row[1]))
weights = st.builds(
    FusionSettings,
    policy=st.sampled_from(sorted(VOTES)),
    power=st.floats(1, 12),
    inlier_weight=st.floats(0, 4),
    inlier_scale=st.floats(1, 100),
    min_inliers=st.integers(0, 20),
    penalty_weight=st.floats(0, 4),
)
penalties = st.floats(-1, 1)


def arrays(
    rows: list[Candidate], padding: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    labels = [row[0] for row in rows] + [-1] * padding
    cosines = [row[1] for row in rows] + [-np.inf] * padding
    inliers = [row[2] for row in rows] + [0] * padding
    return np.array(labels), np.array(cosines, np.float32), np.array(inliers)


@given(candidates, penalties, weights)
def test_confidence_is_within_0_and_1(
    rows: list[Candidate], penalty: float, settings: FusionSettings
) -> None:
    answer = fuse(*arrays(rows), penalty, settings)
    assert 0 <= answer.confidence <= 1
    assert answer.label in {row[0] for row in rows}


@given(candidates, penalties, weights, st.data())
def test_more_inliers_of_the_best_label_never_hurt_it(
    rows: list[Candidate], penalty: float, settings: FusionSettings, data: st.DataObject
) -> None:
    before = fuse(*arrays(rows), penalty, settings)
    own = [number for number, row in enumerate(rows) if row[0] == before.label]
    chosen = data.draw(st.sampled_from(own))
    label, cosine, inliers = rows[chosen]
    rows[chosen] = label, cosine, inliers + data.draw(st.integers(1, 200))
    after = fuse(*arrays(rows), penalty, settings)
    assert after.label == before.label and after.confidence >= before.confidence


@given(candidates, penalties, weights)
def test_a_higher_penalty_never_raises_confidence_nor_changes_the_label(
    rows: list[Candidate], penalty: float, settings: FusionSettings
) -> None:
    before = fuse(*arrays(rows), penalty, settings)
    after = fuse(*arrays(rows), penalty + 0.5, settings)
    assert after.confidence <= before.confidence + 1e-12


@given(candidates, penalties, weights, st.integers(1, 5))
def test_padding_changes_nothing_where_votes_are_not_shared_out(
    rows: list[Candidate], penalty: float, settings: FusionSettings, padding: int
) -> None:
    if settings.policy == "knn-sum":  # its largest sum is that of all K neighbours
        settings = replace(settings, policy="knn-power")
    assert fuse(*arrays(rows, padding), penalty, settings) == fuse(*arrays(rows), penalty, settings)


@pytest.mark.parametrize("padding", [0, 3])
def test_without_neighbours_there_is_no_label(padding: int) -> None:
    assert fuse(*arrays([], padding), 0.25, FusionSettings()) == Answer(-1, 0.0, 0.0, 0.0, 0, 0.25)


def test_the_parts_of_an_answer_worked_by_hand() -> None:
    rows = [(1, 0.9, 0), (2, 0.8, 24), (2, 0.7, 104), (1, 0.5, 3), (3, 0.45, 0)]
    settings = FusionSettings(inlier_weight=0.5, inlier_scale=20, min_inliers=4)
    answer = fuse(*arrays(rows), 0.3, settings)
    votes = 0.8**8 + 0.7**8
    gain = 1 - math.exp(-100 / 20)
    assert (answer.label, answer.inliers, answer.penalty) == (2, 104, 0.3)
    assert answer.votes == pytest.approx(votes) and answer.similarity == pytest.approx(0.8)
    assert answer.confidence == pytest.approx((votes / 5 + 0.5 * gain) / 1.5)


def test_switched_off_parts_leave_the_votes_alone() -> None:
    rows = [(1, 0.9, 0), (2, 0.8, 400)]
    answer = fuse(*arrays(rows), 0.9, FusionSettings(inlier_weight=0, penalty_weight=0))
    assert answer.label == 1 and answer.confidence == pytest.approx(0.9**8 / 5)


def test_a_perfect_match_is_certain_and_an_opposite_one_is_not() -> None:
    best = fuse(*arrays([(1, 1.0, 10**6)] * 5), 0.0, FusionSettings(penalty_weight=1))
    assert best.confidence == pytest.approx(1)
    assert fuse(*arrays([(1, -1.0, 0)]), 1.0, FusionSettings(penalty_weight=1)).confidence == 0


def test_ties_go_to_the_lower_label() -> None:
    assert fuse(*arrays([(7, 0.5, 9), (3, 0.5, 9)]), 0.0, FusionSettings()).label == 3


@given(st.lists(st.integers(0, 10**6), min_size=1), weights)
def test_the_gain_of_inliers_rises_from_0_and_stays_within_1(
    counts: list[int], settings: FusionSettings
) -> None:
    gains = verification_gain(np.array(sorted(counts)), settings)
    assert (np.diff(gains) >= 0).all() and gains.min() >= 0 and gains.max() <= 1
    assert not verification_gain(np.arange(settings.min_inliers + 1), settings).any()


@given(st.integers(0, 4), st.integers(0, 9), st.integers(1, 12), st.integers(0, 99))
def test_the_pool_penalty_is_the_mean_of_the_sorted_largest(
    queries: int, images: int, count: int, seed: int
) -> None:
    cosines = np.random.default_rng(seed).uniform(-1, 1, (queries, images)).astype(np.float32)
    found = pool_penalty(cosines, count)
    assert found.shape == (queries,) and found.dtype == np.float64
    for row, penalty in zip(cosines, found, strict=True):
        largest = sorted(map(float, row), reverse=True)[:count]
        assert penalty == pytest.approx(sum(largest) / len(largest) if largest else 0, abs=1e-7)
