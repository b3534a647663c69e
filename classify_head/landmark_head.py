"""Landmark or not: a second head over the global descriptors, fitted after training.

It asks nothing of the classes: a logistic regression between images of landmarks and others. Of an
image that it learned from, a head is surer than it should be; cross_fit has one for that, too.
Knows neither images nor files; to_json and from_json are what a file holds.

Source: the separate landmark and non-landmark network of Cheng, "Google Landmark Recognition
Challenge", here over the descriptor that is there already.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embed.mapped import gather

LEAST_IMAGES = 10  # of each kind, for a fit
# Of each kind that are learned from: with 2,048 dimensions a fit takes 4 s and 2 GB, six in a row.
MOST_IMAGES = 20_000
FOLDS = 5  # parts of the landmarks that a head of cross_fit is fitted without
# Of the squared weights, for descriptors scaled to a mean square of 1. Five-fold log loss on
# cartons of 1 / .1 / .01: .039 / .051 / .091; on the rendered city: .610 / .512 / .510.
INVERSE_PENALTY = 0.1


@dataclass(frozen=True, eq=False)
class LandmarkHead:
    """A fitted model: probability = 1 / (1 + exp(-(descriptor @ weights + intercept))).

    Attributes:
        weights: [dim] float64.
        intercept: for as many photos with as without a landmark.

    Raises:
        ValueError: weights of another shape or dtype, or not finite.
    """

    weights: NDArray[np.float64]
    intercept: float

    def __post_init__(self) -> None:
        """Check the weights."""
        if self.weights.ndim != 1 or self.weights.dtype != np.float64:
            raise ValueError(
                f"weights are {self.weights.dtype} {self.weights.shape}, expected float64 [dim]"
            )
        if not np.isfinite([*self.weights, self.intercept]).all():
            raise ValueError("weights of a landmark head are not all finite; fit it again")

    def probability(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how likely each image shows a landmark [Q], in [0, 1].

        Args:
            vectors: [Q, dim] float32, rows of length 1.

        Raises:
            ValueError: descriptors of another length.
        """
        from scipy.special import expit  # a fifth of a second that a query without has no need of

        _check_dim(vectors, len(self.weights), "vectors")
        probabilities: NDArray[np.float64] = expit(vectors @ self.weights + self.intercept)
        return probabilities

    def to_json(self) -> dict[str, Any]:
        """Return plain values that from_json reads back, every digit of them."""
        return {"weights": self.weights.tolist(), "intercept": self.intercept}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Rebuild a head. Raises KeyError for missing fields, ValueError for senseless ones."""
        return cls(np.array(values["weights"], dtype=np.float64), float(values["intercept"]))


def fit_landmark_head(landmarks: NDArray[np.float32], others: NDArray[np.float32]) -> LandmarkHead:
    """Learn to tell descriptors of images with a landmark from those of images without one.

    Both kinds weigh the same, however many there are of each.

    Args:
        landmarks: [N, dim] float32, rows of length 1.
        others: [P, dim] float32, rows of length 1.

    Raises:
        ValueError: fewer than LEAST_IMAGES of either, descriptors of different lengths or not
            finite.
    """
    _check_kinds(landmarks, others)
    return _regress(landmarks, np.arange(len(landmarks)), others)


@dataclass(frozen=True, eq=False)
class CrossFittedHead:
    """A landmark head, and what it would be without some of the images that it learned from.

    Attributes:
        head: fitted on all landmarks.
        folds: FOLDS heads; the one at place k was fitted without the landmarks of row k, k + FOLDS
            and so on. Other photos of the same landmark may be in it, as a database has them of
            what it is asked about.

    Raises:
        ValueError: another number of folds, or heads over descriptors of different lengths.
    """

    head: LandmarkHead
    folds: tuple[LandmarkHead, ...]

    def __post_init__(self) -> None:
        """Check that all heads go together."""
        dims = {len(head.weights) for head in (self.head, *self.folds)}
        if len(self.folds) != FOLDS or len(dims) > 1:
            raise ValueError(
                f"{len(self.folds)} folds over descriptors of length {sorted(dims)}, expected "
                f"{FOLDS} of one length; fit the landmark head again"
            )

    def probability(
        self, vectors: NDArray[np.float32], rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return how likely each image shows a landmark [Q], by a head that did not learn from it.

        Args:
            vectors: [Q, dim] float32, rows of length 1.
            rows: [Q] the row of each among the landmarks of the fit, negative for images that are
                not among them; None where all shall be asked like such.

        Raises:
            ValueError: descriptors of another length.
        """
        probabilities = self.head.probability(vectors)
        if rows is not None:
            for fold, head in enumerate(self.folds):
                own = (rows >= 0) & (rows % FOLDS == fold)
                probabilities[own] = head.probability(vectors[own])
        return probabilities

    def to_json(self) -> dict[str, Any]:
        """Return plain values that from_json reads back, every digit of them."""
        return {"head": self.head.to_json(), "folds": [head.to_json() for head in self.folds]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Rebuild the heads. Raises KeyError for missing fields, ValueError for senseless ones."""
        folds = tuple(LandmarkHead.from_json(fold) for fold in values["folds"])
        return cls(LandmarkHead.from_json(values["head"]), folds)


def cross_fit(landmarks: NDArray[np.float32], others: NDArray[np.float32]) -> CrossFittedHead:
    """Fit a landmark head, and one without each of FOLDS parts of the landmarks.

    Every FOLDS-th image, not whole landmarks: photos that are asked show landmarks of the database.
    Measured, the share of probabilities of 1/2 and more among test photos of landmarks, and of the
    database by the head itself, by folds of images, by folds of landmarks: cartons .992, .994,
    .992, .869; the rendered city .822, .850, .830, .754.

    Args:
        landmarks: [N, dim] float32, rows of length 1.
        others: [P, dim] float32, rows of length 1.

    Raises:
        ValueError: as fit_landmark_head.
    """
    _check_kinds(landmarks, others)
    rows = np.arange(len(landmarks))
    folds = (_regress(landmarks, rows[rows % FOLDS != fold], others) for fold in range(FOLDS))
    return CrossFittedHead(_regress(landmarks, rows, others), tuple(folds))


def _check_kinds(landmarks: NDArray[np.float32], others: NDArray[np.float32]) -> None:
    for name, rows in (("landmarks", landmarks), ("others", others)):
        if len(rows) < LEAST_IMAGES:
            raise ValueError(
                f"{len(rows)} descriptors of {name}, expected {LEAST_IMAGES} or more; a landmark "
                "head needs images with and images without a landmark (non_landmark.csv)"
            )
    dim = landmarks.shape[1] if landmarks.ndim == 2 else 0
    _check_dim(landmarks, dim, "landmarks")
    _check_dim(others, dim, "others")


def _regress(
    landmarks: NDArray[np.float32], rows: NDArray[np.int64], others: NDArray[np.float32]
) -> LandmarkHead:
    """Fit a head on some rows of the landmarks and all others, or MOST_IMAGES of either."""
    # Takes a second to import that a query has no need of.
    from sklearn.linear_model import LogisticRegression

    landmarks = gather(landmarks, _thin(rows))
    others = gather(others, _thin(np.arange(len(others))))
    dim = landmarks.shape[1]
    # One factor for all dimensions: what is learned does not depend on how the space is turned.
    values = np.concatenate([landmarks, others]).astype(np.float64) * dim**0.5
    shows_landmark = np.arange(len(values)) < len(landmarks)
    regression: Any = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
    regression.fit(values, shows_landmark)
    return LandmarkHead(regression.coef_[0] * dim**0.5, float(regression.intercept_[0]))


def _thin(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most MOST_IMAGES rows, evenly spaced: tables mostly go landmark by landmark."""
    kept = min(len(rows), MOST_IMAGES)
    return rows[np.arange(kept) * len(rows) // max(kept, 1)]


def _check_dim(rows: NDArray[np.float32], dim: int, name: str) -> None:
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(
            f"{name} {rows.shape}, expected [N, {dim}]; take descriptors of one and the same model"
        )
