"""Apply a planar transform to points, and judge whether two photos can be related by it.

Knows nothing of matches or of how the transform was found. Reads and writes no files.
"""

import math
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
    mapped: Floats = points @ transform[:2, :2].T + transform[:2, 2]
    if not transform[2, :2].any() and transform[2, 2] == 1:
        return mapped  # affine, as most are: half the time
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
    (left, top), (right, bottom) = inliers.min(axis=0).tolist(), inliers.max(axis=0).tolist()
    rows = transform.tolist()
    # In plain numbers: of four small matrices numpy takes ten times as long.
    return all(
        _is_plausible_at(x, y, *rows)
        for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
    )


def _is_plausible_at(
    x: float, y: float, row0: list[float], row1: list[float], row2: list[float]
) -> bool:
    """Say whether the derivative of a transform, of these rows, is plausible at one point."""
    depth = row2[0] * x + row2[1] * y + row2[2]
    if depth <= 1e-9:
        return False
    mapped = [(row[0] * x + row[1] * y + row[2]) / depth for row in (row0, row1)]
    # Derivative of (a x / depth).
    a, b, c, d = (
        (row[axis] - to * row2[axis]) / depth
        for row, to in zip((row0, row1), mapped, strict=True)
        for axis in (0, 1)
    )
    determinant = a * d - b * c
    if not determinant > 0:
        return False
    # Singular values: their product is the determinant, their squares sum up to that of a to d.
    total, gap = math.hypot(a + d, b - c), math.hypot(a - d, b + c)
    largest, least = (total + gap) / 2, (total - gap) / 2
    return (
        largest <= MAXIMUM_SCALE
        and least >= 1 / MAXIMUM_SCALE
        and largest <= MAXIMUM_ANISOTROPY * least
    )
