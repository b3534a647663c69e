"""Light a frame: sun with cast shadows, sky, lit windows, floodlights and haze.

Shadows come from a map of what the sun sees of a scene, an orthographic depth buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera, Floats, Reals, cross
from .materials import Rng, noise
from .raster import EDGE_ON, HOLE, SHIFT, SOLID, Face, Frame, normals
from .weather import Weather, paint_sky, sun_direction

MAP_SIZE = 448  # pixels of a side of the shadow map
REACH = 46.0  # metres from the origin that the shadow map covers
GRAIN = 26.0  # pixels a metre of the fine grain of the ground
BIAS = 0.45  # metres: a surface this close to the lit one is lit, too
LAMP: Reals = np.array([96.0, 172.0, 236.0], np.float32)  # floodlight, blue, green, red
WINDOW: Reals = np.array([112.0, 196.0, 250.0], np.float32)  # light of windows


@dataclass(frozen=True, eq=False)
class ShadowMap:
    """What the sun sees.

    Attributes:
        basis: [3, 3] float64, rows: right, down and towards the sun, in the world.
        height: [S, S] float32, metres from the origin towards the sun of the nearest surface.
    """

    basis: Floats
    height: Reals


def shadow_map(faces: Sequence[Face], sun: Floats) -> ShadowMap:
    """Render what the sun sees of faces.

    Args:
        faces: what casts shadows.
        sun: [3] float64, unit vector towards the sun.
    """
    right = np.cross([0.0, 0.0, 1.0], sun)
    right /= np.linalg.norm(right)
    basis = np.stack([right, np.cross(sun, right), sun])
    empty = ShadowMap(basis, np.full((MAP_SIZE, MAP_SIZE), -1e3, np.float32))
    return add_shadows(empty, faces)


def add_shadows(map_: ShadowMap, faces: Sequence[Face]) -> ShadowMap:
    """Give a shadow map with more faces in it; the old one stays as it is."""
    out = ShadowMap(map_.basis, map_.height.copy())
    if not faces:
        return out
    scale = MAP_SIZE / (2 * REACH)
    vectors = np.array([(f.u, f.v, f.origin) for f in faces]).transpose(0, 2, 1)
    spans = np.matmul(map_.basis, vectors)
    lit = np.array([f.flat for f in faces])
    lit |= cross(vectors[:, :, 1], vectors[:, :, 0]) @ map_.basis[2] > 0
    maps = spans.copy()
    maps[:, :2] *= scale
    maps[:, :2, 2] += MAP_SIZE / 2
    maps[:, 2] = (0, 0, 1)
    lit &= np.abs(np.linalg.det(maps)) > EDGE_ON
    inverses = np.linalg.inv(np.where(lit[:, None, None], maps, np.eye(3)))
    for row in np.flatnonzero(lit):
        _cast(out.height, faces[int(row)], maps[row], inverses[row], spans[row, 2])
    return out


def _cast(height: Reals, face: Face, affine: Floats, inverse: Floats, depth: Floats) -> None:
    corners = face.polygon @ affine[:2, :2].T + affine[:2, 2]
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, MAP_SIZE)
    if x1 <= x0 or y1 <= y0:
        return
    a, b = depth[:2] @ inverse[:2, :2]
    c = depth[:2] @ inverse[:2, 2] + depth[2]
    plane = np.add.outer(b * np.arange(y0, y1) + c, a * np.arange(x0, x1)).astype(np.float32)
    window = np.s_[y0:y1, x0:x1]
    seen = np.zeros(plane.shape, np.uint8)
    fixed = np.round((corners - (x0, y0)) * (1 << SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(seen, fixed, 255, cv2.LINE_8, SHIFT)
    seen &= cv2.compare(plane, height[window], cv2.CMP_GT)
    if not face.texture.opaque:
        source = face.texture.levels[min(2, len(face.texture.levels) - 1)][..., 3]
        h, w = source.shape
        texel = np.diag([w, h, 1.0]) @ inverse @ np.array([[1.0, 0, x0], [0, 1, y0], [0, 0, 1]])
        alpha = cv2.warpAffine(
            np.ascontiguousarray(source),
            texel[:2],
            plane.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        seen[alpha <= HOLE] = 0
    cv2.copyTo(plane, seen, height[window])


def shade(
    frame: Frame,
    camera: Camera,
    faces: Sequence[Face],
    weather: Weather,
    shadows: ShadowMap,
    *,
    rng: Rng,
) -> Reals:
    """Light a frame and put the sky behind it.

    Args:
        frame: what the camera sees.
        camera: that drew it.
        faces: all faces, in the order of the rows of the frame.
        weather: the light.
        shadows: of the sun of this weather.
        rng: for the clouds.

    Returns:
        [H, W, 3] float32, 0 to 255 and a little more.
    """
    depth = np.reciprocal(np.maximum(frame.inverse_depth, np.float32(1e-4)))
    sunny, sky_share, lamps = _light_shares(frame, camera, faces, weather, shadows, depth=depth)
    shine = None
    if weather.glow > 0:
        shine = np.maximum(frame.color[..., 3].astype(np.float32) - SOLID, 0)
        shine *= weather.glow / (255 - SOLID)
    clear = np.exp(depth * np.float32(-1 / weather.haze))
    sky = paint_sky(camera, weather, rng)
    empty = frame.face < 0
    for k in range(3):
        light = sunny * np.float32(weather.sun[k] / 205)
        light += sky_share * np.float32(weather.ambient[k] / 205)
        if weather.flood > 0:
            light += lamps * (LAMP[k] / 205)
        color = frame.color[..., k].astype(np.float32)
        light *= color
        if shine is not None:
            light += shine * (0.6 * WINDOW[k] + 0.4 * color - light)
        light -= weather.horizon[k]
        light *= clear
        light += weather.horizon[k]
        sky[..., k] = np.where(empty, sky[..., k], light)
    return sky


def _light_shares(
    frame: Frame,
    camera: Camera,
    faces: Sequence[Face],
    weather: Weather,
    shadows: ShadowMap,
    *,
    depth: Reals,
) -> tuple[Reals, Reals, Reals]:
    """Say how much of the sun, the sky and the floodlights reaches each pixel: [H, W] each."""
    sun = sun_direction(weather)
    outward = normals(faces)
    flat = np.array([f.flat for f in faces])
    facing = np.where(flat, 0.55, np.clip(outward @ sun, 0, 1))
    # Walls that look down or away get less of the sky; give each side a tone even in the shade.
    open_sky = np.where(flat, 0.95, 0.78 + 0.22 * outward[:, 2] - 0.08 * outward[:, 0])
    sunny, sky_share, lamps = (
        np.append(column, 0.0).astype(np.float32).take(frame.face, mode="wrap")
        for column in (facing, open_sky, [f.lamp for f in faces])
    )
    lit = _lit(camera, depth, shadows)
    # A cut-out crosses the one that casts its shadow: it would be half dark.
    lit[np.append(flat, False).take(frame.face, mode="wrap")] = 1.0
    sunny *= lit
    if weather.flood > 0:
        height = _plane(camera, camera.rotation.T[2], camera.position[2], depth)
        lamps *= weather.flood * (0.25 + 0.95 * np.exp(np.maximum(height, 0) * np.float32(-1 / 13)))
    grain = _ground_grain(frame, camera, depth)
    return sunny * grain, sky_share * grain, lamps


def _ground_grain(frame: Frame, camera: Camera, depth: Reals) -> Reals:
    """Give the ground, face 0, a fine grain near the camera: [H, W] float32, about 1."""
    grain = np.ones(depth.shape, np.float32)
    mask = frame.face == 0
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return grain
    part = np.s_[int(rows[0]) :]
    x, y = (
        _plane(camera, camera.rotation.T[k], camera.position[k], depth)[part] * np.float32(GRAIN)
        for k in range(2)
    )
    tile = noise(np.random.default_rng(1), 256, 256, (10, 3, 1))
    tile = np.asarray(cv2.remap(tile, x % 256, y % 256, cv2.INTER_LINEAR))
    fade = np.minimum(np.float32(9) / depth[part], 1) * np.float32(0.07)
    grain[part] += np.where(mask[part], tile * fade, 0)
    return grain


def _plane(camera: Camera, axis: Floats, offset: float, depth: Reals) -> Reals:
    """Give one world coordinate of all pixels: [H, W] float32 (`axis` in camera coordinates)."""
    a, b, c = axis @ np.linalg.inv(camera.intrinsics)
    rays = np.add.outer(
        (b * np.arange(camera.height) + c).astype(np.float32),
        (a * np.arange(camera.width)).astype(np.float32),
    )
    return np.asarray(rays * depth + np.float32(offset), np.float32)


def _lit(camera: Camera, depth: Reals, shadows: ShadowMap) -> Reals:
    """Say how much of the sun each pixel gets: [H, W] float32 in 0 to 1."""
    scale = MAP_SIZE / (2 * REACH)
    x, y, toward = (
        _plane(camera, camera.rotation @ axis, float(axis @ camera.position), depth)
        for axis in shadows.basis
    )
    x, y = x * scale + MAP_SIZE / 2, y * scale + MAP_SIZE / 2
    top = cv2.remap(
        shadows.height, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(-1e3,)
    )
    lit = (np.asarray(top) < toward + BIAS).astype(np.float32)
    return np.asarray(cv2.blur(lit, (5, 5)), np.float32)
