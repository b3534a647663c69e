"""Designs of towers: clock tower, lighthouse, pagoda, mill, skyscraper, water tower.

A design adds the faces of a building about the origin, its front to -y, to a workshop.
"""

from __future__ import annotations

import numpy as np

from . import ornaments, painting, solids
from .elements import cap, cottage, decal
from .facades import facade
from .raster import UNIT, Face
from .workshop import Workshop


def clock_tower(shop: Workshop) -> None:
    """Build a shaft with windows, a stage with clocks, a belfry and a cap."""
    form, rng = shop.form, shop.detail
    w = form.uniform(6.5, 9)
    shaft, floors = form.uniform(15, 24), int(form.integers(3, 6))
    foot = solids.rectangle(0, 0, w + 1.6, w + 1.6)
    sides = [
        facade(shop, w + 1.6, 5.0, floors=1, bays=3, door=k == 0, part="base") for k in range(2)
    ]
    shop.faces += solids.prism(foot, 0, 5.0, sides, shop.plain("trim", w, w))
    body = solids.rectangle(0, 0, w, w)
    sides = [facade(shop, w, shaft, floors=floors, bays=2) for _ in range(2)]
    shop.faces += solids.prism(body, 5.0, 5.0 + shaft, sides)
    z = 5.0 + shaft
    stage = solids.rectangle(0, 0, w + 0.9, w + 0.9)
    dial = ((226.0, 236.0, 240.0), (60.0, 44.0, 36.0), (120.0, 90.0, 50.0))[int(rng.integers(0, 3))]
    textures = []
    for _ in range(2):
        canvas = shop.canvas("trim", w + 0.9, w)
        painting.band(canvas, 0.0, 0.5, shop.palette.trim, teeth=0.5)
        painting.band(canvas, w - 0.5, 0.4, shop.palette.trim)
        ornaments.clock(canvas, rng, (w + 0.9) / 2, w / 2, 0.36 * w, face=dial)
        textures.append(canvas.texture())
    shop.faces += solids.prism(stage, z, z + w, textures, shop.plain("trim", w, w))
    z += w
    if form.random() < 0.6:
        belfry = [facade(shop, w - 1, 4.5, floors=1, bays=3, shape="arch", ornate=0.1)]
        shop.faces += solids.prism(solids.rectangle(0, 0, w - 1, w - 1), z, z + 4.5, belfry)
        z += 4.5
    kinds = ("cone", "onion", "bell", "hemisphere")
    base = solids.rectangle(0, 0, w, w) if form.random() < 0.5 else solids.ring(0, 0, 0.55 * w, 8)
    cap(
        shop,
        base,
        z,
        form.uniform(0.7, 1.6) * w,
        kinds[int(form.integers(0, 3)) + int(rng.integers(0, 2))],
        part="roof",
    )


def lighthouse(shop: Workshop) -> None:
    """Build a tapering striped shaft with a gallery and a lantern."""
    form, rng = shop.form, shop.detail
    radius, height = form.uniform(3.2, 4.5), form.uniform(18, 27)
    house = (form.choice([-1.0, 1.0]) * 6.0, 1.0, 8.0, 7.0)
    parts = ("white", str(form.choice(["red", "wall", "leaf"])))
    bands = int(form.integers(4, 8)) + int(rng.integers(0, 2))
    base = solids.ring(0, 0, radius, 14)
    for k in range(bands):
        s0, s1 = (1 - 0.4 * j / bands for j in (k, k + 1))
        low, high = solids.shrink(base, s0), solids.shrink(base, s1)
        canvas = shop.canvas(parts[k % 2], 2.2, height / bands)
        ornaments.weather_wall(canvas, rng, 1.0)
        bare = canvas.texture()
        look = shop.window("arch")
        canvas = shop.canvas(parts[k % 2], 2.2, height / bands)
        painting.window(canvas, rng, look, (0.7, 0.8, 0.7, 1.3))
        marked = canvas.texture()
        ring_faces = solids.frustum(
            low, high, k * height / bands, (k + 1) * height / bands, bare, rng=None
        )
        spot = int(rng.integers(0, 3))
        ring_faces[spot] = Face(**{**vars(ring_faces[spot]), "texture": marked})
        shop.faces += ring_faces
    gallery = solids.ring(0, 0, radius * 0.85, 14)
    shop.faces += solids.prism(
        gallery, height, height + 0.7, [shop.plain("trim", 2, 1)], shop.plain("trim", 6, 6)
    )
    lantern = solids.ring(0, 0, radius * 0.5, 10)
    shop.faces += solids.prism(
        lantern,
        height + 0.7,
        height + 3.2,
        [facade(shop, 1.6, 2.5, floors=1, bays=1, shape="rect", ornate=0)],
    )
    cap(
        shop,
        solids.ring(0, 0, radius * 0.58, 10),
        height + 3.2,
        2.4,
        str(form.choice(["hemisphere", "cone"])),
        part="red",
    )
    cottage(shop, house, 4.0)


