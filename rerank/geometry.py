"""Verify the matches of two images: find the transform that most of them agree on.

Knows nothing of descriptors or labels. Reads and writes no files.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from .planar import is_plausible, project

Model = Literal["similarity", "affine", "homography"]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# One more than determines the model: fewer always agree, which proves nothing.
MINIMUM_MATCHES: dict[Model, int] = {"similarity": 3, "affine": 4, "homography": 5}
# Thresholds count pixels of an image resized to this longer side.
REFERENCE_SIDE = 512.0
# Inliers must spread by this fraction of the threshold across their narrowest direction.
MINIMUM_SPREAD = 0.25


@dataclass(frozen=True, eq=False)
class Verification:
    """What geometry says about the matches of a query image and one candidate.

    Attributes:
        matches: [M, 2] int64, row of the query's features, row of the candidate's.
        inliers: [M] bool, True where a match agrees with the transform; of matches at the same
            location in either image at most one is True.
        transform: [3, 3] float64 from the query's pixels to the candidate's, (x, y) of the
            original images, centre of the top-left pixel = (0, 0); [2, 2] is 1. None where no
            plausible transform was found; then no match is an inlier.

    Raises:
        ValueError: a shape or dtype is wrong, or there are inliers without a transform.
    """

    matches: npt.NDArray[np.int64]
    inliers: Bools
    transform: Floats | None

    def __post_init__(self) -> None:
        """Check every field."""
        m = len(self.inliers)
        if self.matches.shape != (m, 2) or self.matches.dtype != np.int64:
            raise ValueError(
                f"matches are {self.matches.dtype} {self.matches.shape}, expected int64 ({m}, 2)"
            )
        if self.inliers.shape != (m,) or self.inliers.dtype != np.bool_:
            raise ValueError(f"inliers are {self.inliers.dtype} {self.inliers.shape}, not bool [M]")
        if self.transform is None:
            if self.inliers.any():
                raise ValueError(f"{self.n_inliers} inliers, but no transform they agree with")
        elif self.transform.shape != (3, 3) or not np.isfinite(self.transform).all():
            raise ValueError(f"transform must be [3, 3] and finite, is {self.transform}")

    @property
    def n_inliers(self) -> int:
        """Inliers at distinct locations."""
        return int(self.inliers.sum())


def verify_matches(
    keypoints0: npt.NDArray[np.float32],
    keypoints1: npt.NDArray[np.float32],
    matches: npt.NDArray[np.int64],
    *,
    image_size0: tuple[int, int],
    image_size1: tuple[int, int],
    model: Model = "affine",
    threshold_px: float = 8.0,
    max_iterations: int = 1000,
    seed: int = 0,
) -> Verification:
    """Find the transform that most matches agree on, and which of them do.

    Images of different resolution are treated alike: keypoints are first scaled as if each image
    had a longer side of 512 pixels. A match is an inlier if it lies within threshold_px of where
    the transform puts it, in both images. Matches whose keypoints share a cell of half the
    threshold, in either image, count once. The result does not depend on the order of matches.

    No transform is given where fewer than 3 (similarity), 4 (affine) or 5 (homography) inliers
    remain, where they lie on a line, or where the transform mirrors, squeezes or scales more than
    a photo of the same thing can (`planar.is_plausible`).

    Args:
        keypoints0: [N0, 2] float32, (x, y) pixels of the query image.
        keypoints1: [N1, 2] float32, (x, y) pixels of the candidate image.
        matches: [M, 2] int64, rows of keypoints0 and keypoints1.
        image_size0: (width, height) of the query image in pixels.
        image_size1: (width, height) of the candidate image in pixels.
        model: affine suits most photos; similarity is stricter, homography looser.
        threshold_px: tolerance in pixels at a longer side of 512.
        max_iterations: samples drawn at most.
        seed: of the samples; 'similarity' has a seed of its own, fixed in OpenCV.

    Returns:
        The matches in the order given, with their inliers and the transform.

    Raises:
        ValueError: the model is unknown or threshold_px is not positive.

    Source: Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020,
    in OpenCV's USAC; 'similarity', which USAC lacks, by OpenCV's plain RANSAC.
    """
    if model not in MINIMUM_MATCHES:
        raise ValueError(f"unknown model '{model}', expected one of {list(MINIMUM_MATCHES)}")
    if not threshold_px > 0:
        raise ValueError(f"threshold_px {threshold_px} must be > 0")
    order = np.lexsort((matches[:, 1], matches[:, 0]))
    factor0, factor1 = REFERENCE_SIDE / max(image_size0), REFERENCE_SIDE / max(image_size1)
    points0 = keypoints0[matches[order, 0]].astype(np.float64) * factor0
    points1 = keypoints1[matches[order, 1]].astype(np.float64) * factor1
    inliers = np.zeros(len(matches), np.bool_)
    transform = _estimate(points0, points1, model, threshold_px, max_iterations, seed)
    if transform is None:
        return Verification(matches, inliers, None)
    agree = _inliers(points0, points1, transform, threshold_px)
    inside0, inside1 = points0[agree], points1[agree]
    spread = MINIMUM_SPREAD * threshold_px
    if (
        len(inside0) < MINIMUM_MATCHES[model]
        or min(_narrowest_spread(inside0), _narrowest_spread(inside1)) < spread
        or not is_plausible(transform, inside0)
    ):
        return Verification(matches, inliers, None)
    inliers[order] = agree
    original = np.diag([1 / factor1, 1 / factor1, 1.0]) @ transform
    return Verification(matches, inliers, original @ np.diag([factor0, factor0, 1.0]))


def _estimate(
    points0: Floats, points1: Floats, model: Model, threshold: float, iterations: int, seed: int
) -> Floats | None:
    """Return the [3, 3] transform of a robust estimator, or None."""
    if len(points0) < MINIMUM_MATCHES[model]:
        return None
    found: Any  # OpenCV's stubs do not say that it may be None
    if model == "similarity":
        found, _ = cv2.estimateAffinePartial2D(
            points0,
            points1,
            method=cv2.RANSAC,
            ransacReprojThreshold=threshold,
            maxIters=iterations,
            confidence=0.999,
        )
    else:
        solve = cv2.estimateAffine2D if model == "affine" else cv2.findHomography
        found, _ = solve(points0, points1, _usac(threshold, iterations, seed))
    if found is None or not np.isfinite(found).all():
        return None
    transform = np.eye(3)
    transform[: len(found)] = found
    return transform


def _usac(threshold: float, iterations: int, seed: int) -> cv2.UsacParams:
    params = cv2.UsacParams()
    params.threshold = threshold
    params.maxIterations = iterations
    params.confidence = 0.999
    params.randomGeneratorState = seed
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.isParallel = False  # threads would make the result differ between runs
    return params


def _inliers(points0: Floats, points1: Floats, transform: Floats, threshold: float) -> Bools:
    """Return [M] bool: within the threshold in both images, one match a location."""
    if abs(np.linalg.det(transform)) < 1e-9:
        return np.zeros(len(points0), np.bool_)
    forward = np.linalg.norm(project(transform, points0) - points1, axis=1)
    backward = np.linalg.norm(project(np.linalg.inv(transform), points1) - points0, axis=1)
    rows = np.flatnonzero((forward <= threshold) & (backward <= threshold))
    for points in (points0, points1):
        cells = np.floor(points[rows] / (threshold / 2))
        _, first = np.unique(cells, axis=0, return_index=True)
        rows = rows[np.sort(first)]
    agree = np.zeros(len(points0), np.bool_)
    agree[rows] = True
    return agree


def _narrowest_spread(points: Floats) -> float:
    """Return the standard deviation of [M, 2] points across the line that fits them best."""
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return float(singular[-1] / np.sqrt(len(points)))
