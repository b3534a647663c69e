"""What is written beside an answer is what the policy counted, not numbers of its own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from classify_head.calibration import CalibratedFusion
from classify_head.extras import Extras
from classify_head.pair_features import measure_labels
from classify_head.policies import POLICIES, decide
from classify_head.policy import adjust
from pipelines.answers.answer import Answer, measure_guesses
from tests.evidence import imagine

EVIDENCE, _ = imagine(12)
CALIBRATED = CalibratedFusion(("similarity", "inliers"), (4.0, 0.5), -3.0)
EXTRAS = Extras(calibrated=CALIBRATED.decide)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("top1", {}),
        ("knn-sum", {}),
        ("knn-sum", {"vote": {"neighbors": 3}}),
        ("knn-power", {"vote": {"power": 2, "most": 1}}),
        ("nl-gallery", {}),
        ("inliers-add", {}),
        ("weighted", {"vote": {"name": "norm"}}),
        ("head", {}),
        ("calibrated", {}),
    ],
)
def test_votes_are_the_score_of_the_label_in_the_vote_of_the_policy(
    name: str, steps: dict[str, Any]
) -> None:
    policy = adjust(POLICIES[name], steps)
    decisions = decide(EVIDENCE, policy, EXTRAS)
    scores = policy.rescoring(EVIDENCE, EXTRAS, policy.penalty(EVIDENCE))
    voted = policy.vote(EVIDENCE, EXTRAS, scores)
    for row, votes in enumerate(measure_guesses(EVIDENCE, decisions)["votes"].tolist()):
        ballots = dict(zip(voted.labels[row].tolist(), voted.scores[row].tolist(), strict=True))
        assert votes == ballots.get(decisions.guesses.labels[row], 0.0)


def test_votes_of_calibrated_are_those_that_its_features_are_made_of() -> None:
    decisions = decide(EVIDENCE, POLICIES["calibrated"], EXTRAS)
    known = measure_guesses(EVIDENCE, decisions)
    for row, guess in enumerate(decisions.guesses.labels.tolist()):
        strengths = measure_labels(EVIDENCE, row)
        place = strengths.labels.tolist().index(guess)
        largest = EVIDENCE.similarities[row].max()
        assert known["votes"][row] / largest**8 == pytest.approx(strengths.votes[place])
        assert known["penalty"][row] == pytest.approx(strengths.pool)


@pytest.mark.parametrize(
    ("name", "steps", "images"),
    [
        ("nl-query", {}, 10),
        ("nl-gate", {"penalty": {"nearest": 2}}, 2),
        ("weighted", {"fusion": {"nearest": 3}}, 3),
        ("knn-sum", {}, 5),
    ],
)
def test_the_penalty_is_a_mean_over_as_many_images_as_the_policy_takes(
    name: str, steps: dict[str, Any], images: int
) -> None:
    decisions = decide(EVIDENCE, adjust(POLICIES[name], steps))
    found = measure_guesses(EVIDENCE, decisions)["penalty"].tolist()
    assert found == pytest.approx(EVIDENCE.query_pool[:, :images].mean(axis=1).tolist())


def test_without_a_pool_there_is_no_penalty() -> None:
    alone = replace(EVIDENCE, query_pool=np.empty((len(EVIDENCE), 0), np.float32))
    decisions = decide(alone, POLICIES["knn-sum"])
    assert decisions.penalties.tolist() == [0.0] * len(alone)


def test_an_answer_names_a_landmark_or_says_why_not() -> None:
    with pytest.raises(ValueError, match="'a' has neither a landmark nor a reason"):
        Answer("a")
    assert Answer("a", error="truncated").label is None
