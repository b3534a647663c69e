"""Verify the matches of two images: find the transform that most of them agree on.

Knows nothing of descriptors or labels. Reads and writes no files.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .planar import is_plausible, project
from .settings import Model

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# One more than determines the model: fewer always agree, which proves nothing.
MINIMUM_MATCHES: dict[Model, int] = {"similarity": 3, "affine": 4, "homography": 5}
# Thresholds count pixels of an image resized to this longer side.
REFERENCE_SIDE = 512.0
# Inliers must spread by this fraction of the threshold across their narrowest direction.
MINIMUM_SPREAD = 0.25
# So many are found by chance, and show nothing: of 100 photos of offices the best of 100 photos of
# groceries had 5 by an affine transform or a similarity, 6 by a homography, and none had more
# (tests/benchmarks/bench_chance.py).
CHANCE_INLIERS = 6


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
        residual: median distance of the inliers from where the transform puts them, in pixels of
            the candidate at a longer side of 512; nan without a transform.

    Raises:
        ValueError: a shape or dtype is wrong, there are inliers without a transform or a transform
            without inliers, or the residual is not what the transform asks for.
    """

    matches: npt.NDArray[np.int64]
    inliers: Bools
    transform: Floats | None
    residual: float

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
            if self.inliers.any() or not math.isnan(self.residual):
                raise ValueError(
                    f"{self.n_inliers} inliers and residual {self.residual}, but no transform they "
                    "agree with; expected 0 and nan"
                )
            return
        if self.transform.shape != (3, 3) or not np.isfinite(self.transform).all():
            raise ValueError(f"transform must be [3, 3] and finite, is {self.transform}")
        if not self.inliers.any() or not 0 <= self.residual < math.inf:
            raise ValueError(
                f"a transform with {self.n_inliers} inliers and residual {self.residual}; expected "
                "at least 1 and a finite number of pixels >= 0"
            )

    @property
    def n_inliers(self) -> int:
        """Inliers at distinct locations."""
        return int(self.inliers.sum())


def is_verified(inliers: int | None) -> bool:
    """Tell whether two photos have more inliers than chance gives; None is not compared."""
    return inliers is not None and inliers > CHANCE_INLIERS


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
    nothing = Verification(matches, np.zeros(len(matches), np.bool_), None, math.nan)
    if len(matches) < MINIMUM_MATCHES[model]:
        return nothing
    order = np.lexsort((matches[:, 1], matches[:, 0]))
    factor0, factor1 = REFERENCE_SIDE / max(image_size0), REFERENCE_SIDE / max(image_size1)
    points0 = keypoints0[matches[order, 0]].astype(np.float64) * factor0
    points1 = keypoints1[matches[order, 1]].astype(np.float64) * factor1
    transform = _estimate(
        points0, points1, model, threshold=threshold_px, iterations=max_iterations, seed=seed
    )
    # Half of the transforms found by chance mirror: there is no need to look at their inliers.
    if transform is None or np.linalg.det(transform) < 1e-9:
        return nothing
    distance = _lengths(project(transform, points0) - points1)
    agree = np.flatnonzero(distance <= threshold_px)
    back = project(np.linalg.inv(transform), points1[agree]) - points0[agree]
    agree = agree[_lengths(back) <= threshold_px]
    for points in (points0, points1):
        agree = agree[_distinct_locations(points[agree], threshold_px / 2)]
    if not _is_convincing(transform, points0[agree], points1[agree], model, threshold_px):
        return nothing
    inliers = np.zeros(len(matches), np.bool_)
    inliers[order[agree]] = True
    original = np.diag([1 / factor1, 1 / factor1, 1.0]) @ transform
    original = original @ np.diag([factor0, factor0, 1.0])
    residuals = np.sort(distance[agree])
    median = (residuals[(len(agree) - 1) // 2] + residuals[len(agree) // 2]) / 2
    return Verification(matches, inliers, original, float(median))


def _estimate(
    points0: Floats, points1: Floats, model: Model, *, threshold: float, iterations: int, seed: int
) -> Floats | None:
    """Return the [3, 3] transform of a robust estimator, or None."""
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


def _lengths(vectors: Floats) -> Floats:
    """Return the lengths [M] of vectors [M, 2]; numpy's own takes three times as long for few."""
    x, y = vectors.T
    return np.asarray(np.sqrt(x * x + y * y))


def _distinct_locations(points: Floats, cell: float) -> npt.NDArray[np.intp]:
    """Return the first row of each square cell that [M, 2] points fall into, ascending."""
    x, y = np.floor(points / cell).T
    # Both in one number, which sorts ten times faster than pairs do: exact up to 2^26 cells.
    cells = x * 2.0**27 + y
    order = np.argsort(cells, kind="stable")
    repeated = np.zeros(len(order), np.bool_)
    repeated[order[1:]] = np.diff(cells[order]) == 0
    return np.flatnonzero(~repeated)


def _is_convincing(
    transform: Floats, inliers0: Floats, inliers1: Floats, model: Model, threshold: float
) -> bool:
    """Say whether the inliers are enough, spread out, and related as two photos can be."""
    if len(inliers0) < MINIMUM_MATCHES[model]:
        return False
    spread = min(_narrowest_spread(inliers0), _narrowest_spread(inliers1))
    return spread >= MINIMUM_SPREAD * threshold and is_plausible(transform, inliers0)


def _narrowest_spread(points: Floats) -> float:
    """Return the standard deviation of [M, 2] points across the line that fits them best."""
    x, y = (points - points.sum(axis=0) / len(points)).T
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    # Smaller eigenvalue of the scatter matrix [[xx, xy], [xy, yy]].
    smaller = (xx + yy - math.hypot(xx - yy, 2 * xy)) / 2
    return math.sqrt(max(smaller, 0.0) / len(points))
