"""Designs of gates, castles, columns, aqueducts, and of famous houses.

A design adds the faces of a building about the origin, its front to -y, to a workshop.
"""

from __future__ import annotations

import itertools

import numpy as np

from . import ornaments, painting, solids
from .elements import battlements, cap, cottage, decal, portico
from .facades import facade
from .raster import Texture
from .workshop import Workshop


def arch(shop: Workshop) -> None:
    """Build a triumphal arch: a gate, columns at its sides, an attic with lettering, a statue."""
    form, rng = shop.form, shop.detail
    w, h, d = form.uniform(13, 18), form.uniform(12, 16), form.uniform(5, 7)
    gw, gh = 0.36 * w, 0.62 * h
    front = facade(shop, w, h, floors=3, bays=4, gate=(gw, gh), ornate=1.0)
    side = facade(shop, d, h, floors=3, bays=1, ornate=1.0)
    shop.faces += solids.prism(solids.rectangle(0, 0, w, d), 0, h, [front, side])
    _passage(shop, gw, gh, d)
    spots = np.array(
        [[k * w * 0.3, -d / 2 - 0.7] for k in (-1, 1)]
        + [[k * w * 0.45, -d / 2 - 0.7] for k in (-1, 1)]
    )
    shop.faces += solids.columns(
        spots, 0, 0.66 * h, 0.5, shop.plain("trim", 1, h), capital=shop.plain("base", 1.4, 0.6)
    )
    attic = shop.canvas("trim", w + 1, 3.4)
    painting.band(attic, 0.0, 0.5, shop.palette.trim, teeth=0.5)
    ornaments.sign(
        attic, rng, shop.words, (0.12 * w, 0.9, 0.84 * w, 1.8), shop.palette.trim, ink=(60, 72, 84)
    )
    shop.faces += solids.prism(
        solids.rectangle(0, 0, w + 1, d + 1),
        h,
        h + 3.4,
        [attic.texture(), shop.plain("trim", d + 1, 3.4)],
        shop.plain("trim", w, d),
    )
    bronze = shop.plain(str(form.choice(["copper", "gold", "trim"])), 3, 4)
    for x in (np.array([0.0]), np.array([-0.3, 0.3]) * w, np.array([-0.36, 0.0, 0.36]) * w)[
        int(rng.integers(0, 3))
    ]:
        shop.faces += solids.figure(
            float(x), 0.0, h + 3.4, form.uniform(3, 4), bronze, pose=int(rng.integers(0, 4))
        )


def _passage(shop: Workshop, width: float, height: float, depth: float) -> None:
    """Line the inside of a gate of a wall about y = 0."""
    half, spring = width / 2, height - width / 2
    t = np.linspace(0, np.pi, 7)
    profile = (
        [(half, 0.0)] + [(half * np.cos(a), spring + half * np.sin(a)) for a in t] + [(-half, 0.0)]
    )
    texture = shop.plain("base", depth, 6)
    for (x0, z0), (x1, z1) in itertools.pairwise(profile):
        points = [
            (x0, -depth / 2, z0),
            (x0, depth / 2, z0),
            (x1, depth / 2, z1),
            (x1, -depth / 2, z1),
        ]
        shop.faces.append(solids.panel(np.array(points[::-1]), texture, shop.detail))


def castle(shop: Workshop) -> None:
    """Build a keep with a gate, curtain walls and round towers with battlements."""
    form, rng = shop.form, shop.detail
    w, h = form.uniform(18, 24), form.uniform(7, 9)
    gate = (3.4, 4.6)
    front = facade(shop, w, h, floors=2, bays=6, shape="arch", gate=gate, ornate=0.3)
    footprint = solids.rectangle(0, 6, w, 12)
    shop.faces += solids.prism(
        footprint,
        0,
        h,
        [front, facade(shop, 12, h, floors=2, bays=3, shape="arch", ornate=0.2)],
        shop.plain("base", w, 12),
    )
    dark = shop.plain("dark", 5, 5)
    shop.faces.append(solids.wall(np.array([-3.0, 2.5]), np.array([3.0, 2.5]), 0, 5, dark))
    battlements(shop, footprint, h)
    keep_w, keep_h = form.uniform(7, 9), h + form.uniform(5, 9)
    keep = solids.rectangle(form.choice([-3.0, 0.0, 3.0]), 7, keep_w, keep_w)
    shop.faces += solids.prism(
        keep,
        0,
        keep_h,
        [
            facade(shop, keep_w, keep_h, floors=4, bays=2, shape="arch", ornate=0.4)
            for _ in range(2)
        ],
        shop.plain("base", 8, 8),
    )
    battlements(shop, keep, keep_h)
    roofed = form.random() < 0.6
    for x in (-w / 2, w / 2):
        tall = h + form.uniform(2, 6)
        tower = solids.ring(x, 0.5, form.uniform(2.6, 3.4), 12)
        side = float(np.linalg.norm(tower[0] - tower[1]))
        shop.faces += solids.prism(
            tower,
            0,
            tall,
            [
                facade(shop, side, tall, floors=3, bays=1, shape="arch", ornate=0.2)
                for _ in range(4)
            ],
            shop.plain("base", 6, 6),
        )
        if roofed:
            cap(
                shop,
                tower,
                tall,
                form.uniform(4, 6),
                str(rng.choice(["cone", "bell"])),
                part="roof",
            )
        else:
            battlements(shop, tower, tall)


