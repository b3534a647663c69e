"""Explanations: the numbers are those of the model, in words for people."""

import math
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.calibration import FALLBACK, CalibratedFusion
from classify_head.contributions import Contribution, confidence_without, find_contributions
from classify_head.pair_features import PAIR_FEATURES
from pipelines.answers.answer import Answer, Match, RankedLabel
from pipelines.answers.explanation import PHRASES, explain_fusion, explain_votes
from pipelines.recognizer import Recognizer
from tests.conftest import Tiny
from tests.evidence import imagine


@pytest.mark.parametrize("name", PAIR_FEATURES)
@pytest.mark.parametrize("value", [-2.0, 0.0, 0.7, 6.0])
def test_each_feature_has_words_without_markup(name: str, value: float) -> None:
    (phrases,) = [each for each in PHRASES if name in each]
    said = phrases[name](value)
    assert re.search(r"\d", said) and said.isprintable() and "nan" not in said


def test_words_are_of_the_value_as_people_know_it() -> None:
    said = {name: say for phrases in PHRASES for name, say in phrases.items()}
    assert said["inliers"](math.log1p(31)) == "31 inliers beyond chance in its photos"
    assert said["class_size"](math.log(9)) == "having 9 photos in the database, not one"
    assert said["inlier_lead"](math.log(4)) == "4 times the inliers of the best other"
    assert said["inlier_lead"](math.log(415)) == "415 times the inliers of the best other"
    assert said["vote_lead"](math.log(0.056)) == "0.056 times the votes of the best other"
    assert said["similarity_lead"](-0.1) == "0.10 below the similarity to the best other"


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


WEIGHTS = st.floats(-5, 5, allow_subnormal=False)


@given(
    st.dictionaries(st.sampled_from(list(PAIR_FEATURES)), WEIGHTS, min_size=1),
    st.floats(-8, 8),
    st.integers(0, 29),
    st.randoms(use_true_random=False),
)
def test_what_stands_in_brackets_tells_something(
    weights: dict[str, float], intercept: float, query: int, random: Random
) -> None:
    model = CalibratedFusion(tuple(weights), tuple(weights.values()), intercept)
    evidence = imagine(30)[0]
    label = int(evidence.labels[query, 0])
    known = find_contributions(model, evidence, query, label)
    confidence = confidence_without(model, known, [])
    said = explain_fusion(make_answer(1, confidence), model, known, 0.5)
    raised, lowered = said.split(". What lowers it most is " if "What lowers" in said else ". No")
    for without in re.findall(r"\((\d\.\d{3}) without\)", raised):
        assert float(without) <= confidence - 0.009
    for without in re.findall(r"\((\d\.\d{3}) without\)", lowered):
        assert float(without) >= confidence + 0.009
    assert not re.search(r"\de[+-]|nan|inf\b", said)
    assert len(re.findall(r"\.(?: |$)", said)) == 2
    if confidence > 0.995:
        assert said.endswith(". Nothing lowers it much.")
    if confidence < 0.005:
        assert "rests on little" in said
    names = random.sample(list(weights), len(weights))
    other = CalibratedFusion(tuple(names), tuple(weights[n] for n in names), intercept)
    again = find_contributions(other, evidence, query, label)
    assert explain_fusion(make_answer(1, confidence), other, again, 0.5) == said


def test_numbers_that_say_the_same_are_told_once_by_what_they_say_together() -> None:
    """A fit may give one of them the opposite sign, but fewer votes speak for nothing."""
    names = ("similarity", "similarity_lead", "vote_lead", "inliers", "inlier_lead", "class_size")
    model = CalibratedFusion(names, (3.3, 0.2, -0.8, 1.5, 1.6, -0.8), -5.8)
    values = (0.61, -0.1, math.log(0.056), math.log1p(21), math.log(2.5), math.log(35))
    known = [
        Contribution(name, value, weight * value)
        for name, value, weight in zip(names, values, model.weights, strict=True)
    ]
    confidence = confidence_without(model, known, [])
    assert explain_fusion(make_answer(1, confidence), model, known, 0.5) == (
        f"Confidence {confidence:.3f} that this is Old mill comes most of all from 21 inliers "
        "beyond chance in its photos, 2.5 times the inliers of the best other (0.013 without), "
        "then the similarity of 0.61 to its nearest photo, 0.10 below the similarity to the best "
        "other (0.073 without). What lowers it most is having 35 photos in the database, not one "
        "(0.990 without)."
    )


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
