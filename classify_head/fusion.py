"""Make one answer of votes, inliers and the likeness to images without a landmark.

Arrays in, arrays out. Every step is there on its own, so that it can be switched off and its
effect be told.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .votes import VOTES

MAX_VOTES = {"top1": 1.0, "knn-power": 5.0}  # largest possible score of a label


@dataclass(frozen=True)
class FusionSettings:
    """How the parts are weighed."""

    policy: str = "knn-power"  # how neighbours vote; a name of VOTES
    power: float = 8.0  # exponent of the cosine in knn-power
    inlier_weight: float = 0.5  # of the verification, beside 1 for the votes
    inlier_scale: float = 20.0  # inliers beyond min_inliers that bring 63 % of the full gain
    min_inliers: int = 4  # as many are found by chance and count as none
    penalty_weight: float = 0.0  # of the mean cosine to images without a landmark


@dataclass(frozen=True)
class Answer:
    """The best label of one query and what speaks for it."""

    label: int  # -1: no neighbours
    confidence: float  # 0 to 1
    votes: float
    similarity: float  # cosine to the label's nearest image
    inliers: int  # of the label's best verified image
    penalty: float  # mean cosine to images without a landmark; 0 where there are none


def verification_gain(inliers: NDArray[np.int64], settings: FusionSettings) -> NDArray[np.float64]:
    """Map inlier counts to [0, 1): 0 up to min_inliers, then rising ever more slowly.

    The first inliers beyond chance say most; a hundred say hardly more than fifty.

    >>> verification_gain(np.array([0, 4, 24, 400]), FusionSettings()).round(2).tolist()
    [0.0, 0.0, 0.63, 1.0]
    """
    beyond = np.maximum(inliers - settings.min_inliers, 0)
    return np.asarray(1 - np.exp(-beyond / settings.inlier_scale))


def fuse(
    labels: NDArray[np.int64],
    cosines: NDArray[np.float32],
    inliers: NDArray[np.int64],
    penalty: float,
    settings: FusionSettings,
) -> Answer:
    """Choose the label with the largest sum of votes and verification.

    score(label) = (votes + inlier_weight * gain(most inliers of the label)
                    + penalty_weight * (1 - penalty)) / (1 + inlier_weight + penalty_weight),
    where votes are divided by the largest they can be and penalty is clipped to [0, 1]. Each part
    is in [0, 1], so the score is, too (negative cosines count as 0). Ties go to the lower label.

    Args:
        labels: [K] landmark of each neighbour, nearest first; -1 is padding.
        cosines: [K] to each neighbour.
        inliers: [K] of each neighbour; 0 where it was not verified.
        penalty: mean cosine to images without a landmark.
        settings: weights.

    Returns:
        The answer; label -1 and confidence 0 without neighbours.
    """
    votes = VOTES[settings.policy](labels, cosines, settings.power)
    if not len(votes.labels):
        return Answer(-1, 0.0, 0.0, 0.0, 0, penalty)
    most = np.array([inliers[labels == label].max() for label in votes.labels])
    largest = MAX_VOTES.get(settings.policy, float(len(labels)))
    scores = (
        np.maximum(votes.scores / largest, 0)
        + settings.inlier_weight * verification_gain(most, settings)
        + settings.penalty_weight * (1 - np.clip(penalty, 0, 1))
    ) / (1 + settings.inlier_weight + settings.penalty_weight)
    best = int(np.lexsort((votes.labels, -scores))[0])
    label = int(votes.labels[best])
    return Answer(
        label,
        float(min(scores[best], 1.0)),  # cosines of float32 vectors may exceed 1 a little
        float(votes.scores[best]),
        float(cosines[labels == label].max()),
        int(most[best]),
        penalty,
    )


def pool_penalty(cosines: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return the mean of each query's largest cosines to the images of a non-landmark pool.

    Args:
        cosines: [Q, P] to the P images of the pool.
        count: how many are averaged; all if the pool has fewer, 0 for an empty pool.

    Source: the policies nl-query and nl-gate of the 2020 first and 2021 fourth places.
    """
    if not cosines.shape[1]:
        return np.zeros(len(cosines))
    count = min(count, cosines.shape[1])
    largest = np.partition(cosines, cosines.shape[1] - count, axis=1)[:, -count:]
    return np.asarray(largest.mean(axis=1, dtype=np.float64))