def monument(shop: Workshop) -> None:
    """Build a column or obelisk on a stepped plinth with reliefs and a statue."""
    form, rng = shop.form, shop.detail
    size = form.uniform(4, 5.5)
    shop.faces += solids.stairs((0, 0, size + 1, size + 1), 4, 0.35, shop.plain("base", 12, 12))
    reliefs = []
    for _ in range(2):
        canvas = shop.canvas("trim", size, 5)
        ornaments.mosaic(
            canvas,
            rng,
            (0.5, 1.0, size - 1, 2.0),
            [(60.0, 100.0, 130.0), (90.0, 140.0, 160.0), (40.0, 70.0, 90.0)],
        )
        ornaments.sign(
            canvas,
            rng,
            shop.words,
            (0.4, 3.3, size - 0.8, 1.0),
            shop.palette.trim,
            ink=(50, 60, 70),
        )
        painting.band(canvas, 0, 0.5, shop.palette.trim, teeth=0.4)
        reliefs.append(canvas.texture())
    shop.faces += solids.prism(
        solids.rectangle(0, 0, size, size), 1.4, 6.4, reliefs, shop.plain("trim", size, size)
    )
    tall = form.uniform(10, 15)
    bronze = shop.plain(str(form.choice(["copper", "gold", "leaf"])), 3, 4)
    if form.random() < 0.5:
        _obelisk(shop, tall, size / 2 + 1.6, bronze)
    else:
        _pillar(shop, tall, bronze)


def _obelisk(shop: Workshop, tall: float, aside: float, bronze: Texture) -> None:
    """Set a tapering shaft with carved bands on the plinth and statues aside."""
    rng = shop.detail
    shaft = shop.canvas("wall", 2.5, tall)
    for k in range(int(rng.integers(4, 9))):
        ornaments.mosaic(
            shaft,
            rng,
            (0, 0.8 + k * tall / 9, 2.5, 0.7),
            [shop.palette.trim, shop.palette.leaf],
        )
    shop.faces += solids.lathe(
        solids.rectangle(0, 0, 2.6, 2.6),
        [(1.0, 6.4), (0.66, 6.4 + tall), (0.01, 8.4 + tall)],
        shaft.texture(),
        None,
    )
    for x in (-1, 1):
        shop.faces += solids.figure(x * aside, -1, 1.0, 3.2, bronze, pose=int(rng.integers(0, 4)))


def _pillar(shop: Workshop, tall: float, bronze: Texture) -> None:
    """Set a round column with a statue on the plinth."""
    rng = shop.detail
    shaft = shop.canvas("trim", 5.0, tall)
    ornaments.weather_wall(shaft, rng, 1)
    shop.faces += solids.prism(
        solids.ring(0, 0, 1.2, 12),
        6.4,
        6.4 + tall,
        [shaft.texture(), shop.plain("wall", 1, tall)],
    )
    shop.faces += solids.prism(
        solids.rectangle(0, 0, 3.4, 3.4),
        6.4 + tall,
        7.4 + tall,
        [shop.plain("trim", 3.4, 1)],
        shop.plain("trim", 3, 3),
    )
    shop.faces += solids.figure(0, 0, 7.4 + tall, 4.2, bronze, pose=int(rng.integers(0, 4)))


