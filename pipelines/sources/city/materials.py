"""Sheets of building material: stone, brick, plaster, timber, tiles, metal, glass, paving.

Every stone has a colour and a size of its own, so that two sheets with different generators share
no detail a local feature could confuse. Functions take and return arrays; no geometry.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import Bytes, Floats, Reals

Color = tuple[float, float, float]  # blue, green, red, 0 to 255
Rng = np.random.Generator


def noise(rng: Rng, height: int, width: int, grains: tuple[int, ...] = (96, 24, 6)) -> Reals:
    """Make smooth noise of several grains.

    Args:
        rng: is used up.
        height: pixels.
        width: pixels.
        grains: size of the blobs in pixels, each of the same weight.

    Returns:
        [height, width] float32 of mean about 0 and deviation about 1.
    """
    total = np.zeros((height, width), np.float32)
    for grain in grains:
        small = rng.standard_normal((height // grain + 2, width // grain + 2), np.float32)
        total += np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.asarray(total * (1.3 / np.sqrt(len(grains))), np.float32)


def _finish(base: Reals, rng: Rng, grain: float) -> Bytes:
    """Add dirt and grain to an [h, w, 3] float32 image and round it."""
    h, w = base.shape[:2]
    # A quarter of random numbers, tiled, costs a quarter: nobody sees the repeat of the grain.
    fine = np.tile(rng.standard_normal((h // 2 + 1, w // 2 + 1), np.float32), (2, 2))[:h, :w]
    dirt = 1 + 0.045 * noise(rng, h, w, (128, 32)) + grain * fine
    return np.clip(base * dirt[..., None], 0, 255).astype(np.uint8)


def _cuts(rng: Rng, total: int, low: float, high: float) -> NDArray[np.int64]:
    """Cut `total` pixels in pieces of low to high pixels: the cell number of each pixel."""
    sizes = rng.uniform(low, high, int(total / low) + 2)
    return np.searchsorted(np.cumsum(sizes), np.arange(total), side="right")


def masonry(
    rng: Rng,
    size: int,
    color: Color,
    *,
    course: tuple[float, float],
    length: tuple[float, float],
    spread: float,
    joint: float = 0.72,
) -> Bytes:
    """Lay courses of stones.

    Args:
        rng: is used up.
        size: pixels, of both sides.
        color: mean colour of a stone.
        course: lowest and highest course, pixels.
        length: shortest and longest stone, pixels.
        spread: deviation of the brightness from stone to stone, relative.
        joint: brightness of the joints, relative to the stones.

    Returns:
        [size, size, 3] uint8.
    """
    row = _cuts(rng, size, *course)
    cells = np.stack([_cuts(rng, size, *length) for _ in range(int(row[-1]) + 1)])
    ids = (np.arange(len(cells))[:, None] * 997 + cells)[row]
    table = rng.standard_normal((4096, 4)).astype(np.float32)
    tint = (1 + spread * table[:, :1]) * (1 + 0.25 * spread * table[:, 1:])
    base = (tint * np.asarray(color, np.float32)).take(ids % 4096, axis=0)
    edge = np.zeros((size, size), bool)
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edge[1:] |= ids[1:] != ids[:-1]
    relief = np.where(edge, np.float32(joint), np.float32(1))
    relief[1:][edge[:-1] & ~edge[1:]] = 1.07
    base *= relief[..., None]
    return _finish(base, rng, 0.03)


def stone(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Lay ashlar of irregular courses; `ppm` is pixels a metre."""
    low = rng.uniform(0.3, 0.45) * ppm
    return masonry(
        rng, size, color, course=(low, 1.8 * low), length=(1.2 * low, 4 * low), spread=0.085
    )


