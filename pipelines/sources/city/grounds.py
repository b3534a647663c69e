"""Paint the ground, and what stands at the horizon."""

from __future__ import annotations

import cv2
import numpy as np

from . import painting
from .materials import Color, Rng, jitter, noise
from .painting import Canvas
from .raster import SOLID, Texture
from .sprites import blank, blob


def hills(rng: Rng, kind: str) -> Texture:
    """Paint a far range: mountains with snow, wooded hills, or a skyline of blocks."""
    canvas = blank(400.0, 60.0, 2.4, (150, 130, 116))
    h, w = canvas.pixels.shape[:2]
    grains = (200, 60, 14, 4) if kind == "mountains" else (260, 90, 8)
    line = np.zeros(w, np.float32)
    for k, grain in enumerate(grains):
        line += noise(rng, 2, w, (grain,))[0] * np.float32(0.42**k)
    if kind == "skyline":
        steps = np.repeat(rng.uniform(0.1, 0.75, w // 9 + 1) ** 1.5, 9)[:w]
        ridge = h * (1 - steps)
    else:
        ridge = h * (0.5 - (0.14 if kind == "mountains" else 0.08) * line)
    y = np.arange(h)[:, None]
    inside = y > ridge[None]
    body: Color = {
        "mountains": (128.0, 112.0, 104.0),
        "hills": (86.0, 110.0, 84.0),
        "skyline": (142.0, 132.0, 130.0),
    }[kind]
    tone = 1 + 0.16 * noise(rng, h, w, (40, 12, 4))
    canvas.pixels[..., :3] = np.clip(np.asarray(body) * tone[..., None], 0, 255).astype(np.uint8)
    if kind == "mountains":
        snow = (y < ridge[None] + h * (0.1 + 0.05 * noise(rng, h, w, (12, 4)))) & (
            ridge[None] < 0.5 * h
        )
        canvas.pixels[snow, :3] = (236, 230, 226)
    if kind == "skyline":
        lights = rng.random((h // 3 + 1, w // 3 + 1)).repeat(3, 0).repeat(3, 1)[:h, :w]
        canvas.pixels[lights < 0.2, :3] = (110, 100, 96)
        canvas.pixels[..., 3] = np.where(inside, np.where(lights < 0.1, 230, SOLID), 0)
    else:
        canvas.pixels[..., 3] = np.where(inside, SOLID, 0)
    return canvas.texture()


def ground(rng: Rng, kind: str, size: float, ppm: float) -> Texture:
    """Paint the ground: paved in a pattern, asphalt, lawn with a path, sand, or water.

    Args:
        rng: is used up.
        kind: plaza, street, lawn, sand or water.
        size: metres of a side.
        ppm: pixels a metre.
    """
    n = round(size * ppm)
    base: dict[str, Color] = {
        "plaza": (146.0, 158.0, 166.0),
        "street": (112.0, 110.0, 108.0),
        "lawn": (62.0, 122.0, 92.0),
        "sand": (150.0, 190.0, 214.0),
        "water": (140.0, 112.0, 70.0),
    }
    color = np.asarray(jitter(rng, base[kind], 0.07), np.float32)
    grains = (64, 12, 3) if kind != "water" else (40, 8)
    tone = 1 + (0.05 if kind != "lawn" else 0.1) * noise(rng, n, n, grains)
    if kind == "water":
        ripple = cv2.resize(rng.standard_normal((n // 2, n // 9), np.float32), (n, n))
        tone += 0.11 * ripple
    pixels = np.full((n, n, 4), SOLID, np.uint8)
    pixels[..., :3] = np.clip(color * tone[..., None], 0, 255).astype(np.uint8)
    canvas = Canvas(pixels, ppm)
    if kind == "plaza":
        _paving(canvas, rng)
    elif kind == "street":
        _road(canvas, rng)
    elif kind == "lawn":
        path = jitter(rng, (150, 176, 190), 0.06)
        wide = rng.uniform(3, 7)
        middle = size / 2
        way = np.array(
            [
                [middle - wide, size],
                [middle - wide / 2, 0],
                [middle + wide / 2, 0],
                [middle + wide, size],
            ]
        )
        painting.fill(canvas, way, path)
        for _ in range(160):
            x, y = rng.random(2) * size
            if abs(x - middle) > wide + 1:
                bloom = ((70, 210, 235), (235, 235, 240), (200, 120, 200))[int(rng.integers(0, 3))]
                blob(canvas, x, y, 0.1, bloom)
    return canvas.texture()


def _paving(canvas: Canvas, rng: Rng) -> None:
    size, step = canvas.width, rng.uniform(2.2, 4.0)
    tile = rng.uniform(0.86, 1.12, (int(size / step) + 1, int(size / step) + 1))
    for r in range(len(tile)):
        for c in range(len(tile)):
            painting.dim(
                canvas, c * step, r * step, step - 0.12, step - 0.12, factor=float(tile[r, c])
            )
    dark = tuple(float(v) for v in canvas.pixels[:2, :2, :3].mean((0, 1)) * 0.7)
    for radius in np.arange(8, 0.5 * size, rng.uniform(7, 11)):
        centre = round(size / 2 * canvas.ppm)
        cv2.circle(
            canvas.pixels,
            (centre, centre),
            round(float(radius) * canvas.ppm),
            (*dark, SOLID),
            max(1, round(0.5 * canvas.ppm)),
            16,
        )


def _road(canvas: Canvas, rng: Rng) -> None:
    size = canvas.width
    painting.rect(canvas, 0, 0, size, 0.34 * size, color=(140, 148, 154))
    painting.rect(canvas, 0, 0.34 * size, size, 0.35, color=(170, 172, 174))
    lane = 0.34 * size + rng.uniform(5, 8)
    for k in range(int(size / 5)):
        painting.rect(canvas, 5 * k, lane, 2.6, 0.25, color=(206, 210, 212))
    cross = rng.uniform(0.25, 0.7) * size
    for k in range(10):
        painting.rect(canvas, cross, 0.36 * size + 1.2 * k, 3.6, 0.6, color=(206, 210, 212))
