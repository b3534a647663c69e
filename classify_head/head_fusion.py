"""Make one answer of what the classification head says, supported by geometry or neighbours.

The fourth step of policies that trust the head first; see fusion.py. Of the head the evidence holds
cosines, not probabilities: a head's confidence is its cosine. Arrays in, arrays out.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from embed.settings import Settings

from .evidence import Evidence
from .extras import Extras, need_head
from .label_scores import Choice, LabelScores, images_of, look_up


class HeadAlone(Settings):
    """Take the class that the head finds most likely; its cosine is the confidence.

    The votes play no part.

    Source: baseline; the reports torino and se-attention verify this class.
    """

    name: Literal["head"] = "head"

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice. Raises MissingEvidenceError without a head."""
        need_head(evidence, "the fusion 'head'")
        return Choice(evidence.head_labels[:, 0], evidence.head_scores[:, 0].astype(np.float64))


class InliersMix(Settings):
    """Take the head's class; its confidence comes mostly from the inliers of its best image.

    confidence = share * (most inliers / global maximum) + (1 - share) * head's cosine, over the
    nearest `images` neighbours of the class. The global maximum is that of all queries asked
    together, so a query that is asked alone has none but its own: for whole test sets only. It is
    1 where no inlier was found.

    Source: nineteenth place of the 2018 Google Landmark Recognition challenge.
    """

    name: Literal["inliers-mix"] = "inliers-mix"
    share: float = Field(0.85, ge=0, le=1)
    images: int = Field(32, ge=1)

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice. Raises MissingEvidenceError without a head."""
        head = HeadAlone()(evidence, extras, votes)
        seen = images_of(evidence, head.labels, self.images)
        inliers = np.where(seen, evidence.inliers, 0).max(axis=1, initial=0)
        relative = inliers / inliers.max(initial=1)
        return Choice(head.labels, self.share * relative + (1 - self.share) * head.confidences)


class BetaMix(Settings):
    """Go through the head's classes until one is also near enough.

    mix(label) = beta * head's cosine + (1 - beta) * score of the label in the vote, 0 without one.
    The answer is the head's first class whose mix reaches `threshold`; if none does, that of the
    largest mix, ties to the class that the head prefers. The confidence is the mix.

    Source: the report "Xceptional Landmark Recognition", section on future work, which names
    neither number and does not say what follows the last label.
    """

    name: Literal["beta-mix"] = "beta-mix"
    beta: float = Field(0.5, ge=0, le=1)  # ours
    threshold: float = 0.5  # ours

    def __call__(self, evidence: Evidence, extras: Extras, votes: LabelScores) -> Choice:
        """Return the choice. Raises MissingEvidenceError without a head."""
        need_head(evidence, "the fusion 'beta-mix'")
        similarity = look_up(votes.labels, votes.scores, evidence.head_labels, missing=0.0)
        mixes = self.beta * evidence.head_scores + (1 - self.beta) * similarity
        passing = mixes >= self.threshold
        chosen = np.where(passing.any(axis=1), passing.argmax(axis=1), mixes.argmax(axis=1))
        rows = np.arange(len(evidence))
        return Choice(evidence.head_labels[rows, chosen], mixes[rows, chosen])