def pagoda(shop: Workshop) -> None:
    """Stack storeys that shrink, each under a roof with wide eaves."""
    form, rng = shop.form, shop.detail
    tiers, w, sides = int(form.integers(4, 7)), form.uniform(9, 12), int(form.choice([4, 6, 8]))
    z = 1.2
    shop.faces += solids.stairs((0, 0, w + 4, w + 4), 3, 0.4, shop.plain("base", 16, 16))
    roof = shop.roof("roof", 12)
    colors = str(form.choice(["red", "wall", "leaf"]))
    for k in range(tiers):
        radius = 0.6 * w * (1 - 0.62 * k / tiers)
        tall = 3.6 - 0.25 * k
        base = solids.ring(0, 0, radius, sides)
        side = float(np.linalg.norm(base[0] - base[1]))
        textures = [
            facade(
                shop,
                side,
                tall,
                floors=1,
                bays=3 if sides == 4 else 1,
                shape="rect",
                door=k == 0 and j == 0,
                part=colors,
            )
            for j in range(2)
        ]
        shop.faces += solids.prism(base, z, z + tall, textures)
        z += tall
        eaves = solids.shrink(base, 1.4 + 0.08 * k)
        shop.faces += solids.lathe(
            eaves, [(1.0, z - 0.5), (0.72, z + 0.5), (0.55, z + 1.5)], roof, rng
        )
        shop.faces += solids.frustum(
            solids.shrink(base, 0.98), eaves, z - 0.9, z - 0.5, shop.plain("leaf", 6, 1), rng=None
        )
        z += 1.1
    cap(
        shop,
        solids.ring(0, 0, 0.22 * w, sides),
        z,
        3.4,
        str(form.choice(["cone", "bell"])),
        part="gold",
    )


def windmill(shop: Workshop) -> None:
    """Build a tapering mill with four sails."""
    form, rng = shop.form, shop.detail
    radius, height = form.uniform(4.5, 5.5), form.uniform(12, 16)
    base = solids.ring(0, 0, radius, 8)
    side = float(np.linalg.norm(base[0] - base[1]))
    for k in range(2):
        low, high = solids.shrink(base, 1 - 0.2 * k), solids.shrink(base, 0.8 - 0.2 * k)
        part = ("base", "wall")[k]
        plain = [
            facade(
                shop,
                side,
                height / 2,
                floors=2,
                bays=1,
                shape="rect",
                door=k == 0 and j == 0,
                part=part,
            )
            for j in range(3)
        ]
        faces = solids.frustum(low, high, k * height / 2, (k + 1) * height / 2, plain[0], rng=None)
        shop.faces += [Face(**{**vars(f), "texture": plain[j % 3]}) for j, f in enumerate(faces)]
    cap(
        shop,
        solids.ring(0, 0, 0.66 * radius, 8),
        height,
        3.6,
        str(form.choice(["bell", "hemisphere"])),
        part="roof",
    )
    turn, hub = form.uniform(0, np.pi / 2), np.array([0.0, -0.75 * radius, height + 0.6])
    for k in range(4):
        canvas = painting.Canvas(
            np.zeros((round(2.0 * shop.ppm), round(9.5 * shop.ppm), 4), np.uint8), shop.ppm
        )
        painting.rect(canvas, 0, 0.1, 9.5, 0.3, color=(70, 84, 96))
        bars = int(rng.integers(9, 15))
        for j in range(bars):
            painting.rect(canvas, 1.5 + 8 * j / bars, 0.1, 0.14, 1.8, color=(90, 104, 120))
        for y in (0.8, 1.3, 1.75):
            painting.rect(canvas, 1.4, y, 8.1, 0.14, color=(90, 104, 120))
        if rng.random() < 0.5:
            painting.rect(canvas, 1.6, 0.4, rng.uniform(3, 7), 1.3, color=(200, 214, 222))
        t = turn + k * np.pi / 2
        u, v = np.array([np.cos(t), 0, np.sin(t)]) * 9.5, np.array([-np.sin(t), 0, np.cos(t)]) * 2.0
        shop.faces.append(Face(hub, u, v, canvas.texture(), UNIT, flat=True, lamp=0.6))


