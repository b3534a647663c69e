"""Say which guesses are no answer, and why, in words for people.

The fifth step of a policy: of a Choice it returns a reason a query, "" where the guess stands.
Arrays in, words out.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from embed.settings import Settings

from .evidence import Evidence
from .extras import MissingEvidenceError
from .gap import average_precision
from .label_scores import Choice, images_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNVERIFIED = "no image of the guess was verified, so nothing confirms it"


class Verdict(IntEnum):
    """What the inlier thresholds of the torino report make of a guess."""

    CONFIRMED = 0
    WRONG_LABEL = 1  # there is a landmark, but another one
    NO_LANDMARK = 2  # a distractor
    UNVERIFIED = 3  # no image of the guess was verified


class RejectNone(Settings):
    """Let every guess stand."""

    name: Literal["none"] = "none"

    def __call__(self, evidence: Evidence, choice: Choice) -> list[str]:
        """Return Q times ""."""
        return [""] * len(evidence)


class RejectBelow(Settings):
    """Reject guesses whose confidence is below a threshold."""

    name: Literal["threshold"] = "threshold"
    # Infinite where every guess, or none, is to be rejected; not nan.
    threshold: float = Field(0.15, allow_inf_nan=True, ge=-math.inf)

    def __call__(self, evidence: Evidence, choice: Choice) -> list[str]:
        """Return a reason for each query, "" where the guess stands."""
        least = f"is below {self.threshold:.3f}"
        if self.threshold == math.inf:
            least = "is too low: none is as sure as was asked for"
        return [
            "" if confidence >= self.threshold else f"confidence {confidence:.3f} {least}"
            for confidence in choice.confidences.tolist()
        ]


class RejectTorino(Settings):
    """Reject guesses that the inliers with images of the guessed landmark do not confirm.

    Confirmed if the most inliers are at least confirm_most or their mean is above confirm_mean;
    else no landmark if the mean is below reject_mean; else the wrong landmark, which is no answer,
    either. The report names no statistic for the last two; the mean is our reading.

    The report verifies all images of the class that the head predicts; which images were verified
    is up to whoever made the evidence. Those that were not, and those of other classes, are left
    out; an image without a match counts as one of 0 inliers. With none left, as for a class that
    the database does not show, the guess is rejected as unverified.

    Source: Di Pietro and Martini, "Landmark Recognition Challenge with ResNet and DELF".
    """

    name: Literal["torino"] = "torino"
    confirm_most: int = Field(25, ge=0)  # inliers
    confirm_mean: float = Field(8.0, ge=0)  # inliers
    reject_mean: float = Field(5.0, ge=0)  # inliers

    def __call__(self, evidence: Evidence, choice: Choice) -> list[str]:
        """Return a reason for each query, "" where the guess stands."""
        found = count_inliers(evidence, choice.labels)
        return [
            self._explain(Verdict(verdict), found.describe(query))
            for query, verdict in enumerate(self.judge(evidence, choice))
        ]

    def judge(self, evidence: Evidence, choice: Choice) -> Ints:
        """Return the Verdict of each guess [Q]."""
        found = count_inliers(evidence, choice.labels)
        confirmed = (found.most >= self.confirm_most) | (found.mean > self.confirm_mean)
        rejected = found.mean < self.reject_mean
        cases = [found.images == 0, confirmed, rejected]
        verdicts = [Verdict.UNVERIFIED, Verdict.CONFIRMED, Verdict.NO_LANDMARK]
        return np.select(cases, verdicts, Verdict.WRONG_LABEL).astype(np.int64)

    def _explain(self, verdict: Verdict, found: str) -> str:
        return {
            Verdict.CONFIRMED: "",
            Verdict.WRONG_LABEL: f"{found}: enough for a landmark, too few for the guess",
            Verdict.NO_LANDMARK: f"{found}: too few for any landmark",
            Verdict.UNVERIFIED: UNVERIFIED,
        }[verdict]


class RejectFewInliers(Settings):
    """Reject guesses that have too few inliers, on average, with images of the landmark.

    The mean is over the nearest `images` of the guessed landmark in the evidence, those left out
    that were not verified; an image without a match counts as one of 0 inliers. With none left, as
    for a class that the database does not show, the guess is rejected as unverified.

    Source: Zeng, Ye and Liu, "CS231N Project Final Report: Landmark Recognition Challenge".
    """

    name: Literal["se-attention"] = "se-attention"
    least_mean: float = Field(5.0, ge=0)  # inliers
    images: int = Field(20, ge=1)

    def __call__(self, evidence: Evidence, choice: Choice) -> list[str]:
        """Return a reason for each query, "" where the guess stands."""
        found = count_inliers(evidence, choice.labels, self.images)
        few = f"fewer than {self.least_mean:g} on average"
        reasons = []
        for query in range(len(evidence)):
            if not found.images[query]:
                reasons.append(UNVERIFIED)
            elif found.mean[query] < self.least_mean:
                reasons.append(f"{found.describe(query)}: {few}")
            else:
                reasons.append("")
        return reasons


class RejectNonLandmarks(Settings):
    """Reject the guesses of queries that the landmark head finds to show no landmark at all.

    The head learned both kinds as if they were equally common: at one half a query is as like the
    one as the other. That suits a yes or no; GAP, which forgives a wrong answer of little
    confidence and no missing one, wants less. Measured with the votes of knn-sum over 10
    neighbours, GAP with nothing rejected, below .5, below .25: cartons .974, .973, .979; the
    rendered city, whose distractors are much like its landmarks, .308, .298, .328.

    Source: the separate landmark and non-landmark network of Cheng, "Google Landmark Recognition
    Challenge"; the slides name no threshold, one half is ours.
    """

    name: Literal["landmark-head"] = "landmark-head"
    threshold: float = Field(0.5, ge=0, le=1)  # of the probability; that itself stands
    unknown: Literal["error", "stand"] = "error"  # a guess where no such head was asked

    def __call__(self, evidence: Evidence, choice: Choice) -> list[str]:
        """Return a reason for each query, "" where the guess stands.

        Raises:
            MissingEvidenceError: no head was asked of some query, and unknown is "error".
        """
        missing = int(np.isnan(evidence.landmark).sum())
        if missing and self.unknown == "error":
            raise MissingEvidenceError(
                f"the rejection 'landmark-head' needs a landmark head, but none was asked of "
                f"{missing} of {len(evidence)} queries; set decide.landmark_head = true with a "
                "table non_landmark in the dataset, or choose another rejection"
            )
        return [
            f"probability {probability:.3f} of any landmark is below {self.threshold:.3f}"
            if probability < self.threshold  # never of nan
            else ""
            for probability in evidence.landmark.tolist()
        ]


Rejection = Annotated[
    RejectNone | RejectBelow | RejectTorino | RejectFewInliers | RejectNonLandmarks,
    Field(discriminator="name"),
]


@dataclass(frozen=True, eq=False)
class InlierCounts:
    """Inliers of each query with the verified images of one label."""

    images: Ints  # [Q] that were verified
    most: Ints  # [Q]; 0 without images
    mean: Floats  # [Q]; 0 without images

    def describe(self, query: int) -> str:
        """Put one query's inliers into words."""
        images = "1 image" if self.images[query] == 1 else f"{self.images[query]} images"
        inliers = f"{self.mean[query]:.1f} inliers on average and {self.most[query]} at most"
        return f"{inliers} with {images} of the guess"


