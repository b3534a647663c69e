"""Penalise neighbours for the likeness of an image to others that show no landmark.

The first step of a policy: from the evidence of Q queries it makes a score a neighbour [Q, K]
float64, -inf for padding. Arrays in, arrays out.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from embed.settings import Settings

from .evidence import Evidence
from .extras import need_pool

Floats = NDArray[np.float64]


class NoPenalty(Settings):
    """Score each neighbour by its cosine."""

    name: Literal["none"] = "none"

    def __call__(self, evidence: Evidence) -> Floats:
        """Return the scores [Q, K]."""
        return read_similarities(evidence)


class NeighborPenalty(Settings):
    """Subtract how much the neighbour itself looks like images without a landmark.

    score(q, g) = cos(q, g) - mean of the `nearest` largest cos(g, NL)

    Source: step B of the first place of the 2020 Google Landmark Recognition challenge (5 nearest,
    cosines clipped to [0, 1] first); third place of 2021 (3 nearest, not clipped).
    """

    name: Literal["neighbor-pool"] = "neighbor-pool"
    nearest: int = Field(5, ge=1)  # images of the pool that are averaged; all if it has fewer
    clip: bool = False  # whether cosines are clipped to [0, 1] before

    def __call__(self, evidence: Evidence) -> Floats:
        """Return the scores [Q, K]. Raises MissingEvidenceError without a pool."""
        need_pool(evidence.neighbor_pool, "the penalty 'neighbor-pool'")
        scores = read_similarities(evidence)
        if self.clip:
            scores = np.where(np.isneginf(scores), scores, scores.clip(0, 1))
        return scores - average_pool(evidence.neighbor_pool, self.nearest)


class QueryGate(Settings):
    """Give up on queries that look like images without a landmark.

    All similarities of a query become 0 where the mean of its `nearest` largest cos(q, NL) is
    above `above`. Its labels are then tied, so the guess of votes is the lowest of them.

    Source: fourth place of the 2021 Google Landmark Recognition challenge.
    """

    name: Literal["query-gate"] = "query-gate"
    nearest: int = Field(5, ge=1)  # images of the pool that are averaged; all if it has fewer
    above: float = Field(0.5, ge=-1, le=1)  # cosine

    def __call__(self, evidence: Evidence) -> Floats:
        """Return the scores [Q, K]. Raises MissingEvidenceError without a pool."""
        need_pool(evidence.query_pool, "the penalty 'query-gate'")
        scores = read_similarities(evidence)
        gated = average_pool(evidence.query_pool, self.nearest) > self.above
        return np.where(gated[:, None] & np.isfinite(scores), 0.0, scores)


Penalty = Annotated[NoPenalty | NeighborPenalty | QueryGate, Field(discriminator="name")]


def read_similarities(evidence: Evidence) -> Floats:
    """Return the cosines [Q, K] as float64, -inf for padding."""
    return np.where(evidence.labels >= 0, evidence.similarities.astype(np.float64), -np.inf)


def average_pool(cosines: NDArray[np.float32], nearest: int) -> Floats:
    """Return the mean [...] of the first `nearest` cosines [..., P], 0 if P is 0.

    >>> average_pool(np.float32([[0.75, 0.25, 0.0]]), 2).tolist()
    [0.5]
    """
    if not cosines.shape[-1]:
        return np.zeros(cosines.shape[:-1])
    return np.asarray(cosines[..., :nearest].mean(axis=-1, dtype=np.float64))