def skyscraper(shop: Workshop) -> None:
    """Build a glass tower with setbacks, a lobby, a crown and a sign."""
    form, rng = shop.form, shop.detail
    shop.ppm *= 0.62
    w, tiers = form.uniform(13, 17), int(form.integers(2, 4))
    sides = int(form.choice([4, 4, 6, 8]))
    z = 0.0
    for k in range(tiers):
        tall = form.uniform(12, 18)
        base = solids.ring(0, 0, w * (0.72 - 0.14 * k), sides)
        side = float(np.linalg.norm(base[0] - base[1]))
        textures = []
        for j in range(2):
            canvas = shop.canvas("glass" if form.random() < 0.7 else "wall", side, tall)
            rows, columns = (
                int(tall / rng.uniform(2.4, 3.4)),
                max(2, int(side / rng.uniform(1.4, 2.4))),
            )
            _grid(shop, canvas, rows, columns)
            if k == 0 and j == 0:
                painting.rect(
                    canvas, side * 0.3, tall - 4, side * 0.4, 4, color=(70, 66, 60), alpha=255
                )
            textures.append(canvas.texture())
        shop.faces += solids.prism(base, z, z + tall, textures, shop.plain("trim", side, side))
        z += tall
    crown = str(form.choice(["cone", "hemisphere", "bell"]))
    cap(
        shop,
        solids.shrink(base, 0.8),
        z,
        form.uniform(5, 11),
        crown,
        part=str(form.choice(["glass", "copper", "trim"])),
    )
    decal(shop, 0, -w * 0.72, 4.6, 0.6 * w, height=1.8, text=shop.words)


def _grid(shop: Workshop, canvas: painting.Canvas, rows: int, columns: int) -> None:
    rng = shop.detail
    pattern = rng.random((rows, columns))
    for r in range(rows):
        painting.rect(
            canvas, 0, r * canvas.height / rows, canvas.width, 0.4, color=shop.palette.trim
        )
        for c in range(columns):
            box = (
                (c + 0.12) * canvas.width / columns,
                r * canvas.height / rows + 0.5,
                0.8 * canvas.width / columns,
                canvas.height / rows - 0.6,
            )
            if pattern[r, c] < 0.3:
                painting.rect(canvas, *box, color=(120, 112, 96), alpha=255)
            elif pattern[r, c] < 0.42:
                painting.rect(canvas, *box, color=shop.palette.leaf)
    for c in range(columns + 1):
        painting.rect(
            canvas,
            c * canvas.width / columns - 0.1,
            0,
            0.25,
            canvas.height,
            color=shop.palette.trim,
        )


def water_tower(shop: Workshop) -> None:
    """Build a round tower with a wide tank and painted lettering."""
    form = shop.form
    radius, height = form.uniform(3.6, 4.6), form.uniform(12, 17)
    base = solids.ring(0, 0, radius, 12)
    side = float(np.linalg.norm(base[0] - base[1]))
    walls = [
        facade(
            shop,
            side,
            height,
            floors=int(form.integers(3, 5)),
            bays=1,
            shape="arch",
            door=k == 0,
            ornate=0.4,
        )
        for k in range(4)
    ]
    shop.faces += solids.prism(base, 0, height, walls)
    tank = solids.shrink(base, 1.5)
    shop.faces += solids.frustum(
        base, tank, height, height + 1.5, shop.plain("trim", 4, 2), rng=None
    )
    tiles = [
        facade(shop, side * 1.5, 5, floors=1, bays=2, shape="round", part="base") for _ in range(4)
    ]
    shop.faces += solids.prism(tank, height + 1.5, height + 6.5, tiles)
    cap(
        shop,
        tank,
        height + 6.5,
        form.uniform(3, 6),
        str(form.choice(["cone", "hemisphere", "bell"])),
        part="roof",
    )
    decal(shop, 0, -radius * 0.97, height - 2.6, 2.0 * side, height=1.2, text=shop.words)
