"""Designs of public buildings: palace, town hall, theatre, station, museum.

A design adds the faces of a building about the origin, its front to -y, to a workshop.
"""

from __future__ import annotations

import numpy as np

from . import ornaments, painting, solids
from .elements import cap, decal, portico
from .facades import facade
from .workshop import Workshop


def palace(shop: Workshop) -> None:
    """Build a long facade with a pavilion in the middle and at both ends under steep roofs."""
    form, rng = shop.form, shop.detail
    w, h, d = form.uniform(26, 34), form.uniform(9, 12), 11.0
    floors, shape = int(form.integers(2, 4)), str(form.choice(["rect", "arch", "rect"]))
    front = facade(shop, w, h, floors=floors, bays=int(w / 2.8), shape=shape)
    shop.faces += solids.prism(
        solids.rectangle(0, d / 2, w, d),
        0,
        h,
        [front, facade(shop, d, h, floors=floors, bays=4, shape=shape)],
    )
    shop.faces += solids.hip_roof((0, d / 2, w, d), h, 3.2, shop.roof(), rng)
    middle = form.uniform(7, 9)
    for x, size, tall in (
        (0.0, middle, h + form.uniform(1.5, 4)),
        (-w / 2, 5.5, h + 1),
        (w / 2, 5.5, h + 1),
    ):
        walls = [
            facade(shop, size, tall, floors=floors, bays=3, shape=shape, door=x == 0, ornate=0.9),
            facade(shop, d + 2, tall, floors=floors, bays=4, shape=shape),
        ]
        spot = solids.rectangle(x, d / 2 - 0.8, size, d + 1.6)
        shop.faces += solids.prism(spot, 0, tall, walls)
        mansard = [(1.08, tall), (0.82, tall + 3.2), (0.5, tall + 4.4)]
        shop.faces += solids.lathe(spot, mansard, shop.roof(), rng)
    kind = int(form.integers(0, 3))
    if kind == 0:
        cap(
            shop,
            solids.ring(0, d / 2, 2.8, 12),
            h + 6,
            3.8,
            str(rng.choice(["hemisphere", "onion", "bell"])),
            part="copper",
        )
    elif kind == 1:
        portico(shop, 0.0, -1.7, middle, h * 0.75, count=4)


def town_hall(shop: Workshop) -> None:
    """Build a gabled hall with an arcade and a slim tower on its ridge."""
    form, rng = shop.form, shop.detail
    w, h, d = form.uniform(15, 20), form.uniform(8, 10.5), 12.0
    rise = form.uniform(6, 8)
    front = shop.canvas("wall", w, h)
    texture = facade(
        shop,
        w,
        h,
        floors=3,
        bays=int(w / 2.6),
        shape=str(form.choice(["rect", "pointed", "arch"])),
        door=True,
    )
    del front
    shop.faces += solids.prism(
        solids.rectangle(0, d / 2, w, d), 0, h, [texture, facade(shop, d, h, floors=3, bays=4)]
    )
    steps = form.random() < 0.5
    gable = facade(shop, w, rise, floors=2, bays=5, shape="arch", ornate=0.8)
    if steps:
        _stepped(shop, w, h, rise)
    shop.faces += solids.gable_roof((0, d / 2, w, d), h, rise, shop.roof(), gable, rng=rng)
    tw = form.uniform(3.2, 4.2)
    x = float(form.choice([0.0, -0.36, 0.36])) * w
    y = d / 2 if x == 0 else 1.2
    top = h + rise + form.uniform(3, 6)
    sides = [facade(shop, tw, top, floors=6, bays=1, ornate=0.3) for _ in range(2)]
    shop.faces += solids.prism(solids.rectangle(x, y, tw, tw), 0, top, sides)
    canvas = shop.canvas("trim", tw + 0.6, tw + 0.6)
    ornaments.clock(canvas, rng, tw / 2 + 0.3, tw / 2 + 0.3, 0.4 * tw, face=(226, 234, 238))
    shop.faces += solids.prism(
        solids.rectangle(x, y, tw + 0.6, tw + 0.6),
        top,
        top + tw + 0.6,
        [canvas.texture()],
        shop.plain("trim", tw, tw),
    )
    cap(
        shop,
        solids.rectangle(x, y, tw + 0.4, tw + 0.4),
        top + tw + 0.6,
        form.uniform(4, 8),
        str(rng.choice(["cone", "bell", "onion"])),
        part="copper",
    )


