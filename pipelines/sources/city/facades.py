"""Compose facades: floors and bays of windows, cornices, doors, gates, ornaments, signs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import ornaments, painting
from .camera import Floats
from .materials import Color, jitter, shade
from .painting import Canvas
from .raster import Texture
from .workshop import Workshop


def facade(
    shop: Workshop,
    width: float,
    height: float,
    *,
    floors: int,
    bays: int,
    shape: str | None = None,
    door: bool = False,
    gate: tuple[float, float] | None = None,
    ornate: float = 0.6,
    part: str = "wall",
) -> Texture:
    """Compose a facade of floors and bays with cornices, ornaments and stains.

    Args:
        shop: the building.
        width: metres.
        height: metres.
        floors: rows of windows.
        bays: columns of windows; the detail may change it by one.
        shape: of the windows.
        door: whether there is a door in the middle of the ground floor.
        gate: width and height of an open arch in the middle.
        ornate: 0 to 1, how many ornaments.
        part: material of the wall.
    """
    rng = shop.detail
    canvas = shop.canvas(part, width, height)
    foot = min(0.9, 0.08 * height)
    low = shop.canvas("base", width, foot)
    canvas.pixels[-low.pixels.shape[0] :] = low.pixels
    ornaments.weather_wall(canvas, rng, 0.8)
    edges = _rhythm(shop, width, bays)
    top = height - (0.3 + foot)
    room = (top - 0.7) / max(floors, 1)
    if bays > 2 and rng.random() < 0.5 * ornate + 0.2:
        _pilasters(shop, canvas, edges, (0.5, top))
    for floor in range(floors):
        y = 0.7 + floor * room
        skip = bool(door or gate) and floor == floors - 1
        _floor(shop, canvas, edges, (y, room), shape, skip=skip, ornate=ornate)
        if floor and rng.random() < 0.7:
            painting.band(canvas, y - 0.22, 0.22, shop.palette.trim)
    if door:
        _door(shop, canvas, room, foot)
    painting.band(canvas, 0.0, 0.5, shop.palette.trim, teeth=float(rng.choice([0.0, 0.4, 0.6])))
    if gate is not None:
        _gate(shop, canvas, gate)
    if rng.random() < 0.3 * ornate:
        ornaments.ivy(canvas, rng, rng.choice([0.1, 0.9]) * width, 0.35 * height, 0.18 * width)
    return canvas.texture()


def _rhythm(shop: Workshop, width: float, bays: int) -> Floats:
    """Cut a width in bays of unequal size, mostly symmetric: [bays + 1] float64, metres."""
    rng = shop.detail
    bays = max(1, bays + (int(rng.integers(-1, 2)) if bays > 3 else 0))
    weights = rng.choice([1.0, 1.0, 1.0, 1.35], bays)
    weights = weights + weights[::-1] if rng.random() < 0.75 else 2 * weights
    edges = np.concatenate([[0.0], np.cumsum(weights)]) / weights.sum()
    return np.asarray(edges * (width - 1.0) + 0.5, np.float64)


def _floor(
    shop: Workshop,
    canvas: Canvas,
    edges: Floats,
    span: tuple[float, float],
    shape: str | None,
    *,
    skip: bool,
    ornate: float,
) -> None:
    rng = shop.detail
    look = shop.window(shape)
    y, room = span
    tall = room * rng.uniform(0.55, 0.7)
    share = rng.uniform(0.42, 0.58)
    bays = len(edges) - 1
    filler = int(rng.integers(0, 4))
    for bay in range(bays):
        if skip and abs(bay - (bays - 1) / 2) < 0.6:
            continue
        bay_width = float(edges[bay + 1] - edges[bay])
        wide = min(share * bay_width, 0.75 * tall if look.shape != "round" else tall, 2.6)
        tall_ = wide if look.shape == "round" else min(tall, 3.0 * wide)
        x = float(edges[bay]) + (bay_width - wide) / 2
        top = y + 0.45 * (room - tall_) + 0.1
        if rng.random() < 0.16 * ornate:
            _ornament(shop, canvas, (x, top, wide, tall_), filler)
            continue
        own = replace(look, balcony=look.shape == "rect" and rng.random() < 0.2 * ornate)
        painting.window(canvas, rng, own, (x, top, wide, tall_))


def _ornament(
    shop: Workshop, canvas: Canvas, box: tuple[float, float, float, float], kind: int
) -> None:
    rng, (x, y, w, h) = shop.detail, box
    hues = [
        jitter(rng, c, 0.2)
        for c in (shop.palette.leaf, shop.palette.trim, (70, 130, 190), (150, 90, 50))
    ]
    if kind == 0:
        ornaments.mosaic(canvas, rng, (x, y, w, h), hues)
    elif kind == 1:
        ornaments.rose(canvas, rng, x + w / 2, y + h / 2, min(w, h) / 2, trim=shop.palette.trim)
    elif kind == 2:
        ornaments.poster(canvas, rng, (x, y, w, h))
    else:
        painting.fill(canvas, painting.outline("arch", x, y, w, h), shade(shop.palette.trim, 0.8))
        tint = shade(shop.palette.trim, rng.uniform(0.55, 1.0))
        painting.fill(
            canvas, painting.outline("round", x + 0.3 * w, y + 0.2 * h, 0.4 * w, 0.2 * h), tint
        )
        painting.fill(
            canvas, painting.outline("arch", x + 0.2 * w, y + 0.38 * h, 0.6 * w, 0.6 * h), tint
        )


def _pilasters(
    shop: Workshop,
    canvas: Canvas,
    edges: Floats,
    span: tuple[float, float],
) -> None:
    y, bottom = span
    color = shade(shop.palette.trim, 0.95)
    for x in edges:
        painting.rect(canvas, float(x) - 0.25, y, 0.5, bottom - y, color=color)
        painting.rect(canvas, float(x) + 0.18, y, 0.1, bottom - y, color=shade(color, 0.7))
        painting.rect(canvas, float(x) - 0.36, y, 0.72, 0.45, color=shade(color, 1.1))
        painting.rect(canvas, float(x) - 0.36, bottom - 0.4, 0.72, 0.4, color=shade(color, 0.86))


def _door(shop: Workshop, canvas: Canvas, room: float, foot: float) -> None:
    tall = min(0.8 * room, 4.6)
    wide = min(0.62 * tall, 0.3 * canvas.width)
    look = shop.window("arch" if shop.form.random() < 0.6 else "rect")
    box = ((canvas.width - wide) / 2, canvas.height - tall - 0.02, wide, tall)
    painting.door(canvas, shop.detail, look, box, shop.palette.leaf)
    del foot


def _gate(shop: Workshop, canvas: Canvas, gate: tuple[float, float]) -> None:
    """Cut an arch through the wall and set voussoirs of alternating tone around it."""
    w, h = gate
    x, y = (canvas.width - w) / 2, canvas.height - h
    rim = 0.16 * w
    tones = [shade(shop.palette.trim, k) for k in (1.0, shop.detail.uniform(0.7, 0.95))]
    centre = np.array([canvas.width / 2, y + w / 2])
    stones = int(shop.detail.integers(5, 10)) * 2 + 1
    for k in range(stones):
        t0, t1 = (np.pi * (1 + j / stones) for j in (k, k + 1))
        ends = [centre + (w / 2 + rim) * np.array([np.cos(t), np.sin(t)]) for t in (t0, t1)]
        painting.fill(canvas, np.array([centre, *ends]), tones[k % 2])
    for side in (x - rim, x + w):
        painting.rect(canvas, side, y + w / 2, rim, h - w / 2, color=tones[0])
    hole = painting.outline("arch", x, y, w, h + 1)
    painting.fill(canvas, hole, shade(shop.palette.trim, 0.6), 0)


def plaque(
    shop: Workshop, width: float, height: float, text: str, board: Color | None = None
) -> Texture:
    """Make a sign with lettering."""
    canvas = Canvas(
        np.zeros((round(height * shop.ppm), round(width * shop.ppm), 4), np.uint8), shop.ppm
    )
    boards: tuple[Color, ...] = (
        (50, 44, 40),
        (44, 44, 140),
        (90, 60, 30),
        (60, 84, 40),
        (216, 224, 228),
    )
    ground = board or boards[int(shop.detail.integers(0, len(boards)))]
    ink: Color = (40, 40, 44) if sum(ground) > 400 else (200, 228, 240)
    ornaments.sign(canvas, shop.detail, text, (0, 0, width, height), ground, ink=ink)
    return canvas.texture()