def aqueduct(shop: Workshop) -> None:
    """Build two tiers of open arches, or a bridge gate with a tower on it."""
    form, rng = shop.form, shop.detail
    spans, pitch = int(form.integers(4, 6)), form.uniform(6, 7.5)
    heights = (form.uniform(8, 10), form.uniform(4, 6))
    z, depth = 0.0, 4.0
    for tier, tall in enumerate(heights):
        count = spans if tier == 0 else 2 * spans
        width = spans * pitch / count
        for k in range(count):
            x = (k - (count - 1) / 2) * width
            front = facade(
                shop,
                width,
                tall,
                floors=1,
                bays=1,
                gate=(0.62 * width, 0.82 * tall if tier else 0.85 * tall),
                ornate=0.6,
            )
            for flip in (1, -1):
                a, b = (
                    np.array([x - flip * width / 2, -flip * depth / 2]),
                    np.array([x + flip * width / 2, -flip * depth / 2]),
                )
                shop.faces.append(solids.wall(a, b, z, z + tall, front))
            for side in (-1, 1):
                edge = x + side * 0.31 * width
                a, b = np.array([edge, side * depth / 2]), np.array([edge, -side * depth / 2])
                shop.faces.append(
                    solids.wall(a, b, z, z + 0.7 * tall, shop.plain("base", depth, tall))
                )
        z += tall
        shop.faces += solids.prism(
            solids.rectangle(0, 0, spans * pitch, depth + 0.6),
            z - 0.4,
            z + 0.3,
            [shop.plain("trim", spans * pitch, 0.7)],
            shop.plain("trim", 20, 4),
        )
    if form.random() < 0.6:
        spot = solids.rectangle(form.choice([-1.0, 0.0, 1.0]) * pitch, 0, 5, 5)
        top = z + form.uniform(4, 7)
        shop.faces += solids.prism(
            spot, 0, top, [facade(shop, 5, top, floors=6, bays=2) for _ in range(2)]
        )
        cap(shop, spot, top, 4.5, str(rng.choice(["cone", "bell"])), part="roof")


def houses(shop: Workshop) -> None:
    """Build a famous row of narrow houses with gables, each with a colour of its own."""
    form, rng = shop.form, shop.detail
    count = int(form.integers(3, 6))
    x = -count * 2.6
    for _ in range(count):
        w, h = form.uniform(4.4, 6), form.uniform(8, 12)
        part = str(form.choice(["wall", "base", "white", "red", "trim"]))
        front = facade(
            shop,
            w,
            h,
            floors=int(form.integers(3, 5)),
            bays=int(form.integers(2, 4)),
            shape="rect",
            door=True,
            ornate=0.8,
            part=part,
        )
        shop.faces += solids.prism(
            solids.rectangle(x + w / 2, 5, w, 10), 0, h, [front, shop.plain(part, 10, h)]
        )
        gable = facade(shop, w, 4, floors=1, bays=1, ornate=0.2, part=part)
        shop.faces += solids.gable_roof(
            (x + w / 2, 5, w, 10), h, form.uniform(2.5, 4), shop.roof(), gable, rng=rng
        )
        if rng.random() < 0.4:
            decal(shop, x + w / 2, 0, 2.9, 0.8 * w, height=0.8, text=shop.words)
        x += w


def manor(shop: Workshop) -> None:
    """Build a country house with a porch, side wings and chimneys."""
    form = shop.form
    w, h = form.uniform(12, 16), form.uniform(7, 9)
    walls = [
        facade(shop, w, h, floors=2, bays=6, door=True, ornate=0.9),
        facade(shop, 10, h, floors=2, bays=3),
    ]
    shop.faces += solids.prism(solids.rectangle(0, 5, w, 10), 0, h, walls)
    shop.faces += solids.hip_roof((0, 5, w, 10), h, form.uniform(3, 5), shop.roof(), shop.detail)
    for x in (-1, 1):
        cottage(shop, (x * (w / 2 + 3), 6.5, 6.0, 7.0), h * 0.62)
        shop.faces += solids.prism(
            solids.rectangle(x * 0.3 * w, 5, 1.2, 1.2),
            h,
            h + 5.5,
            [shop.plain("base", 1.2, 5)],
            shop.plain("dark", 1, 1),
        )
    if form.random() < 0.5:
        portico(shop, 0, -0.2, 0.4 * w, 0.75 * h, count=4)
