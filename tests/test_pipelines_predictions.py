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
from pipelines.answers.open_run import open_recognizer
from pipelines.answers.predictions import make_predictions
from pipelines.answers.recognition import Recognizer
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.evidence import imagine

EVIDENCE, _ = imagine(12)
CALIBRATED = CalibratedFusion(("similarity", "inliers"), (4.0, 0.5), -3.0)
EXTRAS = Extras(calibrated=CALIBRATED.decide)


@pytest.fixture(scope="module")
def recognizer(finished: Tiny) -> Recognizer:
    from embed.model import load_model

    return open_recognizer(
        finished.run, load_recipe(str(finished.recipe)), load_model(finished.run / "model")[1]
    )


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
    name: str, steps: dict[str, Any], recognizer: Recognizer
) -> None:
    policy = adjust(POLICIES[name], steps)
    decisions = decide(EVIDENCE, policy, EXTRAS)
    scores = policy.rescoring(EVIDENCE, EXTRAS, policy.penalty(EVIDENCE))
    voted = policy.vote(EVIDENCE, EXTRAS, scores)
    for row, prediction in enumerate(make_predictions(recognizer, EVIDENCE, decisions)):
        ballots = dict(zip(voted.labels[row].tolist(), voted.scores[row].tolist(), strict=True))
        assert prediction.evidence["votes"] == ballots.get(decisions.guesses[row], 0.0)


def test_votes_of_calibrated_are_those_that_its_features_are_made_of(
    recognizer: Recognizer,
) -> None:
    decisions = decide(EVIDENCE, POLICIES["calibrated"], EXTRAS)
    for row, prediction in enumerate(make_predictions(recognizer, EVIDENCE, decisions)):
        strengths = measure_labels(EVIDENCE, row)
        place = strengths.labels.tolist().index(prediction.guess)
        largest = EVIDENCE.similarities[row].max()
        assert prediction.evidence["votes"] / largest**8 == pytest.approx(strengths.votes[place])
        assert prediction.evidence["penalty"] == pytest.approx(strengths.pool)


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
    name: str, steps: dict[str, Any], images: int, recognizer: Recognizer
) -> None:
    decisions = decide(EVIDENCE, adjust(POLICIES[name], steps))
    found = [of.evidence["penalty"] for of in make_predictions(recognizer, EVIDENCE, decisions)]
    assert found == pytest.approx(EVIDENCE.query_pool[:, :images].mean(axis=1).tolist())


def test_without_a_pool_there_is_no_penalty(recognizer: Recognizer) -> None:
    alone = replace(EVIDENCE, query_pool=np.empty((len(EVIDENCE), 0), np.float32))
    decisions = decide(alone, POLICIES["knn-sum"])
    assert decisions.penalties.tolist() == [0.0] * len(alone)
