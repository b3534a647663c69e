"""Say what each number that is known of a label adds to its confidence. Arrays in, records out."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .calibration import CalibratedFusion
from .evidence import Evidence
from .pair_features import PAIR_FEATURES, measure_labels


@dataclass(frozen=True)
class Contribution:
    """What one feature adds to the log-odds of a label."""

    feature: str  # of PAIR_FEATURES
    value: float  # of the feature
    logit: float  # its weight times its value; above 0 it raises the confidence


def find_contributions(
    model: CalibratedFusion, evidence: Evidence, query: int, label: int
) -> tuple[Contribution, ...]:
    """Return what adds up, with the intercept, to the log-odds that a label is right.

    Args:
        model: that gave the confidence.
        evidence: of queries.
        query: row of the evidence.
        label: of which the query may have no image: then nothing is returned.
    """
    of = measure_labels(evidence, query)
    places = np.flatnonzero(of.labels == label)
    if not len(places):
        return ()
    values = [float(PAIR_FEATURES[name](of)[places[0]]) for name in model.features]
    known = zip(model.features, values, model.weights, strict=True)
    return tuple(Contribution(name, value, weight * value) for name, value, weight in known)


def confidence_without(
    model: CalibratedFusion, contributions: Sequence[Contribution], left_out: Collection[str]
) -> float:
    """Return what the confidence would be if some features were 0, which says nothing.

    >>> model = CalibratedFusion(("similarity", "pool"), (4.0, -2.0), 0.0)
    >>> known = [Contribution("similarity", 0.5, 2.0), Contribution("pool", 1.0, -2.0)]
    >>> without = [["similarity"], ["pool"], [], ["similarity", "pool"]]
    >>> [round(confidence_without(model, known, names), 3) for names in without]
    [0.119, 0.881, 0.5, 0.5]
    """
    logit = model.intercept + sum(c.logit for c in contributions if c.feature not in left_out)
    return 1 / (1 + math.exp(-min(max(logit, -500), 500)))
