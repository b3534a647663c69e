"""Paint ornaments: clocks, rose windows, signs, ivy, posters, mosaics, stains.

Canvases and metres as in painting.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .materials import Color, Rng, jitter, noise, shade
from .painting import Canvas, dot, fill, outline, rect, stroke
from .raster import SOLID

FONTS = (
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SIMPLEX,
)


def clock(canvas: Canvas, rng: Rng, x: float, y: float, radius: float, *, face: Color) -> None:
    """Paint a clock about (x, y)."""
    at = np.array([x, y])
    rim = jitter(rng, (60, 120, 160), 0.2)
    for scale, color, alpha in ((1.15, rim, SOLID), (1.0, face, 235)):
        side = 2 * radius * scale
        fill(canvas, outline("round", x - side / 2, y - side / 2, side, side), color, alpha)
    ink: Color = (40, 34, 30)
    for hour in range(12):
        t = hour * np.pi / 6
        way = np.array([np.sin(t), -np.cos(t)])
        stroke(canvas, at + way * radius * 0.76, at + way * radius * 0.94, 0.1 * radius, ink)
    for reach, turn in ((0.5, rng.uniform(0, 6.28)), (0.8, rng.uniform(0, 6.28))):
        tip = at + reach * radius * np.array([np.sin(turn), -np.cos(turn)])
        stroke(canvas, at, tip, 0.08 * radius, ink)


def rose(canvas: Canvas, rng: Rng, x: float, y: float, radius: float, *, trim: Color) -> None:
    """Paint a rose window: rings of coloured petals about (x, y)."""
    for scale, color in ((1.18, trim), (1.06, shade(trim, 0.7)), (1.0, (52.0, 46.0, 44.0))):
        side = 2 * radius * scale
        fill(canvas, outline("round", x - side / 2, y - side / 2, side, side), color)
    petals = int(rng.choice([8, 10, 12, 16]))
    hues: Sequence[Color] = [
        jitter(rng, c, 0.3) for c in ((150, 70, 50), (60, 70, 160), (70, 150, 170))
    ]
    for ring, (inner, size) in enumerate(((0.28, 0.15), (0.6, 0.2), (0.86, 0.1))):
        for k in range(petals):
            t = 2 * np.pi * (k + 0.5 * ring) / petals
            cx, cy = x + radius * inner * np.sin(t), y - radius * inner * np.cos(t)
            side = 2 * radius * size * min(1.0, 8 / petals + 0.25)
            tint = hues[(k + ring) % 3]
            fill(canvas, outline("round", cx - side / 2, cy - side / 2, side, side), tint, 225)
    fill(
        canvas,
        outline("round", x - 0.12 * radius, y - 0.12 * radius, 0.24 * radius, 0.24 * radius),
        hues[1],
        225,
    )


def sign(
    canvas: Canvas,
    rng: Rng,
    text: str,
    box: tuple[float, float, float, float],
    board: Color,
    *,
    ink: Color,
) -> None:
    """Paint a board with lettering that fills it and shines at night."""
    x, y, w, h = box
    rect(canvas, x, y, w, h, color=board)
    rect(canvas, x, y + h - 0.06, w, 0.08, color=shade(board, 0.6))
    font = FONTS[int(rng.integers(0, len(FONTS)))]
    (wide, tall), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = min(0.9 * w * canvas.ppm / wide, 0.62 * h * canvas.ppm / tall)
    left = int((x + w / 2) * canvas.ppm - wide * scale / 2)
    base = int((y + h / 2) * canvas.ppm + tall * scale / 2)
    thick = max(1, round(scale * 2.2))
    cv2.putText(canvas.pixels, text, (left, base), font, scale, (*ink, 250), thick, cv2.LINE_AA)


def ivy(canvas: Canvas, rng: Rng, x: float, y: float, w: float) -> None:
    """Let ivy climb from the ground up to y, about w metres wide."""
    green = jitter(rng, (44, 96, 58), 0.12)
    for _ in range(int(110 * w)):
        up = rng.random() ** 1.4
        px = x + w * (rng.normal(0, 0.2 + 0.25 * (1 - up)))
        py = canvas.height - up * (canvas.height - y)
        dot(canvas, px, py, rng.uniform(0.07, 0.17), shade(green, rng.uniform(0.55, 1.35)))


def poster(canvas: Canvas, rng: Rng, box: tuple[float, float, float, float]) -> None:
    """Hang a poster, a mural or a banner of bold shapes."""
    x, y, w, h = box
    paper = jitter(
        rng,
        ((60, 70, 190), (170, 110, 50), (70, 170, 220), (225, 230, 232))[rng.integers(0, 4)],
        0.15,
    )
    rect(canvas, x, y, w, h, color=paper)
    for _ in range(7):
        color = jitter(rng, (120, 120, 130), 0.6)
        px, py = x + rng.random() * w * 0.8, y + rng.random() * h * 0.8
        pw, ph = rng.uniform(0.1, 0.5) * w, rng.uniform(0.05, 0.3) * h
        shape = ("round", "rect", "pointed", "arch")[int(rng.integers(0, 4))]
        inside = np.clip(outline(shape, px, py, pw, ph), (x, y), (x + w, y + h))
        fill(canvas, inside, color)


def mosaic(
    canvas: Canvas, rng: Rng, box: tuple[float, float, float, float], hues: Sequence[Color]
) -> None:
    """Lay a panel of small coloured squares in a smooth pattern of its own."""
    x, y, w, h = box
    rows, columns = max(2, int(h / 0.35)), max(2, int(w / 0.35))
    field = noise(rng, rows, columns, (8, 3)) + 0.35 * rng.standard_normal((rows, columns))
    rank: NDArray[np.int64] = np.digitize(field, [-0.9, -0.1, 0.8])
    for r in range(rows):
        for c in range(columns):
            color = shade(hues[int(rank[r, c]) % len(hues)], 0.85 + 0.3 * rng.random())
            rect(
                canvas,
                x + c * w / columns,
                y + r * h / rows,
                w / columns - 0.05,
                h / rows - 0.05,
                color=color,
            )


def weather_wall(canvas: Canvas, rng: Rng, strength: float) -> None:
    """Stain a wall: streaks under its top, damp at its foot, a gradient over its height."""
    h, w = canvas.pixels.shape[:2]
    streaks = cv2.resize(rng.standard_normal((4, max(w // 6, 2)), np.float32), (w, h))
    fade = np.linspace(1, 0.2, h, dtype=np.float32)[:, None]
    foot = np.exp(-np.linspace(h / canvas.ppm, 0, h, dtype=np.float32) / 0.9)[:, None]
    factor = 1 - strength * np.clip(streaks * fade, 0, 1.6) * 0.22 - 0.28 * foot
    part = canvas.pixels[..., :3]
    part[:] = np.clip(part * factor[..., None], 0, 255).astype(np.uint8)