def rubble(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Lay small stones of very different colours; `ppm` is pixels a metre."""
    return masonry(
        rng,
        size,
        color,
        course=(0.18 * ppm, 0.4 * ppm),
        length=(0.2 * ppm, 0.8 * ppm),
        spread=0.17,
        joint=0.66,
    )


def brick(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Lay bricks, larger than life so that a photo still resolves them."""
    side = 0.17 * ppm
    sheet = masonry(
        rng, size, color, course=(side, side * 1.05), length=(2 * side, 2.6 * side), spread=0.12
    )
    patches = noise(rng, size, size, (64,))[..., None]
    return np.clip(sheet * (1 + 0.06 * np.sign(patches)), 0, 255).astype(np.uint8)


def plaster(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Spread plaster with stains, patches of repair and hairline cracks."""
    base = np.full((size, size, 3), color, np.float32)
    base *= 1 + 0.035 * noise(rng, size, size, (90, 30, 10, 4))[..., None]
    worn = (noise(rng, size, size, (70, 14, 5)) > 2.1)[..., None]
    base = np.where(worn, base * 0.55 + 60, base).astype(np.float32)
    for _ in range(size // 40):
        walk = np.cumsum(rng.normal((0, 0.1 * ppm), 0.16 * ppm, (9, 2)), axis=0)
        points = (rng.uniform(0, size, 2) + walk).astype(np.int32)
        shade = tuple(float(c) * 0.74 for c in color)
        cv2.polylines(base, [points], False, shade, 1, cv2.LINE_AA)
    return _finish(base, rng, 0.022)


def timber(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Frame plaster with dark beams: posts, rails, and braces in an irregular pattern."""
    sheet = plaster(rng, size, color, ppm)
    beam = max(2, int(0.16 * ppm))
    xs = np.unique(np.append(np.flatnonzero(np.diff(_cuts(rng, size, ppm, 2 * ppm))), size))
    ys = np.unique(np.append(np.flatnonzero(np.diff(_cuts(rng, size, 1.3 * ppm, 2 * ppm))), size))
    shade = (38.0 + rng.uniform(0, 14), 52.0 + rng.uniform(0, 12), 78.0)
    for y0, y1 in itertools.pairwise(ys):
        cv2.line(sheet, (0, int(y1)), (size, int(y1)), shade, beam, cv2.LINE_AA)
        for x0, x1 in itertools.pairwise(xs):
            ends = [((x0, y0), (x1, y1)), ((x1, y0), (x0, y1)), ((x0, y0), (x0, y1))]
            picked = (2, *rng.choice(2, int(rng.choice([0, 0, 1, 2], p=None)), replace=False))
            for k in picked:
                (ax, ay), (bx, by) = ends[int(k)]
                cv2.line(sheet, (int(ax), int(ay)), (int(bx), int(by)), shade, beam, cv2.LINE_AA)
    return sheet


def tiles(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Cover with rows of roof tiles or slates."""
    side = 0.3 * ppm
    return masonry(
        rng,
        size,
        color,
        course=(side, side * 1.1),
        length=(side, side * 1.4),
        spread=0.13,
        joint=0.6,
    )


def metal(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Cover with sheets of metal (copper, lead, gold) that have standing seams and streaks."""
    sheet = masonry(
        rng,
        size,
        color,
        course=(1.0 * ppm, 1.7 * ppm),
        length=(0.5 * ppm, 0.8 * ppm),
        spread=0.05,
        joint=0.74,
    )
    streaks = np.asarray(cv2.resize(rng.standard_normal((6, size // 5), np.float32), (size, size)))
    return np.clip(sheet * (1 + 0.07 * streaks[..., None]), 0, 255).astype(np.uint8)


def glass(rng: Rng, size: int, color: Color, ppm: float) -> Bytes:
    """Set panes of a curtain wall, each with a tint and a slanted reflection of its own."""
    return masonry(
        rng,
        size,
        color,
        course=(1.5 * ppm, 1.6 * ppm),
        length=(0.9 * ppm, 1.5 * ppm),
        spread=0.16,
        joint=0.45,
    )


MATERIALS: dict[str, Callable[[Rng, int, Color, float], Bytes]] = {
    "stone": stone,
    "rubble": rubble,
    "brick": brick,
    "plaster": plaster,
    "timber": timber,
    "tiles": tiles,
    "metal": metal,
    "glass": glass,
}


def cut(sheet: Bytes, rng: Rng, height: int, width: int) -> Bytes:
    """Cut a piece at a random place, wrapping around: [height, width, 4] uint8, opaque."""
    y, x = (int(v) for v in rng.integers(0, sheet.shape[0], 2))
    rows = sheet.take(np.arange(y, y + height), axis=0, mode="wrap")
    piece = np.full((height, width, 4), 160, np.uint8)
    piece[..., :3] = rows.take(np.arange(x, x + width), axis=1, mode="wrap")
    return piece


def shade(color: Color, factor: float) -> Color:
    """Make a colour lighter or darker."""
    b, g, r = (float(min(c * factor, 255.0)) for c in color)
    return b, g, r


def jitter(rng: Rng, color: Color, spread: float) -> Color:
    """Vary a colour: `spread` is the relative deviation."""
    varied: Floats = np.clip(np.asarray(color) * (1 + spread * rng.standard_normal(3)), 8, 250)
    return float(varied[0]), float(varied[1]), float(varied[2])