def _stepped(shop: Workshop, width: float, z: float, rise: float) -> None:
    """Put a stepped gable before the roof."""
    count = 5 + int(shop.detail.integers(0, 3))
    for k in range(count):
        w = width * (1 - k / count)
        low, high = z + rise * k / count, z + rise * (k + 1) / count + 0.9
        textures = [
            facade(shop, w, high - low, floors=1, bays=max(1, int(w / 2.6)), ornate=0.5),
            shop.plain("trim", 0.7, 2),
        ]
        shop.faces += solids.prism(
            solids.rectangle(0, -0.1, w, 0.7), low, high, textures, shop.plain("trim", w, 0.7)
        )


def theatre(shop: Workshop) -> None:
    """Build a theatre or cinema: a stepped front, an awning with lights, posters, a tall sign."""
    form, rng = shop.form, shop.detail
    w, h, d = form.uniform(14, 19), form.uniform(10, 13), 16.0
    front = facade(
        shop, w, h, floors=int(form.integers(2, 4)), bays=int(form.integers(5, 8)), ornate=1.0
    )
    shop.faces += solids.prism(
        solids.rectangle(0, d / 2, w, d),
        0,
        h,
        [front, facade(shop, d, h, floors=2, bays=4)],
        shop.plain("base", w, d),
    )
    for k in range(int(form.integers(1, 4))):
        size = w * (0.7 - 0.2 * k)
        crown = shop.canvas("trim", size, 1.8)
        hues = [shop.palette.leaf, shop.palette.trim, (70.0, 130.0, 200.0)]
        ornaments.mosaic(crown, rng, (0.4, 0.3, size - 0.8, 1.2), hues)
        shop.faces += solids.prism(
            solids.rectangle(0, 1, size, 2),
            h + 1.8 * k,
            h + 1.8 * (k + 1),
            [crown.texture(), shop.plain("trim", 2, 1.8)],
            shop.plain("trim", size, 2),
        )
    _lobby(shop, w)
    if form.random() < 0.6:
        _blade(shop, float(form.choice([-0.4, 0.4])) * w, h)


def _lobby(shop: Workshop, w: float) -> None:
    """Add a ground floor of posters and lit doors under an awning with the name."""
    rng = shop.detail
    lobby = shop.canvas("base", w - 2, 3.6)
    for k in range(int((w - 3) / 2.2)):
        box = (0.6 + 2.2 * k, 0.6, 1.5, 2.6)
        if rng.random() < 0.55:
            ornaments.poster(lobby, rng, box)
        else:
            painting.rect(lobby, *box, color=(80, 74, 66), alpha=255)
    shop.faces += solids.prism(
        solids.rectangle(0, -0.6, w - 2, 1.2),
        0,
        3.6,
        [lobby.texture(), shop.plain("base", 1.2, 3.6)],
    )
    decal(shop, 0, -2.6, 3.7, w - 1.6, height=1.7, text=shop.words)
    shop.faces += solids.prism(
        solids.rectangle(0, -1.2, w - 1.6, 2.8),
        3.6,
        5.3,
        [shop.plain("leaf", w, 1.7), shop.plain("leaf", 2.8, 1.7)],
        shop.plain("leaf", w, 3),
    )


def _blade(shop: Workshop, x: float, h: float) -> None:
    """Add an upright sign about the eaves at h."""
    blade = shop.canvas("leaf", 1.8, 8)
    for k, letter in enumerate(shop.words[:6]):
        ornaments.sign(
            blade,
            shop.detail,
            letter,
            (0.1, 0.3 + 1.25 * k, 1.6, 1.2),
            shop.palette.leaf,
            ink=(210, 235, 245),
        )
    shop.faces += solids.prism(
        solids.rectangle(x, -1.2, 1.8, 0.7),
        h - 4,
        h + 4,
        [blade.texture(), shop.plain("leaf", 0.7, 8)],
    )


