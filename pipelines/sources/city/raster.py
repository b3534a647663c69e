"""Draw textured planar faces into a frame with a depth buffer.

A face is a convex polygon in a plane that carries a texture, so that texture and image are related
by a homography H = P [u v origin], and the third row of H^-1 gives the inverse depth as a linear
function of the pixel. Both are exact: no subdivision is needed. Light is applied later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import Bytes, Camera, Floats, Reals, cross

NEAR = 0.4  # metres: what is closer to the camera is cut away
SOLID = 160  # alpha of an opaque texel; above, up to 255: it shines at night; below half: a hole
HOLE = 80  # alpha under which a texel is a hole
UNIT = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
EDGE_ON = 1e-9  # determinant below which a face is seen edge-on
SHIFT = 4  # fractional bits of the polygon corners that OpenCV fills


@dataclass(frozen=True, eq=False)
class Texture:
    """An image and its halved copies.

    Attributes:
        levels: [h, w, 4] uint8 each, blue, green, red, alpha (see SOLID), ever smaller.
        metres: (width, height) the first level covers in the world.
        opaque: no texel is a hole.
    """

    levels: tuple[Bytes, ...]
    metres: tuple[float, float]
    opaque: bool


@dataclass(frozen=True, eq=False)
class Face:
    """A convex polygon in the plane origin + a u + b v, with a in texture widths, b in heights.

    Attributes:
        origin: [3] float64, metres, top-left corner of the texture.
        u: [3] float64, metres, from the left to the right edge of the texture.
        v: [3] float64, metres, from the top to the bottom edge.
        texture: what is painted on it.
        polygon: [n, 2] float64, corners in texture units, n at most 8.
        flat: whether it is a cut-out that turns to the camera: two-sided, evenly lit.
        lamp: how much of the floodlights at night it receives, 0 to 1.
    """

    origin: Floats
    u: Floats
    v: Floats
    texture: Texture
    polygon: Floats
    flat: bool = False
    lamp: float = 0.0


def normals(faces: Sequence[Face]) -> Floats:
    """Give the outward unit normals of faces: [N, 3] float64."""
    out = cross(np.array([f.v for f in faces]), np.array([f.u for f in faces]))
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), np.float64)


@dataclass(frozen=True, eq=False)
class Frame:
    """What the camera sees before light.

    Attributes:
        color: [H, W, 4] uint8, as in Texture.
        inverse_depth: [H, W] float32, 1/metres along the axis of the camera, 0 where nothing is.
        face: [H, W] int16, row of the face that is seen, -1 where nothing is.
    """

    color: Bytes
    inverse_depth: Reals
    face: NDArray[np.int16]


def build_texture(pixels: Bytes, metres: tuple[float, float]) -> Texture:
    """Make the halved copies of an image, down to 16 pixels.

    Args:
        pixels: [h, w, 4] uint8.
        metres: (width, height) it covers.
    """
    levels = [np.ascontiguousarray(pixels)]
    while min(levels[-1].shape[:2]) >= 32:
        h, w = levels[-1].shape[:2]
        smaller = cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8))
    return Texture(tuple(levels), metres, bool(pixels[..., 3].min() >= HOLE))


def new_frame(width: int, height: int) -> Frame:
    """Make an empty frame."""
    return Frame(
        np.zeros((height, width, 4), np.uint8),
        np.zeros((height, width), np.float32),
        np.full((height, width), -1, np.int16),
    )


def draw(frame: Frame, camera: Camera, faces: Sequence[Face], first: int = 0) -> None:
    """Draw faces into the frame; what is nearer wins, whatever the order.

    Args:
        frame: is changed.
        camera: of the size of the frame.
        faces: at most 32767 with `first`.
        first: row number of the first of the faces.
    """
    if not faces:
        return
    maps = texture_maps(camera.projection, faces)
    # A face seen edge-on has no inverse; it is not drawn.
    size = np.abs(np.linalg.det(maps))
    inverses = np.linalg.inv(np.where((size > EDGE_ON)[:, None, None], maps, np.eye(3)))
    last = np.array([len(f.polygon) for f in faces])
    polygons = np.array([np.resize(f.polygon, (8, 2)) for f in faces])
    corners = np.concatenate([polygons, np.ones((len(faces), 8, 1))], 2) @ maps.transpose(0, 2, 1)
    drawn = facing(camera.position, faces) & (size > EDGE_ON) & (corners[..., 2].max(1) > NEAR)
    with np.errstate(divide="ignore", invalid="ignore"):
        outlines = corners[..., :2] / corners[..., 2:]
    whole = corners[..., 2].min(1) > NEAR
    limits = np.array([camera.width, camera.height])
    drawn &= ~whole | ((outlines.max(1) > 0) & (outlines.min(1) < limits)).all(1)
    for row in np.flatnonzero(drawn):
        face, outline = faces[int(row)], outlines[row, : last[row]]
        if not whole[row]:
            clipped = _clip_near(corners[row, : last[row]])
            if len(clipped) < 3:
                continue
            outline = clipped[:, :2] / clipped[:, 2:]
        _draw_face(frame, face, inverses[row], outline, first + int(row))


def texture_maps(projection: Floats, faces: Sequence[Face]) -> Floats:
    """Give for each face the homography of texture units to pixels: [N, 3, 3] float64."""
    vectors = np.array([(f.u, f.v, f.origin) for f in faces]).transpose(0, 2, 1)
    maps = projection[:, :3] @ vectors
    maps[:, :, 2] += projection[:, 3]
    return np.asarray(maps, np.float64)


def facing(position: Floats, faces: Sequence[Face]) -> NDArray[np.bool_]:
    """Say which faces turn their front to a position: [N] bool (flat faces always do)."""
    u, v, origin = (np.array([getattr(f, k) for f in faces]) for k in ("u", "v", "origin"))
    front = np.einsum("ij,ij->i", cross(v, u), position - origin) > 0
    return np.asarray(front | np.array([f.flat for f in faces]), np.bool_)


def _clip_near(corners: Floats) -> Floats:
    """Cut a homogeneous polygon at the near plane (Sutherland and Hodgman)."""
    kept: list[Floats] = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a[2] >= NEAR:
            kept.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            kept.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
    return np.array(kept)


def _draw_face(frame: Frame, face: Face, inverse: Floats, outline: Floats, row: int) -> None:
    height, width = frame.face.shape
    low = np.floor(outline.min(0)).astype(int)
    high = np.ceil(outline.max(0)).astype(int) + 1
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), width), min(int(high[1]), height)
    if x1 <= x0 or y1 <= y0:
        return
    a, b, c = inverse[2]
    near = np.add.outer(
        (b * np.arange(y0, y1) + c).astype(np.float32), (a * np.arange(x0, x1)).astype(np.float32)
    )
    window = np.s_[y0:y1, x0:x1]
    seen = np.zeros((y1 - y0, x1 - x0), np.uint8)
    fixed = np.round((outline - (x0, y0)) * (1 << SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(seen, fixed, 255, cv2.LINE_8, SHIFT)
    seen &= cv2.compare(near, frame.inverse_depth[window], cv2.CMP_GT)
    if not seen.any():
        return
    texels = _sample(face, inverse, outline, (x0, y0, x1, y1))
    if not face.texture.opaque:
        seen[texels[..., 3] <= HOLE] = 0
    cv2.copyTo(texels, seen, frame.color[window])
    cv2.copyTo(near, seen, frame.inverse_depth[window])
    frame.face[window][seen > 0] = row


def _sample(face: Face, inverse: Floats, outline: Floats, box: tuple[int, int, int, int]) -> Bytes:
    """Warp the fitting level of the texture into a box of the image."""
    x0, y0, x1, y1 = box
    levels = face.texture.levels
    h, w = levels[0].shape[:2]
    area = max(_area(outline), 1.0)
    texels = _area(face.polygon) * h * w
    # Half a level finer than isotropic: oblique faces keep detail, supersampling hides the rest.
    level = int(np.clip(0.5 * np.log2(max(texels / area, 1.0)) + 0.35, 0, len(levels) - 1))
    source = levels[level]
    h, w = source.shape[:2]
    to_texel = np.array([[w, 0, -0.5], [0, h, -0.5], [0, 0, 1.0]]) @ inverse
    to_texel = to_texel @ np.array([[1.0, 0, x0], [0, 1.0, y0], [0, 0, 1.0]])
    texels_ = cv2.warpPerspective(
        source,
        to_texel,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(texels_, np.uint8)


def _area(polygon: Floats) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
