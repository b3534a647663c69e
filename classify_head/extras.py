"""Hold what a few policies must know beyond the evidence, and say so where it lacks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError

from .evidence import Evidence
from .label_scores import Choice, LabelScores

Calibrated = Callable[[Evidence], Choice]


class MissingEvidenceError(InputError):
    """A policy needs something that was not measured; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Extras:
    """What only some policies ask for, of the same Q queries as the evidence.

    Attributes:
        centroids: the classes whose centroids are nearest, with their cosines; from
            centroids.nearest_centroids.
        support: [Q, K] float32, cosine of each neighbour to the nearest training image of its own
            label.
        calibrated: returns the label of each query and, as confidence, the probability that it is
            right.
    """

    centroids: LabelScores | None = None
    support: NDArray[np.float32] | None = None
    calibrated: Calibrated | None = None

    def need_centroids(self, evidence: Evidence) -> LabelScores:
        """Return the centroids. Raises MissingEvidenceError without, ValueError for another Q."""
        if self.centroids is None:
            raise MissingEvidenceError(
                "the vote 'centroids' needs Extras(centroids=...); make them with "
                "class_centroids and nearest_centroids, or choose another policy"
            )
        if len(self.centroids.labels) != len(evidence):
            rows = len(self.centroids.labels)
            raise ValueError(f"centroids of {rows} queries, but evidence of {len(evidence)}")
        return self.centroids

    def need_support(self, evidence: Evidence) -> NDArray[np.float32]:
        """Return the support. Raises MissingEvidenceError without, ValueError for a shape."""
        if self.support is None:
            raise MissingEvidenceError(
                "the rescoring 'label-agreement' needs Extras(support=...), the cosine of each "
                "neighbour to the nearest training image of its label; or choose another policy"
            )
        if self.support.shape != evidence.labels.shape or not np.isfinite(self.support).all():
            shapes = f"{self.support.shape}, expected {evidence.labels.shape}"
            raise ValueError(f"support has shape {shapes}, and finite values only")
        return self.support

    def need_calibrated(self) -> Calibrated:
        """Return the calibrated fusion. Raises MissingEvidenceError without."""
        if self.calibrated is None:
            raise MissingEvidenceError(
                "the fusion 'calibrated' needs Extras(calibrated=...), a function that was fitted "
                "on a validation split; fit one, or choose another policy"
            )
        return self.calibrated


def need_head(evidence: Evidence, step: str) -> None:
    """Raise MissingEvidenceError where the evidence holds nothing of a classification head."""
    if not evidence.head_labels.shape[1]:
        raise MissingEvidenceError(
            f"{step} needs the classes that a classification head finds most likely, but the "
            "evidence has none; train a model with a head, or choose another policy"
        )


def need_pool(cosines: NDArray[np.float32], step: str) -> None:
    """Raise MissingEvidenceError where there are no cosines [..., P] to a non-landmark pool."""
    if not cosines.shape[-1]:
        raise MissingEvidenceError(
            f"{step} needs cosines to images without a landmark, but the evidence has none; add "
            "a table non_landmark to the dataset, or choose another policy"
        )
