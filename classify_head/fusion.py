"""Make one answer of the votes and whatever else is known of a query.

The fourth step of a policy: LabelScores become a Choice, one label and its confidence a query.
Ties go to the lower label. Those that start from the classification head are in head_fusion.py.
Arrays in, arrays out.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from embed.settings import Settings

from .evidence import Evidence
from .extras import Extras, need_head, need_pool
from .head_fusion import BetaMix, HeadAlone, InliersMix
from .label_scores import Choice, LabelScores, choose_best, look_up
from .penalties import average_pool

Floats = NDArray[np.float64]


class VotesAlone(Settings):
    """Take the label of the best score; the score is the confidence."""

    name: Literal["votes"] = "votes"

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice."""
        return choose_best(votes.labels, votes.scores)


class MinusPool(Settings):
    """Subtract from the label's score how much the query looks like images without a landmark.

    confidence = score - mean of the `nearest` largest cos(q, NL). The label stays the same: this
    sorts distractors to the end.

    Source: step C of the first place of the 2020 Google Landmark Recognition challenge.
    """

    name: Literal["minus-pool"] = "minus-pool"
    nearest: int = Field(10, ge=1)  # images of the pool that are averaged; all if it has fewer

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice. Raises MissingEvidenceError without a pool."""
        need_pool(evidence.query_pool, "the fusion 'minus-pool'")
        penalty = average_pool(evidence.query_pool, self.nearest)
        return choose_best(votes.labels, votes.scores - penalty[:, None])


class TimesHead(Settings):
    """Multiply each label's score by a power of the classification head's cosine.

    score(label) * max(cos, floor)^power; every label that is not among the head's first `top` has
    the floor for its cosine, which in effect rules it out.

    Source: third place of the 2020 Google Landmark Recognition challenge; q = 12 (10 in its code).
    """

    name: Literal["times-head"] = "times-head"
    power: float = Field(12.0, ge=0)
    top: int = Field(5, ge=1)  # classes of the head
    floor: float = Field(1e-8, gt=0, le=1)  # cosine

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice. Raises MissingEvidenceError without a head."""
        need_head(evidence, "the fusion 'times-head'")
        labels, values = evidence.head_labels[:, : self.top], evidence.head_scores[:, : self.top]
        head = look_up(labels, values, votes.labels, self.floor)
        scores = np.where(votes.labels >= 0, votes.scores, 0.0)  # -inf * 0 would be nan
        return choose_best(votes.labels, scores * np.maximum(head, self.floor) ** self.power)


class SoftmaxVotes(Settings):
    """Turn the best scores into shares, times the chance that there is a landmark at all.

    confidence = softmax over the first `labels` scores * p(landmark) * ood. The source has a model
    for each of the two factors. Ours: p(landmark) = 1 - mean of the `nearest` largest cos(q, NL),
    clipped to [0, 1], which is 1 without a pool; ood = 1.

    Source: eighth place of the 2019 Google Landmark Recognition challenge.
    """

    name: Literal["softmax"] = "softmax"
    labels: int = Field(12, ge=1)
    scale: float = Field(1.0, gt=0)  # of the scores, before the exponential
    nearest: int = Field(5, ge=1)  # images of the pool that are averaged; all if it has fewer

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice."""
        from scipy.special import softmax

        labels, scores = votes.labels[:, : self.labels], votes.scores[:, : self.labels]
        if not labels.shape[1]:
            return choose_best(labels, scores)
        # A row of -inf alone would give nan.
        scores = np.where((labels < 0).all(axis=1, keepdims=True), 0.0, scores * self.scale)
        landmark = 1 - average_pool(evidence.query_pool, self.nearest).clip(0, 1)
        return choose_best(labels, softmax(scores, axis=1) * landmark[:, None])


class Weighted(Settings):
    """Average votes, verification and unlikeness to images without a landmark.

    confidence(label) = (votes / largest + inlier_weight * gain(most inliers of the label)
                         + penalty_weight * (1 - pool)) / (1 + inlier_weight + penalty_weight),

    where `largest` is the most that votes can be and pool is the mean of the `nearest` largest
    cos(q, NL). Votes and pool are clipped to [0, 1] and the gain is below 1, so the confidence is
    in [0, 1], too. Without a pool its weight is 0.

    Source: ours.
    """

    name: Literal["weighted"] = "weighted"
    inlier_weight: float = Field(0.5, ge=0)  # of the verification, beside 1 for the votes
    inlier_scale: float = Field(20.0, gt=0)  # inliers beyond min_inliers that bring 63 % of it
    min_inliers: int = Field(4, ge=0)  # as many are found by chance and count as none
    penalty_weight: float = Field(0.2, ge=0)  # of the likeness to images without a landmark
    nearest: int = Field(5, ge=1)  # images of the pool that are averaged; all if it has fewer

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice."""
        weight = self.penalty_weight if evidence.query_pool.shape[1] else 0.0
        pool = average_pool(evidence.query_pool, self.nearest).clip(0, 1)
        inliers = look_up(evidence.labels, evidence.inliers, votes.labels, missing=0)
        scores = (
            (votes.scores / max(votes.largest, 1.0)).clip(0, 1)
            + self.inlier_weight * verification_gain(inliers, self.min_inliers, self.inlier_scale)
            + weight * (1 - pool[:, None])
        )
        return choose_best(votes.labels, scores / (1 + self.inlier_weight + weight))


class Calibrated(Settings):
    """Leave label and probability to a function that was fitted on validation queries.

    Penalty, rescoring and votes play no part in its answer.
    """

    name: Literal["calibrated"] = "calibrated"

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice. Raises MissingEvidenceError where no function was given."""
        return extras.need_calibrated()(evidence)


Fusion = Annotated[
    VotesAlone
    | MinusPool
    | TimesHead
    | SoftmaxVotes
    | Weighted
    | HeadAlone
    | InliersMix
    | BetaMix
    | Calibrated,
    Field(discriminator="name"),
]


def verification_gain(inliers: NDArray[np.generic], by_chance: int, scale: float) -> Floats:
    """Map inlier counts to [0, 1): 0 up to by_chance, then rising ever more slowly.

    The first inliers beyond chance say most; a hundred say hardly more than fifty.

    >>> verification_gain(np.array([-1, 4, 24, 400]), 4, 20).round(2).tolist()
    [0.0, 0.0, 0.63, 1.0]
    """
    beyond = np.maximum(inliers.astype(np.float64) - by_chance, 0)
    return np.asarray(1 - np.exp(-beyond / scale))
