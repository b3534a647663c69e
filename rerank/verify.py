"""Verify the candidates of a query image: match their local features, then ask geometry.

Knows nothing of files, labels or ranking. Reads and writes no files.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .features import LocalFeatures
from .geometry import Verification, verify_matches
from .matching import match_mutual
from .settings import RerankSettings


def verify_candidates(
    query: LocalFeatures, candidates: Sequence[LocalFeatures], settings: RerankSettings
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
        ValueError: descriptors of different dim.
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
    settings: RerankSettings,
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
    )
