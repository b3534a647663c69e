"""Set the confidence that an answer must reach so that enough of the answers are right.

Each rule takes the known queries: correct [Q] bool, confidence [Q] float64 (-inf where there is no
answer) and kinds [Q], and `share`, how many of the photos that will be asked about are distractors;
they are taken to be all of one kind, then all of the other. Arrays in, a number out.

Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999 (probability_threshold).
"""

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .promise import LANDMARK, Bools, Floats, Kinds, present

LEAST_ANSWERS = 10  # right ones and wrong ones, each, that a scaling is fitted on
NO_PENALTY = 1e6  # inverse; of the one slope, in units of the logit


def precise_threshold(
    correct: Bools, confidence: Floats, kinds: Kinds, share: float, min_precision: float
) -> float:
    """Return the smallest threshold at which either kind leaves the answers precise enough.

    A larger threshold may be less precise, where the surest answers are wrong. inf if none is
    precise enough.

    Example: down to .7 two of three answers are right, and no distractor gets one.

        >>> correct, kinds = np.array([1, 0, 1, 0]) > 0, np.array(["landmark"] * 3 + ["pool"])
        >>> precise_threshold(correct, np.array([0.9, 0.8, 0.7, 0.5]), kinds, 0.5, 0.6)
        0.7
    """
    order = np.argsort(-confidence, kind="stable")
    order = order[confidence[order] > -np.inf]
    thresholds = confidence[order]
    if not len(order):
        return math.inf
    enough = np.append(thresholds[1:] != thresholds[:-1], True)  # equal ones are given together
    for kind in present(kinds) or [""]:
        weights = _weigh(kinds, kind, share)[order]
        right = np.cumsum(weights * correct[order])
        enough &= right >= min_precision * np.cumsum(weights) * (1 - 1e-12)
        enough &= right > 0
    found = np.flatnonzero(enough)
    return float(thresholds[found[-1]]) if found.size else math.inf


def probability_threshold(
    correct: Bools, confidence: Floats, kinds: Kinds, share: float, probability: float
) -> float:
    """Return the confidence from which on answers are right with some probability, for either kind.

    Confidences are probabilities for the mixture of both kinds that they were fitted on. For each
    kind a logistic regression on their logit says what they are worth when all distractors are of
    this kind. Never below the probability itself; that where too little is known.
    """
    answered = confidence > -np.inf
    claimed, wanted = _logit(confidence), float(_logit(np.array(probability)))
    found = [
        _scaled(correct, claimed, answered * _weigh(kinds, kind, share), wanted)
        for kind in present(kinds)
    ]
    return max([probability, *found])


def share_threshold(confidence: Floats, kinds: Kinds, rejected: float) -> float:
    """Return the confidence that a share of the distractors of either kind stays below."""
    found = [_quantile(confidence[kinds == kind], rejected) for kind in present(kinds)]
    return max(found)


def _weigh(kinds: Kinds, kind: str, share: float) -> Floats:
    """Return [Q] weights: of landmark queries together 1 - share, of one kind together share."""
    landmark, distractor = kinds == LANDMARK, kinds == kind
    weights = np.where(landmark, (1 - share) / max(int(landmark.sum()), 1), 0.0)
    weights[distractor] = share / max(int(distractor.sum()), 1)
    return np.asarray(weights, dtype=np.float64)


def _logit(probability: NDArray[Any]) -> Floats:
    tiny = np.finfo(np.float64).eps
    clipped = np.clip(probability, tiny, 1 - tiny)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)


def _scaled(correct: Bools, claimed: Floats, weights: Floats, wanted: float) -> float:
    """Return the confidence whose scaled logit is the wanted one; 0 where nothing can be fitted."""
    from sklearn.linear_model import LogisticRegression  # a second that a query has no need of

    used = weights > 0
    if min(correct[used].sum(), (~correct[used]).sum()) < LEAST_ANSWERS:
        return 0.0
    regression: Any = LogisticRegression(C=NO_PENALTY, max_iter=1000)
    scale = used.sum() / weights.sum()
    regression.fit(claimed[used, None], correct[used], weights[used] * scale)
    slope, intercept = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    if slope <= 0:
        return 0.0
    return float(1 / (1 + np.exp(-np.clip((wanted - intercept) / slope, -500, 500))))


def _quantile(confidence: Floats, share: float) -> float:
    ordered = np.sort(confidence)
    # Of few images the highest quantile is their maximum: just above it, all are rejected.
    rank = int(np.ceil(len(ordered) * share))
    # Finite, for decision.json has null for a threshold that nothing reaches.
    return float(np.nextafter(ordered[rank - 1], np.inf)) if rank else -sys.float_info.max
