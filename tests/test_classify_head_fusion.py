"""One answer of votes, head, inliers and pool: formulas worked by hand, and their range."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.evidence import Evidence
from classify_head.extras import Extras, MissingEvidenceError
from classify_head.fusion import (
    Calibrated,
    Fusion,
    MinusPool,
    SoftmaxVotes,
    TimesHead,
    VotesAlone,
    Weighted,
    verification_gain,
)
from classify_head.head_fusion import BetaMix, HeadAlone, InliersMix
from classify_head.label_scores import Choice, LabelScores
from classify_head.penalties import read_similarities
from classify_head.votes import PowerVote, SumVote, Vote
from tests.small_evidence import query, random_evidence, stack

FIVE = [1, 2, 2, 1, 3], [0.9, 0.8, 0.7, 0.5, 0.45]
weights = st.builds(
    Weighted,
    inlier_weight=st.floats(0, 4),
    inlier_scale=st.floats(1, 100),
    min_inliers=st.integers(0, 20),
    penalty_weight=st.floats(0, 4),
)


def answer(
    fusion: Fusion, evidence: Evidence, vote: Vote | None = None, row: int = 0
) -> tuple[Any, Any]:
    extras = Extras()
    votes = (vote or SumVote())(evidence, extras, read_similarities(evidence))
    choice = fusion(evidence, extras, votes)
    return int(choice.labels[row]), float(choice.confidences[row])


def test_votes_alone_answer_with_the_best_score() -> None:
    assert answer(VotesAlone(), query(*FIVE)) == (2, pytest.approx(1.5))


def test_the_head_turns_the_reference_vector_to_the_other_label() -> None:
    # 0.434 * 0.75 ** 12 = 0.0138; 0.225 * 0.88 ** 12 = 0.0486
    evidence = query(*FIVE, head={2: 0.88, 1: 0.75})
    assert answer(VotesAlone(), evidence, PowerVote(power=8)) == (1, pytest.approx(0.434, abs=5e-4))
    found = answer(TimesHead(power=12), evidence, PowerVote(power=8))
    assert found == (2, pytest.approx(0.0486, abs=5e-5))
    only_first = query(*FIVE, head={1: 0.75, 2: -0.88})
    found = answer(TimesHead(power=12), only_first, PowerVote(power=8))
    assert found == (1, pytest.approx(0.0138, abs=5e-5))


def test_classes_beyond_the_first_ones_of_the_head_count_as_its_floor() -> None:
    evidence = query([1, 2], [1.0, 0.5], head={4: 0.9, 2: 0.5, 1: 0.5})
    assert answer(TimesHead(power=1, top=3), evidence) == (1, 0.5)
    assert answer(TimesHead(power=1, top=2), evidence) == (2, 0.25)
    assert answer(TimesHead(power=1, top=1), evidence) == (1, pytest.approx(1e-8))


def test_the_query_pool_lowers_the_confidence_and_keeps_the_label() -> None:
    evidence = query(*FIVE, pool=[0.5, 0.25, 0.0])
    assert answer(MinusPool(nearest=2), evidence) == (2, pytest.approx(1.5 - 0.375))


def test_softmax_shares_out_the_first_labels_and_the_pool_takes_its_part() -> None:
    evidence = query([1, 2, 3], [0.75, 0.5, 0.25], pool=[0.5, 0.25])
    share = math.exp(0.75) / (math.exp(0.75) + math.exp(0.5))
    found = answer(SoftmaxVotes(labels=2, nearest=2), evidence)
    assert found == (1, pytest.approx(share * (1 - 0.375)))
    sharp = 1 / (1 + math.exp(-10 * 0.25))
    assert answer(SoftmaxVotes(labels=2, scale=10), query([1, 2], [0.75, 0.5])) == (
        1,
        pytest.approx(sharp),
    )


def test_the_parts_of_the_weighted_answer_worked_by_hand() -> None:
    evidence = query(*FIVE, inliers=[0, 24, 104, 3, -1], pool=[0.5, 0.1])
    votes, gain = 0.8**8 + 0.7**8, 1 - math.exp(-100 / 20)
    expected = (votes / 5 + 0.5 * gain + 0.2 * (1 - 0.3)) / 1.7
    found = answer(Weighted(nearest=2), evidence, PowerVote())
    assert found == (2, pytest.approx(expected))


def test_without_a_pool_its_weight_is_gone() -> None:
    evidence = query([1], [1.0], inliers=[0])
    assert answer(Weighted(), evidence, PowerVote()) == (1, pytest.approx(0.2 / 1.5))


def test_switched_off_parts_leave_the_votes_alone() -> None:
    evidence = query([1, 2], [0.9, 0.8], inliers=[0, 400], pool=[0.9])
    found = answer(Weighted(inlier_weight=0, penalty_weight=0), evidence, PowerVote())
    assert found == (1, pytest.approx(0.9**8 / 5))


def test_a_perfect_match_is_certain_and_an_opposite_one_is_not() -> None:
    best = query([1] * 5, [1.0] * 5, inliers=[10**6] * 5, pool=[0.0])
    assert answer(Weighted(), best, PowerVote()) == (1, pytest.approx(1))
    opposite = query([1], [-1.0], inliers=[0], pool=[1.0])
    assert answer(Weighted(), opposite, PowerVote()) == (1, 0.0)


@given(st.integers(0, 999), weights)
def test_the_weighted_confidence_is_within_0_and_1(seed: int, fusion: Weighted) -> None:
    evidence = random_evidence(seed)
    votes = PowerVote()(evidence, Extras(), read_similarities(evidence))
    confidences = fusion(evidence, Extras(), votes).confidences
    assert (confidences >= 0).all() and (confidences <= 1 + 1e-12).all()


@given(st.integers(0, 999), weights, st.integers(0, 7))
def test_more_inliers_of_the_best_label_never_hurt_it(
    seed: int, fusion: Weighted, neighbour: int
) -> None:
    evidence = random_evidence(seed)
    label, confidence = answer(fusion, evidence, PowerVote())
    if evidence.labels[0, neighbour] == label:
        evidence.inliers[0, neighbour] += 100
        after = answer(fusion, evidence, PowerVote())
        assert after[0] == label and after[1] >= confidence


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(0, 20), st.floats(1, 100))
def test_the_gain_of_inliers_rises_from_0_and_stays_within_1(
    counts: list[int], chance: int, scale: float
) -> None:
    gains = verification_gain(np.array(sorted(counts)), chance, scale)
    assert (np.diff(gains) >= 0).all() and gains.min() >= 0 and gains.max() <= 1
    assert not verification_gain(np.arange(-1, chance + 1), chance, scale).any()


def test_the_head_alone_answers_with_its_cosine() -> None:
    assert answer(HeadAlone(), query([1], [0.9], head={4: 0.75, 1: 0.5})) == (4, 0.75)


def test_the_inliers_mix_worked_by_hand() -> None:
    # of label 1 the nearest two have 10 and 5 inliers; the most of all queries are 40
    first = query([1, 2, 1, 1], [0.9, 0.8, 0.7, 0.6], inliers=[10, 90, 5, 60], head={1: 0.5})
    second = query([2, 2, 2, 2], [0.9, 0.8, 0.7, 0.6], inliers=[-1, 40, 0, 0], head={2: 0.25})
    fusion, both = InliersMix(share=0.85, images=2), stack(first, second)
    assert answer(fusion, both) == (1, pytest.approx(0.85 * 10 / 40 + 0.15 * 0.5))
    assert answer(fusion, both, row=1) == (2, pytest.approx(0.85 + 0.15 * 0.25))
    nothing = query([2], [0.9], inliers=[-1], head={1: 0.5})
    assert answer(fusion, nothing) == (1, pytest.approx(0.15 * 0.5))


def test_the_beta_mix_falls_to_the_next_label_below_its_threshold() -> None:
    # 0.5 * (0.75 + 0) = 0.375; 0.5 * (0.5 + 0.625) = 0.5625; 0.5 * (0.25 + 1) = 0.625
    evidence = query([3, 2], [1.0, 0.625], head={1: 0.75, 2: 0.5, 3: 0.25})
    assert answer(BetaMix(threshold=0.3), evidence) == (1, 0.375)
    assert answer(BetaMix(threshold=0.5625), evidence) == (2, 0.5625)
    assert answer(BetaMix(threshold=0.6), evidence) == (3, 0.625)
    assert answer(BetaMix(threshold=0.9), evidence) == (3, 0.625)
    assert answer(BetaMix(beta=1, threshold=0.9), evidence) == (1, 0.75)


def test_a_fitted_function_answers_in_place_of_the_votes() -> None:
    evidence = query(*FIVE)
    votes = LabelScores(np.array([[1]]), np.array([[0.5]]))
    fitted = Extras(
        calibrated=lambda queries: Choice(queries.labels[:, 4], np.full(len(queries), 0.25))
    )
    choice = Calibrated()(evidence, fitted, votes)
    assert (choice.labels.tolist(), choice.confidences.tolist()) == ([3], [0.25])


@pytest.mark.parametrize(
    ("fusion", "message"),
    [
        (TimesHead(), "'times-head'.*train a model with a head"),
        (HeadAlone(), "'head'.*train a model with a head"),
        (InliersMix(), "train a model with a head"),
        (BetaMix(), "'beta-mix'.*train a model with a head"),
        (MinusPool(), "'minus-pool'.*add a table non_landmark"),
        (Calibrated(), r"Extras\(calibrated=...\)"),
    ],
)
def test_what_is_missing_is_named_with_a_remedy(fusion: Fusion, message: str) -> None:
    with pytest.raises(MissingEvidenceError, match=message):
        answer(fusion, query(*FIVE))
