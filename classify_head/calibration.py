"""Calibrated fusion: one probability that a label is right, from all the evidence there is.

A logistic regression over pairs of a query and a label, fitted on queries whose truth is known.
It learns what the evidence of this database is worth: where geometry says nothing, because images
are small or smooth, its weight comes out near zero. Arrays in, arrays out.

Ours; the idea of learning the decision on a validation set with distractors of its own is that of
the second place of the 2020 Google Landmark Recognition challenge.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .evidence import Evidence
from .label_scores import Choice
from .pair_features import DEFAULT_FEATURES, PAIR_FEATURES, LabelPairs, make_pairs
from .promise import LANDMARK, POOL, Kinds, share_weights

Floats = NDArray[np.float64]

LEAST_QUERIES = 20  # of known landmarks, with their label among the neighbours, for a fit
FOLDS = 5
INVERSE_PENALTY = 1.0  # of the squared weights of standardised features


def _share_rest(ranked: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return labels with probabilities that sum to at most 1, that of the first as it is."""
    if not ranked:
        return []
    rest = sum(probability for _, probability in ranked[1:])
    shrink = min(1.0, (1 - ranked[0][1]) / rest) if rest else 1.0
    return [ranked[0], *((label, probability * shrink) for label, probability in ranked[1:])]


