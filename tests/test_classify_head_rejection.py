"""Which guesses are no answer: the thresholds of the reports, edge by edge."""

import numpy as np
import pytest

from classify_head.evidence import Evidence
from classify_head.extras import MissingEvidenceError
from classify_head.label_scores import Choice
from classify_head.rejection import (
    RejectBelow,
    RejectFewInliers,
    Rejection,
    RejectNone,
    RejectNonLandmarks,
    RejectTorino,
    Verdict,
    self_verified_gap,
)
from tests.small_evidence import query, stack


def guess(label: int, confidence: float = 0.5) -> Choice:
    return Choice(np.array([label]), np.array([confidence]))


def with_inliers(inliers: list[int]) -> Evidence:
    """Return a query whose neighbours of landmark 1 have these inliers, those of 2 very many."""
    labels = [label for _ in inliers for label in (1, 2)]
    counts = [count for own in inliers for count in (own, 500)]
    cosines = np.linspace(0.9, 0.1, len(labels)).tolist()
    return query(labels, cosines, inliers=counts, padding=1)


def explain(rejection: Rejection, evidence: Evidence, choice: Choice) -> str:
    [reason] = rejection(evidence, choice)
    return reason


@pytest.mark.parametrize(
    ("inliers", "verdict"),
    [
        ([25, 0, 0, 0, 0, 0], Verdict.CONFIRMED),  # the most are 25, though the mean is 4.2
        ([24, 0, 0, 0, 0, 0], Verdict.NO_LANDMARK),  # the mean is 4
        ([9, 8], Verdict.CONFIRMED),  # the mean is 8.5
        ([8, 8], Verdict.WRONG_LABEL),  # a mean of 8 is not above 8
        ([5, 5], Verdict.WRONG_LABEL),  # a mean of 5 is not below 5
        ([5, 4], Verdict.NO_LANDMARK),
        ([9, 8, -1], Verdict.CONFIRMED),  # what was not verified is left out
        ([0], Verdict.NO_LANDMARK),
        ([-1, -1], Verdict.UNVERIFIED),
        ([], Verdict.UNVERIFIED),
    ],
)
def test_torino_judges_by_the_inliers_of_the_guessed_landmark(
    inliers: list[int], verdict: Verdict
) -> None:
    evidence, rejection = with_inliers(inliers), RejectTorino()
    assert rejection.judge(evidence, guess(1)).tolist() == [verdict]
    assert (explain(rejection, evidence, guess(1)) == "") == (verdict == Verdict.CONFIRMED)


def test_torino_tells_people_why() -> None:
    reasons = [
        explain(RejectTorino(), with_inliers(inliers), guess(1)) for inliers in ([8, 6], [2], [-1])
    ]
    assert reasons == [
        "7.0 inliers on average and 8 at most with 2 images of the guess: enough for a landmark, "
        "too few for the guess",
        "2.0 inliers on average and 2 at most with 1 image of the guess: too few for any landmark",
        "no image of the guess was verified, so nothing confirms it",
    ]


@pytest.mark.parametrize(
    ("inliers", "rejected"),
    [([5, 5], False), ([5, 4], True), ([10, -1], False), ([-1], True), ([], True)],
)
def test_se_attention_wants_a_mean_of_5(inliers: list[int], rejected: bool) -> None:
    evidence = with_inliers(inliers)
    assert bool(explain(RejectFewInliers(), evidence, guess(1))) == rejected


def test_se_attention_looks_at_the_nearest_images_only() -> None:
    evidence = with_inliers([4] * 20 + [900])
    assert "fewer than 5 on average" in explain(RejectFewInliers(images=20), evidence, guess(1))
    assert explain(RejectFewInliers(images=21), evidence, guess(1)) == ""


def test_a_threshold_rejects_below_it_and_not_at_it() -> None:
    evidence = with_inliers([9])
    assert explain(RejectBelow(threshold=0.5), evidence, guess(1, 0.5)) == ""
    reason = explain(RejectBelow(threshold=0.5), evidence, guess(1, 0.25))
    assert reason == "confidence 0.250 is below 0.500"
    assert explain(RejectNone(), evidence, guess(1, -9.0)) == ""


def test_the_landmark_head_rejects_below_its_threshold_and_not_at_it() -> None:
    def rejected(landmark: float, **settings: float) -> str:
        evidence = query([1], [0.9], landmark=landmark)
        return explain(RejectNonLandmarks.model_validate(settings), evidence, guess(1))

    assert rejected(0.5) == rejected(1.0) == rejected(0.25, threshold=0.25) == ""
    assert rejected(0.25) == "probability 0.250 of any landmark is below 0.500"


def test_without_a_landmark_head_a_guess_is_an_error_or_stands() -> None:
    queries = stack(query([1], [0.9], landmark=0.125), query([1], [0.9]))
    choice = Choice(np.array([1, 1]), np.array([0.5, 0.5]))
    with pytest.raises(MissingEvidenceError, match="none was asked of 1 of 2 queries; set decide"):
        RejectNonLandmarks()(queries, choice)
    reasons = RejectNonLandmarks(unknown="stand")(queries, choice)
    assert reasons == ["probability 0.125 of any landmark is below 0.500", ""]
    assert (
        RejectNonLandmarks()(queries.take(slice(0, 0)), Choice(choice.labels[:0], np.empty(0)))
        == []
    )


def test_a_threshold_that_nothing_reaches_is_no_number() -> None:
    reasons = RejectBelow(threshold=np.inf)(query([1], [0.9]), guess(1))
    assert reasons == ["confidence 0.500 is too low: none is as sure as was asked for"]


def test_the_self_verified_gap_takes_the_verification_for_the_truth() -> None:
    # order: wrong, confirmed, none, confirmed: (1 / 2 + 2 / 4) / 3, for 3 are said to show one
    verdicts = np.array(
        [Verdict.CONFIRMED, Verdict.WRONG_LABEL, Verdict.NO_LANDMARK, Verdict.CONFIRMED]
    )
    found = self_verified_gap(np.array([0.8, 0.9, 0.7, 0.6]), verdicts)
    assert found == pytest.approx((1 / 2 + 2 / 4) / 3)


def test_the_self_verified_gap_refuses_what_it_is_not_defined_for() -> None:
    assert self_verified_gap(np.array([0.5]), np.array([Verdict.NO_LANDMARK])) is None
    with pytest.raises(ValueError, match=r"confidences \(2,\) and verdicts \(1,\)"):
        self_verified_gap(np.array([0.5, 0.5]), np.array([Verdict.CONFIRMED]))
