"""Scores of neighbours after geometry, head or agreement, worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.evidence import Evidence
from classify_head.extras import Extras, MissingEvidenceError
from classify_head.penalties import read_similarities
from classify_head.rescoring import (
    AddHead,
    AddInliers,
    LabelAgreement,
    MultiplyInliers,
    NoRescoring,
    Rescoring,
)
from tests.small_evidence import query, random_evidence


def rescore(rescoring: Rescoring, evidence: Evidence, extras: Extras | None = None) -> list[float]:
    scores = rescoring(evidence, extras or Extras(), read_similarities(evidence))
    return list(scores[0].tolist())


def test_inliers_are_added_up_to_their_cap() -> None:
    evidence = query([1, 2, 3], [0.75, 0.5, 0.25], inliers=[7, 99, -1], padding=1)
    expected = [0.75 + 7 / 35, 0.5 + 1, 0.25, -np.inf]
    assert rescore(AddInliers(cap=35), evidence) == pytest.approx(expected)


def test_one_minus_the_squared_distance_stands_for_the_cosine() -> None:
    evidence = query([1, 2], [0.75, 0.5], inliers=[35, 70])
    # d^2 = 2 - 2 * 0.75 = 0.5; 2 - 2 * 0.5 = 1
    expected = [1 - 0.5 + 0.5, 1 - 1 + 1]
    assert rescore(AddInliers(cap=70, similarity="distance"), evidence) == pytest.approx(expected)


def test_only_the_nearest_candidates_vote() -> None:
    evidence = query([1, 2, 3, 4], [0.75, 0.5, 0.25, 0.25], inliers=[0, 0, 0, 70])
    assert rescore(AddInliers(candidates=3), evidence) == [0.75, 0.5, 0.25, -np.inf]
    assert rescore(MultiplyInliers(candidates=1), evidence)[1:] == [-np.inf] * 3
    ranked = query([1, 2, 3, 4], [0.75, 0.5, 0.25, 0.25], head={4: 0.5})
    assert rescore(AddHead(candidates=3), ranked) == [0.75, 0.5, 0.25, -np.inf]
    assert rescore(AddHead(candidates=None), ranked) == [0.75, 0.5, 0.25, 0.75]


def test_inliers_multiply_up_to_their_cap_and_none_leave_nothing() -> None:
    evidence = query([1, 2, 3], [0.75, 0.5, 0.25], inliers=[4, 900, -1], padding=1)
    assert rescore(MultiplyInliers(cap=200), evidence) == [3.0, 100.0, 0.0, -np.inf]


def test_the_head_adds_its_cosine_for_the_labels_it_ranks() -> None:
    evidence = query([1, 2, 1], [0.75, 0.5, 0.25], head={1: 0.5, 4: 0.25}, padding=1)
    assert rescore(AddHead(), evidence) == [1.25, 0.5, 0.75, -np.inf]
    with pytest.raises(MissingEvidenceError, match="train a model with a head"):
        rescore(AddHead(), query([1], [0.5]))


def test_neighbours_that_agree_gain_and_others_lose() -> None:
    # of the 3 nearest, label 2 has 0.5 + 0.5 and label 1 only 0.75
    evidence = query([1, 2, 2, 1], [0.75, 0.5, 0.5, 0.25], padding=1)
    support = np.array([[0.5, 0.75, 0.25, 0.5, 0.0]], dtype=np.float32)
    expected = [0.75 - 0.05, 0.5 + 0.75, 0.5 + 0.25, 0.25 - 0.05, -np.inf]
    found = rescore(LabelAgreement(), evidence, Extras(support=support))
    assert found == pytest.approx(expected)


def test_support_must_be_there_and_fit() -> None:
    evidence = query([1], [0.5])
    with pytest.raises(MissingEvidenceError, match=r"Extras\(support=...\)"):
        rescore(LabelAgreement(), evidence)
    with pytest.raises(ValueError, match=r"shape \(1, 2\), expected \(1, 1\)"):
        rescore(LabelAgreement(), evidence, Extras(support=np.zeros((1, 2), np.float32)))


@given(st.integers(0, 99))
def test_padding_stays_out_and_the_given_scores_stay_as_they_are(seed: int) -> None:
    evidence = random_evidence(seed)
    extras = Extras(support=np.ones(evidence.labels.shape, np.float32))
    steps: list[Rescoring] = [NoRescoring(), AddInliers(), MultiplyInliers(), AddHead()]
    for step in [*steps, LabelAgreement()]:
        given_scores = read_similarities(evidence)
        scores = step(evidence, extras, given_scores)
        assert np.isneginf(scores[evidence.labels < 0]).all() and not np.isnan(scores).any()
        assert np.array_equal(given_scores, read_similarities(evidence))