def count_inliers(evidence: Evidence, labels: Ints, images: int | None = None) -> InlierCounts:
    """Count inliers over the verified neighbours that show each query's label [Q].

    Args:
        evidence: of Q queries.
        labels: [Q] int64.
        images: how many neighbours of the label are looked at, the nearest; None for all.
    """
    seen = images_of(evidence, labels, images) & (evidence.inliers >= 0)
    inliers = np.where(seen, evidence.inliers, 0)
    count = seen.sum(axis=1)
    mean = inliers.sum(axis=1) / np.maximum(count, 1)
    return InlierCounts(count, inliers.max(axis=1, initial=0), mean)


def self_verified_gap(confidences: Floats, verdicts: Ints) -> float | None:
    """Compute the "self-verified GAP" of the torino report, which is no GAP.

    It has the formula of GAP, but rel(i) is 1 where the verification confirms answer i, and M
    counts the queries that it takes to show a landmark (verdict CONFIRMED or WRONG_LABEL). No
    ground truth goes in: it measures how well the confidence agrees with the verification, rises
    when the verification confirms wrong answers, and must never be compared with a GAP. None where
    no query is taken to show a landmark: it is undefined.

    Args:
        confidences: [Q] float64; ties keep their order.
        verdicts: [Q] of Verdict, as by RejectTorino.judge.

    Raises:
        ValueError: shapes differ.

    Source: Di Pietro and Martini; the reading of M is ours.

    Example: confirmed at rank 1 and 3 gives (1 / 1 + 2 / 3) / 2.

        >>> verdicts = np.array([Verdict.CONFIRMED, Verdict.NO_LANDMARK, Verdict.CONFIRMED])
        >>> round(self_verified_gap(np.array([0.9, 0.8, 0.7]), verdicts), 4)
        0.8333
    """
    if confidences.ndim != 1 or confidences.shape != verdicts.shape:
        shapes = f"confidences {confidences.shape} and verdicts {verdicts.shape}"
        raise ValueError(f"{shapes}, expected [Q] both")
    shown = np.isin(verdicts, [Verdict.CONFIRMED, Verdict.WRONG_LABEL])
    if not shown.any():
        return None
    order = np.argsort(-confidences, kind="stable")
    return average_precision(verdicts[order] == Verdict.CONFIRMED, int(shown.sum()))
