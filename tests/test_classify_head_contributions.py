"""What each feature adds to a confidence: together they are the model's own."""

import math

import numpy as np
import pytest

from classify_head.calibration import FALLBACK, CalibratedFusion
from classify_head.contributions import confidence_without, find_contributions
from classify_head.pair_features import PAIR_FEATURES
from tests.evidence import imagine

EVERY = CalibratedFusion(
    tuple(PAIR_FEATURES), tuple(np.linspace(-1, 1, len(PAIR_FEATURES)).tolist()), -0.5
)


@pytest.mark.parametrize("model", [FALLBACK, EVERY], ids=["default", "every feature"])
def test_contributions_add_up_to_the_confidence(model: CalibratedFusion) -> None:
    evidence = imagine(30)[0]
    choice = model.decide(evidence)
    for query in range(len(evidence)):
        label = int(choice.labels[query])
        if label < 0:
            continue
        found = find_contributions(model, evidence, query, label)
        logit = model.intercept + sum(each.logit for each in found)
        assert 1 / (1 + math.exp(-logit)) == pytest.approx(choice.confidences[query])
        assert [each.feature for each in found] == list(model.features)
        assert find_contributions(model, evidence, query, 10**9) == ()


def test_without_a_feature_is_a_model_whose_weight_of_it_is_0() -> None:
    evidence = imagine(30)[0]
    label = int(FALLBACK.decide(evidence).labels[0])
    found = find_contributions(FALLBACK, evidence, 0, label)
    for place, name in enumerate(FALLBACK.features):
        weights = list(FALLBACK.weights)
        weights[place] = 0.0
        without = CalibratedFusion(FALLBACK.features, tuple(weights), FALLBACK.intercept)
        other = find_contributions(without, evidence, 0, label)
        expected = confidence_without(without, other, [])
        assert confidence_without(FALLBACK, found, [name]) == pytest.approx(expected)
