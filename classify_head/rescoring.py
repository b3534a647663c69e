"""Raise or lower the score of each neighbour by what verifies it: geometry, head, agreement.

The second step of a policy: scores [Q, K] float64, -inf for padding, become scores of the same
shape; -inf takes a neighbour out of the vote. A neighbour that was not verified counts as one
without inliers. Arrays in, arrays out.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from embed.settings import Settings

from .evidence import Evidence
from .extras import Extras, need_head
from .label_scores import choose_best, look_up
from .votes import SumVote

Floats = NDArray[np.float64]


class NoRescoring(Settings):
    """Leave the scores as they are."""

    name: Literal["none"] = "none"

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> Floats:
        """Return the scores [Q, K]."""
        return scores


class AddInliers(Settings):
    """Add the share of a full number of inliers to the similarity.

    score = cos + min(inliers, cap) / cap, or with similarity "distance" 1 - d^2 for cos, where
    d^2 = 2 - 2 cos is the squared distance of the descriptors.

    Source: third place of the 2019 Google Landmark Recognition challenge ("distance", cap 70,
    exp/submit_recognition.py); baseline by the hosts of 2020 ("cosine", cap 35). Both let the 3
    nearest neighbours vote and no others.
    """

    name: Literal["add-inliers"] = "add-inliers"
    cap: int = Field(35, ge=1)  # inliers beyond this bring no more
    similarity: Literal["cosine", "distance"] = "cosine"
    candidates: int | None = Field(3, ge=1)  # the nearest so many vote; None for all

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> Floats:
        """Return the scores [Q, K]."""
        near = 2 * scores - 1 if self.similarity == "distance" else scores
        return _only_nearest(near + _cap_inliers(evidence, self.cap) / self.cap, self.candidates)


class MultiplyInliers(Settings):
    """Multiply the similarity by the number of inliers: score = cos * min(inliers, cap).

    Source: seventh place of the 2020 Google Landmark Recognition challenge.
    """

    name: Literal["multiply-inliers"] = "multiply-inliers"
    cap: int = Field(200, ge=1)  # inliers beyond this bring no more
    candidates: int | None = Field(None, ge=1)  # the nearest so many vote; None for all

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> Floats:
        """Return the scores [Q, K]."""
        inliers = _cap_inliers(evidence, self.cap)
        product = np.full(scores.shape, -np.inf)  # -inf * 0 would be nan
        np.multiply(scores, inliers, out=product, where=np.isfinite(scores))
        return _only_nearest(product, self.candidates)


class AddHead(Settings):
    """Add the classification head's cosine for the label of the neighbour.

    The source adds the mean logit of an ensemble's heads; here there is one head. A label that is
    not among the head's most likely ones gets 0.

    Source: third place of the 2021 Google Landmark Recognition challenge.
    """

    name: Literal["add-head"] = "add-head"
    candidates: int | None = Field(7, ge=1)  # the nearest so many vote; None for all

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> Floats:
        """Return the scores [Q, K]. Raises MissingEvidenceError without a head."""
        need_head(evidence, "the rescoring 'add-head'")
        head = look_up(evidence.head_labels, evidence.head_scores, evidence.labels, missing=0.0)
        return _only_nearest(scores + head, self.candidates)


class LabelAgreement(Settings):
    """Prefer neighbours whose label is the one predicted for the query.

    score(i) = cos(q, i) + agree * cos(i, train) where the labels are the same, and
    cos(q, i) + disagree * cos(i, train) elsewhere; cos(i, train) is Extras.support. The source
    orders the results of retrieval. It does not say how the query's label is predicted; here, by
    the sum of the cosines of its nearest neighbours.

    Source: first place of the 2021 Google Landmark Retrieval challenge.
    """

    name: Literal["label-agreement"] = "label-agreement"
    agree: float = 1.0
    disagree: float = -0.1
    predicting: int = Field(3, ge=1)  # nearest neighbours that predict the query's label

    def __call__(self, evidence: Evidence, extras: Extras, scores: Floats) -> Floats:
        """Return the scores [Q, K]. Raises MissingEvidenceError without support."""
        support = extras.need_support(evidence).astype(np.float64)
        votes = SumVote(neighbors=self.predicting)(evidence, extras, scores)
        predicted = choose_best(votes.labels, votes.scores).labels
        agrees = evidence.labels == predicted[:, None]
        weight = np.where(agrees, self.agree, self.disagree)
        return scores + weight * support


Rescoring = Annotated[
    NoRescoring | AddInliers | MultiplyInliers | AddHead | LabelAgreement,
    Field(discriminator="name"),
]


def _cap_inliers(evidence: Evidence, cap: int) -> Floats:
    return evidence.inliers.clip(0, cap).astype(np.float64)


def _only_nearest(scores: Floats, candidates: int | None) -> Floats:
    """Return the scores with -inf for all but the first so many neighbours."""
    if candidates is not None:
        scores[:, candidates:] = -np.inf
    return scores