@dataclass(frozen=True)
class CalibratedFusion:
    """A fitted model: probability = 1 / (1 + exp(-(intercept + sum of weight * feature)))."""

    features: tuple[str, ...]  # [F] names of PAIR_FEATURES
    weights: tuple[float, ...]  # [F] of the features as they are
    intercept: float
    fitted: bool = True  # False: weights that were fitted on other data

    def __post_init__(self) -> None:
        """Raise ValueError for unknown features, or another number of weights."""
        unknown = [name for name in self.features if name not in PAIR_FEATURES]
        if unknown:
            raise ValueError(f"unknown features {unknown}; there are {', '.join(PAIR_FEATURES)}")
        if len(self.weights) != len(self.features):
            raise ValueError(f"{len(self.weights)} weights for {len(self.features)} features")

    def decide(self, evidence: Evidence) -> Choice:
        """Return the likeliest label of each query, -1 without neighbours, and how likely it is.

        Ties go to the lower label.
        """
        return self.decide_pairs(make_pairs(evidence, self.features), len(evidence))

    def rank(self, evidence: Evidence) -> list[list[tuple[int, float]]]:
        """Return the likeliest labels of each query and how likely each is, best first.

        Ties go to the lower label. Each is judged by itself; as at most one is right, those behind
        the first share what it leaves where they sum to more.
        """
        pairs = make_pairs(evidence, self.features)
        probabilities = self._probabilities(pairs)
        ranked: list[list[tuple[int, float]]] = [[] for _ in range(len(evidence))]
        for place in np.lexsort((pairs.labels, -probabilities)).tolist():
            found = int(pairs.labels[place]), float(probabilities[place])
            ranked[pairs.queries[place]].append(found)
        return [_share_rest(found) for found in ranked]

    def _probabilities(self, pairs: LabelPairs) -> Floats:
        scores = self.intercept + pairs.values @ np.array(self.weights)
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -500, 500))))

    def decide_pairs(self, pairs: LabelPairs, queries: int) -> Choice:
        """Return what decide returns, of features that were computed before."""
        probabilities = self._probabilities(pairs)
        order = np.lexsort((-pairs.labels, probabilities, pairs.queries))
        labels, best = np.full(queries, -1, dtype=np.int64), np.zeros(queries)
        # Of several assignments to one place the last one stays.
        labels[pairs.queries[order]] = pairs.labels[order]
        best[pairs.queries[order]] = probabilities[order]
        return Choice(labels, best)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that from_json reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Rebuild a model. Raises KeyError or TypeError for missing or unknown fields."""
        return cls(
            tuple(values["features"]),
            tuple(values["weights"]),
            values["intercept"],
            values["fitted"],
        )


# For databases with too few known queries: between what was fitted on real photos, where the
# descriptor decides, and on the rendered city, where geometry does.
FALLBACK = CalibratedFusion(
    DEFAULT_FEATURES, (2.0, 4.0, 0.6, 0.9, 0.9, -4.0, 0.0), -2.0, fitted=False
)


def fit_calibration(
    evidence: Evidence,
    truths: NDArray[np.int64],
    kinds: Kinds | None = None,
    *,
    features: Sequence[str] = DEFAULT_FEATURES,
    distractor_share: float = 0.5,
    seed: int = 0,
) -> tuple[CalibratedFusion, Choice]:
    """Fit the model, and answer every query by one that was fitted without it.

    Args:
        evidence: of Q queries that neither the descriptor nor the database has seen. Queries of one
            id are one photo, asked of the database as it is and without its landmark: no model that
            answers one of them has seen the other.
        truths: [Q] landmark_id, -1 for a distractor.
        kinds: [Q] of promise.py; by default all distractors are of the pool.
        features: names of PAIR_FEATURES.
        distractor_share: in [0, 1), how many of the photos that will be asked about show no known
            landmark: queries are weighted as if so many of these did, half of them of either kind.
        seed: of the folds.

    Returns:
        The model, and the answers to the Q queries, each by a model that did not see the query.
        FALLBACK and its answers where fewer than LEAST_QUERIES of the landmark queries
        have their label among the neighbours, or no pair is wrong.

    Raises:
        ValueError: lengths differ, or a feature is unknown.
    """
    if len(truths) != len(evidence):
        raise ValueError(f"{len(truths)} truths for {len(evidence)} queries")
    pairs = make_pairs(evidence, features)
    right = pairs.labels == truths[pairs.queries]
    answerable = np.unique(pairs.queries[right])
    if len(answerable) < LEAST_QUERIES or right.all():
        return FALLBACK, FALLBACK.decide(evidence)
    if kinds is None:
        kinds = np.where(truths >= 0, LANDMARK, POOL)
    weights = share_weights(kinds, distractor_share)
    labels, probabilities = np.full(len(truths), -1, dtype=np.int64), np.zeros(len(truths))
    folds = _assign_folds(evidence.query_ids, truths >= 0, seed)
    for fold in range(FOLDS):
        model = _fit(pairs, right, weights, folds != fold, features)
        found = model.decide_pairs(pairs, len(truths))
        labels[folds == fold] = found.labels[folds == fold]
        probabilities[folds == fold] = found.confidences[folds == fold]
    every = np.ones(len(truths), dtype=np.bool_)
    return _fit(pairs, right, weights, every, features), Choice(labels, probabilities)


def _assign_folds(
    ids: Sequence[str], shows_landmark: NDArray[np.bool_], seed: int
) -> NDArray[np.int64]:
    """Return [Q] the fold of each query; landmarks and distractors are dealt out evenly.

    Queries of one id share that of the first of them.
    """
    generator = np.random.default_rng(seed)
    _, first, photos = np.unique(ids, return_index=True, return_inverse=True)
    folds = np.empty(len(ids), dtype=np.int64)
    for kind in (shows_landmark, ~shows_landmark):
        rows = generator.permutation(np.sort(first[kind[first]]))
        folds[rows] = np.arange(len(rows)) % FOLDS
    return np.asarray(folds[first[photos]])


def _fit(
    pairs: LabelPairs,
    right: NDArray[np.bool_],
    weights: Floats,
    used: NDArray[np.bool_],
    features: Sequence[str],
) -> CalibratedFusion:
    """Fit on the pairs of the queries used [Q]; return the weights of features as they are."""
    from sklearn.linear_model import (
        LogisticRegression,
    )  # takes a second that a query has no need of

    rows = used[pairs.queries]
    values = pairs.values[rows]
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation[deviation < 1e-9] = 1.0  # says the same of every pair: its weight will be 0
    regression: Any = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000)
    regression.fit((values - mean) / deviation, right[rows], weights[pairs.queries[rows]])
    raw = regression.coef_[0] / deviation
    intercept = float(regression.intercept_[0] - raw @ mean)
    return CalibratedFusion(tuple(features), tuple(raw.tolist()), intercept)
