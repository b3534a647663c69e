"""Explanations: the numbers are those of the model, in words for people."""

import math
import re

import pytest

from classify_head.calibration import FALLBACK, CalibratedFusion
from classify_head.contributions import find_contributions
from classify_head.pair_features import PAIR_FEATURES
from pipelines.answers.answer import Answer, Match, RankedLabel
from pipelines.answers.explanation import PHRASES, explain_fusion, explain_votes
from pipelines.recognizer import Recognizer
from tests.conftest import Tiny
from tests.evidence import imagine


@pytest.mark.parametrize("name", PAIR_FEATURES)
@pytest.mark.parametrize("value", [-2.0, 0.0, 0.7, 6.0])
def test_each_feature_has_words_without_markup(name: str, value: float) -> None:
    said = PHRASES[name](value)
    assert re.search(r"\d", said) and said.isprintable() and "nan" not in said


def test_words_are_of_the_value_as_people_know_it() -> None:
    assert PHRASES["inliers"](math.log1p(31)) == "31 inliers beyond chance in its photos"
    assert PHRASES["class_size"](math.log(1)) == "1 photo of it in the database"
    assert PHRASES["inlier_lead"](math.log(4)) == "4 times the inliers of the best other"
    assert PHRASES["inlier_lead"](math.log(1311)) == "1,311 times the inliers of the best other"
    assert PHRASES["similarity_lead"](-0.1) == "a similarity 0.10 below the best of another"


def make_answer(label: int | None, confidence: float) -> Answer:
    top = (RankedLabel(1, "Old mill", confidence, 2.5), RankedLabel(2, "New mill", 0.1, 0.5))
    reason = "" if label else "below"
    name = "Old mill" if label else None
    return Answer("a.jpg", label, name, confidence, reason=reason, guess=1, top=top, penalty=0.31)


def test_two_sentences_of_what_raises_and_what_lowers() -> None:
    model = CalibratedFusion(("similarity", "inliers", "pool", "class_size"), (1, 2, -4, 0), -2)
    evidence = imagine(30)[0]
    label = int(model.decide(evidence).labels[0])
    known = find_contributions(model, evidence, 0, label)
    said = explain_fusion(make_answer(1, 0.9), model, known, 0.5)
    assert said.startswith("Confidence 0.900 that this is Old mill comes most of all from ")
    assert len(re.findall(r"\.(?: |$)", said)) == 2
    raising = said.index("inliers beyond chance"), said.index("similarity of")
    assert raising == tuple(sorted(raising))  # the larger one first
    assert "lowers it most is the likeness of" in said
    refused = explain_fusion(make_answer(None, 0.3), model, known, 0.5)
    assert refused.endswith("; from 0.500 on it would be the answer.")
    assert "for want of known photos" in explain_fusion(make_answer(1, 0.9), FALLBACK, known, 0.5)


def test_of_a_policy_without_probabilities_the_votes_are_told() -> None:
    votes = ((1, 0.5), (1, 2.0), (2, 0.5), (1, 0.0))
    matches = [
        Match(f"p{place}", label, "", place, 0.5, None, False, vote)
        for place, (label, vote) in enumerate(votes)
    ]
    assert explain_votes(make_answer(1, 2.5), matches) == (
        "Confidence 2.500 that this is Old mill comes from the votes of 2 photos, 2.5 in all, the "
        "strongest p1 with 2. The next landmark, New mill, has 0.5, and the likeness to photos "
        "without a landmark is 0.31."
    )
    assert "the classification head says" in explain_votes(make_answer(1, 2.5), [])


def test_an_answer_explains_itself(finished: Tiny) -> None:
    with Recognizer.load(finished.run) as recognizer:
        answer = recognizer.recognize(finished.data / "images" / "q0.jpg", neighbors=0)
        model = recognizer.opened.decision.model
    assert model is not None
    assert answer.explanation.startswith(
        f"Confidence {answer.confidence:.3f} that this is {answer.top[0].name} "
    )