def station(shop: Workshop) -> None:
    """Build a station: a great arched window between wings, a clock, a sign."""
    form, rng = shop.form, shop.detail
    w, h = form.uniform(13, 16), form.uniform(12, 15)
    canvas = shop.canvas("wall", w, h)
    ornaments.weather_wall(canvas, rng, 0.7)
    look = shop.window("arch")
    wide = 0.62 * w
    panes = type(look)(
        shape="arch",
        columns=int(rng.integers(5, 9)),
        rows=int(rng.integers(4, 7)),
        surround=look.surround,
        frame=look.frame,
    )
    painting.window(canvas, rng, panes, ((w - wide) / 2, 3.0, wide, h - 3.2))
    for side in (0.06, 0.86):
        ornaments.mosaic(
            canvas,
            rng,
            (side * w, 3, 0.08 * w, h - 6),
            [shop.palette.leaf, shop.palette.trim, (60.0, 90.0, 170.0)],
        )
    ornaments.clock(canvas, rng, w / 2, 1.6, 1.1, face=(228, 236, 240))
    painting.band(canvas, 0, 0.4, shop.palette.trim, teeth=0.6)
    shop.faces += solids.prism(
        solids.rectangle(0, 9, w, 18),
        0,
        h,
        [canvas.texture(), facade(shop, 18, h, floors=2, bays=5)],
    )
    shop.faces += solids.gable_roof(
        (0, 9, w, 18),
        h,
        0.22 * w,
        shop.roof("copper"),
        facade(shop, w, 0.22 * w, floors=1, bays=5, shape="round"),
        rng=rng,
    )
    for x in (-1, 1):
        wing = form.uniform(8, 11)
        spot = (x * (w + wing) / 2, 7.0, wing, 11.0)
        tall = 0.55 * h
        walls = [
            facade(shop, wing, tall, floors=2, bays=4, shape="arch"),
            facade(shop, 11, tall, floors=2, bays=4),
        ]
        shop.faces += solids.prism(solids.rectangle(*spot), 0, tall, walls)
        shop.faces += solids.hip_roof(spot, tall, 2.6, shop.roof(), rng)
    decal(shop, 0, -0.6, 3.2, 0.66 * w, height=1.3, text=shop.words)


def museum(shop: Workshop) -> None:
    """Build a modern museum: stacked blocks, each of a material and a pattern of its own."""
    form, rng = shop.form, shop.detail
    z = 0.0
    hues = [
        shop.palette.leaf,
        shop.palette.trim,
        (60.0, 90.0, 200.0),
        (190.0, 140.0, 60.0),
        (80.0, 190.0, 220.0),
    ]
    for k in range(int(form.integers(3, 5))):
        w, d, h = form.uniform(11, 20) * (1 - 0.1 * k), form.uniform(9, 14), form.uniform(4, 6)
        x, y = form.uniform(-3, 3), 6 + form.uniform(-1.5, 2)
        kind = int(form.integers(0, 4))
        canvas = shop.canvas(("wall", "glass", "white", "base")[kind], w, h)
        if kind == 0:
            ornaments.mosaic(canvas, rng, (0.5, 0.5, w - 1, h - 1), hues)
        elif kind == 1:
            for j in range(int(w / 1.6)):
                painting.rect(
                    canvas, 1.6 * j, 0, 0.2 + 0.3 * rng.random(), h, color=shop.palette.trim
                )
        else:
            for _ in range(int(w / 1.3)):
                look = shop.window("rect")
                painting.window(
                    canvas,
                    rng,
                    look,
                    (
                        rng.uniform(0.3, w - 2),
                        rng.uniform(0.3, h - 2),
                        rng.uniform(0.5, 1.7),
                        rng.uniform(0.5, 1.6),
                    ),
                )
        side = facade(shop, d, h, floors=1, bays=4, shape="rect")
        shop.faces += solids.prism(
            solids.rectangle(x, y, w, d),
            z,
            z + h,
            [canvas.texture(), side],
            shop.plain("base", w, d),
        )
        floor = np.column_stack([solids.rectangle(x, y, w, d)[::-1], np.full(4, z)])
        shop.faces.append(solids.panel(floor, shop.plain("trim", 8, 8)))
        if k == 0:
            decal(shop, x, y - d / 2, 0.6, 0.5 * w, height=1.6, text=shop.words)
        z += h
