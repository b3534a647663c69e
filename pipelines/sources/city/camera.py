"""A pinhole camera: where it stands, how the world projects into its image.

World: metres, x to the right of somebody who faces the landmark, y away from them, z up.
Image: (x, y) pixels, centre of the top-left pixel = (0, 0). Knows nothing of textures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Reals: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera that stands at `position` and looks along the third row of `rotation`.

    Attributes:
        position: [3] float64, metres.
        rotation: [3, 3] float64, rows: right, down and forward of the image in the world.
        focal: focal length in pixels.
        width: pixels.
        height: pixels.
    """

    position: Floats
    rotation: Floats
    focal: float
    width: int
    height: int

    @property
    def intrinsics(self) -> Floats:
        """Give K: [3, 3] float64, camera coordinates to homogeneous pixels."""
        f, x, y = self.focal, (self.width - 1) / 2, (self.height - 1) / 2
        return np.array([[f, 0, x], [0, f, y], [0, 0, 1.0]])

    @property
    def projection(self) -> Floats:
        """Give P = K [R | -R c]: [3, 4] float64; the third coordinate is the depth in metres."""
        left = self.intrinsics @ self.rotation
        return np.column_stack([left, -left @ self.position])

    def project(self, points: Floats) -> Floats:
        """Project points.

        Args:
            points: [N, 3] float64, metres, in front of the camera.

        Returns:
            [N, 2] float64, (x, y) pixels.
        """
        homogeneous = points @ self.projection[:, :3].T + self.projection[:, 3]
        return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:], np.float64)


def cross(a: Floats, b: Floats) -> Floats:
    """Give the cross products of rows: [..., 3] float64 (np.cross costs ten times as much)."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    out[..., 0] = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    out[..., 1] = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    out[..., 2] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return out


def look_at(
    position: Floats, target: Floats, focal: float, size: tuple[int, int], roll: float = 0.0
) -> Camera:
    """Make the camera at `position` that has `target` in the centre of its image.

    Args:
        position: [3] float64, metres.
        target: [3] float64, metres, not straight above or below the position.
        focal: pixels.
        size: (width, height) in pixels.
        roll: radians, clockwise rotation of the camera about its axis.
    """
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    rows = np.stack([c * right + s * down, c * down - s * right, forward])
    return Camera(np.asarray(position, np.float64), rows, focal, size[0], size[1])
