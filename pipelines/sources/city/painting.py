"""Paint what a wall carries: windows, doors, cornices, clocks, signs, ivy, posters, stains.

A canvas is an [h, w, 4] uint8 texture (see raster.SOLID) with a number of pixels a metre;
places and sizes are in metres from its top-left corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Bytes, Floats
from .materials import Color, Rng, jitter, shade
from .raster import SOLID, Texture, build_texture

SHIFT = 3


@dataclass(frozen=True, eq=False)
class Canvas:
    """A texture that is being painted: [h, w, 4] uint8 and its pixels a metre."""

    pixels: Bytes
    ppm: float

    @property
    def width(self) -> float:
        """Give the width in metres."""
        return float(self.pixels.shape[1] / self.ppm)

    @property
    def height(self) -> float:
        """Give the height in metres."""
        return float(self.pixels.shape[0] / self.ppm)

    def texture(self) -> Texture:
        """Finish it."""
        return build_texture(self.pixels, (self.width, self.height))


@dataclass(frozen=True)
class Window:
    """How the windows of a floor look."""

    shape: str  # rect, arch, pointed or round
    columns: int  # panes side by side
    rows: int  # panes above one another
    surround: Color
    frame: Color
    shutters: Color | None = None
    pediment: bool = False
    sill: bool = True
    balcony: bool = False


def fill(canvas: Canvas, points: Floats, color: Color, alpha: int = SOLID) -> None:
    """Fill a polygon: points [n, 2] metres."""
    fixed = np.round(points * (canvas.ppm * (1 << SHIFT))).astype(np.int32)
    cv2.fillPoly(canvas.pixels, [fixed], (*color, alpha), cv2.LINE_AA, SHIFT)


def rect(
    canvas: Canvas, x: float, y: float, w: float, h: float, *, color: Color, alpha: int = SOLID
) -> None:
    """Fill a rectangle."""
    x0, y0, x1, y1 = (round(v * canvas.ppm) for v in (x, y, x + w, y + h))
    canvas.pixels[max(y0, 0) : max(y1, y0 + 1, 0), max(x0, 0) : max(x1, x0 + 1, 0)] = (
        *color,
        alpha,
    )


def dim(canvas: Canvas, x: float, y: float, w: float, h: float, *, factor: float) -> None:
    """Darken or lighten a rectangle and keep its texture."""
    x0, y0, x1, y1 = (max(round(v * canvas.ppm), 0) for v in (x, y, x + w, y + h))
    part = canvas.pixels[y0:y1, x0:x1, :3]
    part[:] = np.clip(part * factor, 0, 255).astype(np.uint8)


def outline(shape: str, x: float, y: float, w: float, h: float) -> Floats:
    """Give the outline of an opening: [n, 2] float64, metres."""
    if shape == "round":
        t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        return np.stack([x + w / 2 + w / 2 * np.cos(t), y + h / 2 + h / 2 * np.sin(t)], 1)
    if shape == "arch":
        t = np.linspace(np.pi, 2 * np.pi, 13)
        rise = min(w / 2, h)
        top = np.stack([x + w / 2 + w / 2 * np.cos(t), y + rise + rise * np.sin(t)], 1)
    elif shape == "pointed":
        t = np.linspace(0, np.pi / 3, 7)
        rise = min(0.87 * w, h)
        left = np.stack([x + w - w * np.cos(t), y + rise - rise * np.sin(t) / 0.866], 1)
        top = np.vstack([left, left[-2::-1] * (-1, 1) + (2 * x + w, 0)])
    else:
        top = np.array([[x, y], [x + w, y]])
    return np.vstack([top, [[x + w, y + h], [x, y + h]]])


def window(canvas: Canvas, rng: Rng, look: Window, box: tuple[float, float, float, float]) -> None:
    """Paint a window with its surround, panes, curtains, and perhaps a light inside.

    Args:
        canvas: is changed.
        rng: makes each window differ a little.
        look: what the windows of this floor have in common.
        box: x, y, width and height of the glass in metres.
    """
    x, y, w, h = box
    rim = 0.14 * min(w, 1.6) + 0.05
    fill(canvas, outline(look.shape, x - rim, y - rim, w + 2 * rim, h + 1.5 * rim), look.surround)
    lit = rng.random() < 0.55
    tone = rng.uniform(0.6, 1.5)
    pane: Color = (74 * tone, 64 * tone, 52 * tone)
    hole = outline(look.shape, x, y, w, h)
    fill(canvas, hole, pane, 255 if lit else SOLID)
    _curtains(canvas, rng, look, box, lit)
    _bars(canvas, look, box)
    if look.shape == "rect":
        dim(canvas, x, y, w, min(0.16, h / 6), factor=0.55)
    if look.shutters is not None:
        for side in (x - rim - 0.42 * w, x + w + rim):
            _shutter(canvas, look.shutters, (side, y, 0.42 * w, h), rng.random() < 0.9)
    if look.sill:
        rect(canvas, x - 1.4 * rim, y + h, w + 2.8 * rim, 0.13, color=shade(look.surround, 1.1))
        dim(canvas, x - 1.4 * rim, y + h + 0.13, w + 2.8 * rim, 0.12, factor=0.7)
    if look.pediment:
        tip = np.array(
            [[x - 2 * rim, y - rim], [x + w / 2, y - 3.6 * rim], [x + w + 2 * rim, y - rim]]
        )
        fill(canvas, tip, shade(look.surround, 0.94))
        dim(canvas, x - rim, y - rim, w + 2 * rim, 0.1, factor=0.72)
    if look.balcony:
        _balcony(canvas, rng, box)


def _curtains(
    canvas: Canvas, rng: Rng, look: Window, box: tuple[float, float, float, float], lit: bool
) -> None:
    x, y, w, h = box
    kind = int(rng.integers(0, 5))
    cloth = jitter(rng, (170, 180, 190), 0.15)
    alpha = 230 if lit else SOLID
    low = y + (0.45 * h if look.shape != "rect" else 0.02)
    if kind == 0:  # a blind that is half down
        rect(
            canvas,
            x + 0.04,
            low,
            w - 0.08,
            rng.uniform(0.15, 0.5) * (y + h - low),
            color=cloth,
            alpha=alpha,
        )
    elif kind == 1:
        for side in (x + 0.04, x + w * 0.78):
            rect(canvas, side, low, w * 0.18, y + h - low, color=cloth, alpha=alpha)
    elif kind == 2:  # reflection of the sky
        slope = rng.uniform(0.2, 0.8)
        shine = np.array([[x, low], [x + w * slope, low], [x + w * slope * 0.4, y + h], [x, y + h]])
        fill(canvas, shine, (150, 135, 116), alpha)


def _bars(canvas: Canvas, look: Window, box: tuple[float, float, float, float]) -> None:
    x, y, w, h = box
    bar = 0.07
    top = y + (0.12 * h if look.shape != "rect" else 0.0)
    for k in range(1, look.columns):
        rect(canvas, x + w * k / look.columns - bar / 2, top, bar, y + h - top, color=look.frame)
    for k in range(1, look.rows):
        rect(canvas, x, y + h * k / look.rows, w, bar, color=look.frame)
    edge = np.round(outline(look.shape, x, y, w, h) * (canvas.ppm * (1 << SHIFT))).astype(np.int32)
    ink = (*look.frame, SOLID)
    cv2.polylines(canvas.pixels, [edge], True, ink, max(1, round(0.07 * canvas.ppm)), 16, SHIFT)


def _shutter(
    canvas: Canvas, color: Color, box: tuple[float, float, float, float], whole: bool
) -> None:
    x, y, w, h = box
    rect(canvas, x, y, w, h, color=color)
    for k in range(int(h / 0.22) if whole else 2):
        rect(canvas, x + 0.08 * w, y + 0.1 + k * 0.22, 0.84 * w, 0.05, color=shade(color, 0.7))


def _balcony(canvas: Canvas, rng: Rng, box: tuple[float, float, float, float]) -> None:
    x, y, w, h = box
    iron: Color = (46, 44, 42)
    left, wide, top = x - 0.4, w + 0.8, y + h - 0.8
    for k in range(int(wide / 0.22)):
        rect(canvas, left + 0.22 * k, top, 0.06, 0.9, color=iron)
    rect(canvas, left, top, wide, 0.08, color=iron)
    rect(canvas, left - 0.1, y + h + 0.06, wide + 0.2, 0.16, color=(150, 156, 160))
    dim(canvas, left - 0.1, y + h + 0.22, wide + 0.2, 0.25, factor=0.65)
    if rng.random() < 0.5:
        flowers(canvas, rng, (left, top - 0.15, wide, 0.4))


def flowers(canvas: Canvas, rng: Rng, box: tuple[float, float, float, float]) -> None:
    """Plant a flower box."""
    x, y, w, h = box
    bloom = ((70, 60, 210), (190, 120, 220), (60, 190, 235), (235, 235, 240))[rng.integers(0, 4)]
    for _ in range(int(w * 16)):
        px, py = x + rng.random() * w, y + rng.random() * h
        color = jitter(rng, bloom if rng.random() < 0.45 else (48, 105, 62), 0.15)
        dot(canvas, px, py, rng.uniform(0.05, 0.11), color)


def dot(canvas: Canvas, x: float, y: float, radius: float, color: Color) -> None:
    """Fill a small circle."""
    centre = (round(x * canvas.ppm), round(y * canvas.ppm))
    cv2.circle(canvas.pixels, centre, max(1, round(radius * canvas.ppm)), (*color, SOLID), -1, 16)


def door(
    canvas: Canvas, rng: Rng, look: Window, box: tuple[float, float, float, float], leaf: Color
) -> None:
    """Paint a door of two leaves with panels under its surround."""
    x, y, w, h = box
    rim = 0.12 * w + 0.1
    for k, tone in ((1.0, 1.0), (0.6, 0.86), (0.25, 1.06)):
        fill(
            canvas,
            outline(look.shape, x - k * rim, y - k * rim, w + 2 * k * rim, h + k * rim),
            shade(look.surround, tone),
        )
    fill(canvas, outline(look.shape, x, y, w, h), leaf)
    low = y + (0.0 if look.shape == "rect" else 0.4 * h)
    for side in (0, 1):
        for k in range(3):
            tall = (y + h - low) / 3
            box_ = (x + w * (0.06 + 0.5 * side), low + k * tall + 0.12, w * 0.38, tall - 0.2)
            rect(canvas, *box_, color=shade(leaf, 0.72 + 0.1 * rng.random()))
    rect(canvas, x + w / 2 - 0.03, y + 0.05, 0.06, h, color=shade(leaf, 0.5))


def band(canvas: Canvas, y: float, h: float, color: Color, *, teeth: float = 0.0) -> None:
    """Paint a cornice across the canvas; `teeth` is the distance of its dentils in metres."""
    rect(canvas, 0, y, canvas.width, h, color=color)
    rect(canvas, 0, y, canvas.width, 0.25 * h, color=shade(color, 1.12))
    dim(canvas, 0, y + h, canvas.width, 0.6 * h, factor=0.66)
    if teeth > 0:
        for k in range(int(canvas.width / teeth) + 1):
            rect(canvas, k * teeth, y + 0.45 * h, teeth / 2, 0.55 * h, color=shade(color, 0.72))


def stroke(canvas: Canvas, a: Floats, b: Floats, wide: float, color: Color) -> None:
    """Draw a straight line between two points in metres."""
    ends = [(round(float(p[0]) * canvas.ppm), round(float(p[1]) * canvas.ppm)) for p in (a, b)]
    ink = (*color, SOLID)
    cv2.line(canvas.pixels, ends[0], ends[1], ink, max(1, round(wide * canvas.ppm)), 16)
