"""Make faces of solids: walls, prisms, frusta, domes, gabled roofs, columns, stairs, figures.

Footprints are [n, 2] float64 in metres, counter-clockwise seen from above, so that each side runs
from left to right for somebody who stands outside and the first side of a box is its front (-y).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .camera import Floats, cross
from .materials import Rng
from .raster import UNIT, Face, Texture


def rectangle(x: float, y: float, width: float, depth: float) -> Floats:
    """Give the footprint of a box about (x, y)."""
    w, d = width / 2, depth / 2
    return np.array([[x - w, y - d], [x + w, y - d], [x + w, y + d], [x - w, y + d]])


def ring(x: float, y: float, radius: float, sides: int, turn: float = 0.5) -> Floats:
    """Give a regular footprint about (x, y); with `turn` 0.5 a side faces the front."""
    t = -np.pi / 2 + (np.arange(sides) - turn) * 2 * np.pi / sides
    return np.stack([x + radius * np.cos(t), y + radius * np.sin(t)], 1)


def wall(
    a: Floats, b: Floats, z0: float, z1: float, texture: Texture, *, lamp: float = 1.0
) -> Face:
    """Raise a wall from point a to point b (left to right from outside) between two heights."""
    origin = np.array([a[0], a[1], z1])
    u = np.array([b[0] - a[0], b[1] - a[1], 0.0])
    return Face(origin, u, np.array([0.0, 0.0, z0 - z1]), texture, UNIT, lamp=lamp)


def panel(points: Floats, texture: Texture, rng: Rng | None = None, lamp: float = 1.0) -> Face:
    """Make a face of a planar convex polygon.

    Args:
        points: [n, 3] float64, the first edge is its bottom, counter-clockwise from outside.
        texture: is stretched over the bounding box of the polygon if there is no `rng`.
        rng: picks the place of the texture, at its true scale, that the polygon shows.
        lamp: see Face.
    """
    along = points[1] - points[0]
    along = along / np.linalg.norm(along)
    normal = cross(along, points[2] - points[1])
    normal = normal / np.linalg.norm(normal)
    down = cross(along, normal)
    flat = np.stack([(points - points[0]) @ along, (points - points[0]) @ down], 1)
    low, size = flat.min(0), np.ptp(flat, axis=0)
    scale = size
    start = np.zeros(2)
    if rng is not None:
        scale = np.maximum(np.asarray(texture.metres), size)
        start = rng.random(2) * (scale - size)
    polygon = (flat - low + start) / scale
    corner = points[0] + along * (low[0] - start[0]) + down * (low[1] - start[1])
    return Face(corner, along * scale[0], down * scale[1], texture, polygon, lamp=lamp)


def prism(
    footprint: Floats, z0: float, z1: float, sides: Sequence[Texture], top: Texture | None = None
) -> list[Face]:
    """Raise walls on a footprint; the textures repeat if there are fewer than sides."""
    ends = np.roll(footprint, -1, axis=0)
    faces = [
        wall(a, b, z0, z1, sides[k % len(sides)])
        for k, (a, b) in enumerate(zip(footprint, ends, strict=True))
    ]
    if top is not None:
        faces.append(panel(np.column_stack([footprint, np.full(len(footprint), z1)]), top))
    return faces


def frustum(
    low: Floats, high: Floats, z0: float, z1: float, texture: Texture, *, rng: Rng | None
) -> list[Face]:
    """Join two footprints of the same number of corners (they may shrink to a point or a line)."""
    faces = []
    for k in range(len(low)):
        n = (k + 1) % len(low)
        points = [(*low[k], z0), (*low[n], z0), (*high[n], z1), (*high[k], z1)]
        if np.linalg.norm(high[k] - high[n]) < 1e-6:
            points.pop()
        faces.append(panel(np.array(points), texture, rng, 0.8))
    return faces


def shrink(footprint: Floats, factor: float) -> Floats:
    """Scale a footprint about its centre."""
    centre = footprint.mean(0)
    return np.asarray(centre + (footprint - centre) * factor, np.float64)


def lathe(
    footprint: Floats, profile: Sequence[tuple[float, float]], texture: Texture, rng: Rng | None
) -> list[Face]:
    """Stack frusta: the profile has (scale of the footprint, height in metres), bottom to top."""
    faces: list[Face] = []
    for (s0, z0), (s1, z1) in itertools.pairwise(profile):
        if z1 > z0 + 1e-6 or abs(s0 - s1) > 1e-6:
            faces += frustum(shrink(footprint, s0), shrink(footprint, s1), z0, z1, texture, rng=rng)
    return faces


def dome_profile(kind: str, z: float, radius: float, height: float) -> list[tuple[float, float]]:
    """Give the profile of a cap for `lathe`: hemisphere, onion, cone, bell or stepped."""
    t = np.linspace(0, 1, 7)
    if kind == "hemisphere":
        scale, rise = np.cos(t * np.pi / 2), np.sin(t * np.pi / 2)
    elif kind == "onion":
        rise = np.array([0, 0.12, 0.26, 0.4, 0.55, 0.72, 1.0])
        scale = np.array([0.75, 1.05, 1.15, 1.0, 0.62, 0.25, 0.0])
    elif kind == "bell":
        rise = np.array([0, 0.1, 0.25, 0.45, 0.62, 0.8, 1.0])
        scale = np.array([1.1, 0.9, 0.75, 0.62, 0.4, 0.15, 0.0])
    elif kind == "cone":
        scale, rise = np.array([1.08, 0.0]), np.array([0.0, 1.0])
    else:
        raise ValueError(f"cap '{kind}'; expected hemisphere, onion, bell or cone")
    del radius
    return [(float(s), z + height * float(r)) for s, r in zip(scale, rise, strict=True)]


def gable_roof(
    box: tuple[float, float, float, float],
    z: float,
    rise: float,
    texture: Texture,
    gable: Texture,
    *,
    rng: Rng,
) -> list[Face]:
    """Cover the box (x, y, width, depth) with a roof whose gable looks to the front."""
    x, y, w, d = box
    eave = 0.4
    ax, bx, ay, by = x - w / 2, x + w / 2, y - d / 2, y + d / 2
    drop = z - eave * 2 * rise / w
    roof = [
        [(bx + eave, ay, drop), (bx + eave, by, drop), (x, by, z + rise), (x, ay, z + rise)],
        [(ax - eave, by, drop), (ax - eave, ay, drop), (x, ay, z + rise), (x, by, z + rise)],
    ]
    ends = [
        [(ax, ay, z), (bx, ay, z), (x, ay, z + rise)],
        [(bx, by, z), (ax, by, z), (x, by, z + rise)],
    ]
    slopes = [panel(np.array(p), texture, rng, 0.7) for p in roof]
    return slopes + [panel(np.array(p), gable) for p in ends]


def hip_roof(
    box: tuple[float, float, float, float], z: float, rise: float, texture: Texture, rng: Rng
) -> list[Face]:
    """Cover the box with a roof that has a ridge along its longer side."""
    x, y, w, d = box
    low = rectangle(x, y, w + 0.9, d + 0.9)
    inset = min(w, d) / 2
    high = rectangle(x, y, max(w - 2 * inset, 0.01), max(d - 2 * inset, 0.01))
    faces = []
    for k in range(4):
        n = (k + 1) % 4
        points = [(*low[k], z), (*low[n], z), (*high[n], z + rise), (*high[k], z + rise)]
        faces.append(panel(np.array(points), texture, rng, 0.7))
    return faces


def side_roof(
    box: tuple[float, float, float, float],
    z: float,
    rise: float,
    texture: Texture,
    gable: Texture,
    *,
    rng: Rng,
) -> list[Face]:
    """Cover the box with a roof whose slope looks to the front and gables to the sides."""
    x, y, w, d = box
    ax, bx, ay, by = x - w / 2, x + w / 2, y - d / 2 - 0.4, y + d / 2 + 0.4
    faces = [
        panel(np.array(p), texture, rng, 0.7)
        for p in (
            [(ax, ay, z), (bx, ay, z), (bx, y, z + rise), (ax, y, z + rise)],
            [(bx, by, z), (ax, by, z), (ax, y, z + rise), (bx, y, z + rise)],
        )
    ]
    for p in (
        [(bx, ay, z), (bx, by, z), (bx, y, z + rise)],
        [(ax, by, z), (ax, ay, z), (ax, y, z + rise)],
    ):
        faces.append(panel(np.array(p), gable))
    return faces


def columns(
    spots: Floats, z0: float, z1: float, radius: float, texture: Texture, *, capital: Texture
) -> list[Face]:
    """Set round columns with base and capital on spots [n, 2]."""
    faces: list[Face] = []
    for x, y in spots:
        shaft = ring(float(x), float(y), radius, 7)
        faces += prism(shaft, z0, z1 - radius, [texture])
        faces += prism(
            rectangle(float(x), float(y), 2.7 * radius, 2.7 * radius), z1 - radius, z1, [capital]
        )
    return faces


def stairs(
    box: tuple[float, float, float, float], steps: int, rise: float, texture: Texture
) -> list[Face]:
    """Build a flight around the box (x, y, width, depth): it widens towards the ground."""
    x, y, w, d = box
    faces: list[Face] = []
    for k in range(steps):
        grow = 0.8 * (steps - k)
        base = rectangle(x, y, w + grow, d + grow)
        faces += prism(base, k * rise, (k + 1) * rise, [texture], texture)
    return faces


def figure(
    x: float, y: float, z: float, height: float, texture: Texture, *, pose: int
) -> list[Face]:
    """Put up a statue: a cloaked body, a head, and an arm by its pose (0 to 3)."""
    base = ring(x, y, 0.2 * height, 8)
    body = [
        (1.0, z),
        (0.75, z + 0.25 * height),
        (0.55, z + 0.55 * height),
        (0.85, z + 0.72 * height),
        (0.3, z + 0.82 * height),
    ]
    faces = lathe(base, body, texture, None)
    head = ring(x, y, 0.09 * height, 8)
    faces += lathe(
        head,
        [
            (0.6, z + 0.8 * height),
            (1.0, z + 0.88 * height),
            (0.7, z + 0.97 * height),
            (0.01, z + height),
        ],
        texture,
        None,
    )
    side = 1 if pose % 2 else -1
    reach = np.array([x + side * 0.3 * height, y - 0.08 * height])
    tip = 0.62 if pose < 2 else 1.15
    arm_low, arm_high = (
        ring(x + side * 0.1 * height, y, 0.05 * height, 6),
        ring(float(reach[0]), float(reach[1]), 0.035 * height, 6),
    )
    low, high = z + 0.68 * height, z + tip * height
    faces += frustum(arm_low, arm_high, low, high, texture, rng=None) if high > low else []
    return faces
