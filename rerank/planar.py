"""Apply a planar transform to points, and judge whether two photos can be related by it.

Knows nothing of matches or of how the transform was found. Reads and writes no files.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Both images have a longer side of 512: beyond a zoom of 8, matches are chance.
MAXIMUM_SCALE = 8.0
# A facade seen at 75 degrees is four times narrower than seen from the front.
MAXIMUM_ANISOTROPY = 4.0


def project(transform: npt.NDArray[np.floating[Any]], points: Floats) -> Floats:
    """Map points by a homography.

    Args:
        transform: [3, 3] float64.
        points: [M, 2] float64, (x, y).

    Returns:
        [M, 2] float64; rows that the transform sends to infinity or behind the plane are inf.
    """
    mapped = points @ transform[:2, :2].T + transform[:2, 2]
    depth = points @ transform[2, :2] + transform[2, 2]
    front = depth > 1e-9
    out = np.full_like(points, np.inf)
    out[front] = mapped[front] / depth[front, None]
    return out


def is_plausible(transform: Floats, inliers: Floats) -> bool:
    """Say whether a transform could relate two photos of one thing, around its inliers.

    At the corners of the inliers' bounding box the transform must keep the points in front (so the
    box stays convex), must not mirror, must not scale any direction by more than 8 or less than
    1/8, and must not stretch one direction more than 4 times as much as another.

    Args:
        transform: [3, 3] float64, between images of comparable size.
        inliers: [M, 2] float64, M >= 1, (x, y) of the inliers in the first image.
    """
    (left, top), (right, bottom) = inliers.min(axis=0), inliers.max(axis=0)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    mapped = project(transform, corners)
    if not np.isfinite(mapped).all():
        return False
    depth = corners @ transform[2, :2] + transform[2, 2]
    # Derivative of (a x / depth): [4, 2, 2].
    jacobians = transform[:2, :2] - mapped[:, :, None] * transform[2, :2]
    jacobians /= depth[:, None, None]
    if not (np.linalg.det(jacobians) > 0).all():
        return False
    stretch = np.linalg.svd(jacobians, compute_uv=False)
    return bool(
        stretch.max() <= MAXIMUM_SCALE
        and stretch.min() >= 1 / MAXIMUM_SCALE
        and (stretch[:, 0] <= MAXIMUM_ANISOTROPY * stretch[:, 1]).all()
    )
