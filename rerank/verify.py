"""Verify the candidates of a query image: match their local features, then ask geometry.

Knows nothing of files, labels or ranking. Reads and writes no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .features import LocalFeatures
from .geometry import Model, Verification, verify_matches
from .matching import match_mutual


@dataclass(frozen=True)
class GeometrySettings:
    """How matches are verified; the limits are checked where they are used."""

    model: Model = "affine"  # what relates two photos: 'similarity', 'affine' or 'homography'
    threshold_px: float = 8.0  # tolerance of an inlier, pixels at a longer side of 512
    max_iterations: int = 1000  # samples of the robust estimator a candidate
    seed: int = 0  # of those samples


@dataclass(frozen=True)
class VerifySettings(GeometrySettings):
    """How candidates are matched and verified; the limits are checked where they are used.

    Measured as area under the ROC curve of the inlier count, of 150 photos of shelves against 4 of
    the same product, the 4 nearest of others, and 4 of any: .71 against the nearest, .85 against
    any. Ratios of .8 to .95 and thresholds of 4 to 12 change it by .01, no ratio but a distance of
    .7 costs .01 and .03, 'similarity' costs .02 and nothing, 'homography' nothing and .03. To
    weight inliers by their residual or their share of the matches gains nothing.
    """

    max_ratio: float = 0.85  # Lowe's ratio, distance to nearest / second nearest; 1 = off
    max_distance: float = 2.0  # of unit descriptors, 0 to 2; 2 = off


def verify_candidates(
    query: LocalFeatures, candidates: Sequence[LocalFeatures], settings: VerifySettings
) -> list[Verification]:
    """Match a query against each candidate and keep what one transform explains.

    A candidate's result depends on the query and on that candidate alone.

    Args:
        query: features of the query image (0).
        candidates: features of the database images (1), from the same extractor.
        settings: how to match and to verify.

    Returns:
        One record a candidate, in their order.

    Raises:
        ValueError: descriptors of different dim, or a setting is out of its range.
    """
    found = match_mutual(
        query.descriptors,
        [candidate.descriptors for candidate in candidates],
        max_ratio=settings.max_ratio,
        max_distance=settings.max_distance,
    )
    return [
        verify_pair(query, candidate, matches, settings)
        for candidate, matches in zip(candidates, found, strict=True)
    ]


def verify_pair(
    query: LocalFeatures,
    candidate: LocalFeatures,
    matches: npt.NDArray[np.int64],
    settings: GeometrySettings,
) -> Verification:
    """Keep what one transform explains of the matches [M, 2] of a query and one candidate."""
    return verify_matches(
        query.keypoints,
        candidate.keypoints,
        matches,
        image_size0=query.image_size,
        image_size1=candidate.image_size,
        model=settings.model,
        threshold_px=settings.threshold_px,
        max_iterations=settings.max_iterations,
        seed=settings.seed,
    )
