"""Tell in which part of a photo its inliers lie, and whether that is another part than before.

Arrays in, arrays out.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from .geometry import Verification, is_verified

# Of the inliers of a further thing that may lie within the hulls of those before it.
MAX_SHARED = 0.25

Box = tuple[int, int, int, int]
Points = npt.NDArray[np.float32]


def inlier_points(keypoints0: Points, found: Verification) -> Points:
    """Return where the inliers of a verification lie in the query, [I, 2] (x, y) pixels."""
    points: Points = keypoints0[found.matches[found.inliers, 0]]
    return points


def convex_hull(points: Points) -> Points:
    """Return the corners [H, 2] of the smallest convex polygon around points [I, 2], I > 0."""
    return np.asarray(cv2.convexHull(points)[:, 0], dtype=np.float32)


def bounding_box(points: Points) -> Box:
    """Return left, top, right, bottom of points [I, 2] (x, y), I > 0, in whole pixels."""
    left, top = np.floor(points.min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(points.max(axis=0)).astype(int).tolist()
    return left, top, right, bottom


def mark_within(points: Points, hulls: Sequence[Points]) -> npt.NDArray[np.bool_]:
    """Mark [I] the points [I, 2] that lie in any of the hulls, or on its border."""
    return np.array(
        [
            any(cv2.pointPolygonTest(hull, (x, y), False) >= 0 for hull in hulls)
            for x, y in points.tolist()
        ],
        dtype=np.bool_,
    )


def is_apart(points: Points, hulls: Sequence[Points]) -> bool:
    """Tell whether inliers [I, 2] show something in another part of the photo than the hulls.

    Those outside of the hulls must be more than chance gives, and all but MAX_SHARED of them:
    look-alikes of a thing are verified on the thing itself, and little beyond it.
    """
    outside = int((~mark_within(points, hulls)).sum())
    return is_verified(outside) and outside >= (1 - MAX_SHARED) * len(points)
