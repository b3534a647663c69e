"""Designs of churches, temples and mosques.

A design adds the faces of a building about the origin, its front to -y, to a workshop.
"""

from __future__ import annotations

import numpy as np

from . import ornaments, painting, solids
from .elements import cap, portico
from .facades import facade
from .workshop import Workshop


def cathedral(shop: Workshop) -> None:
    """Build a gabled nave with a rose window between two towers with spires."""
    form, rng = shop.form, shop.detail
    w, h, d = form.uniform(8, 11), form.uniform(12, 16), 22.0
    rise = form.uniform(5, 8)
    canvas = shop.canvas("wall", w, h)
    ornaments.weather_wall(canvas, rng, 0.8)
    look = shop.window("pointed")
    painting.door(canvas, rng, look, (w / 2 - 1.5, h - 5, 3, 5), shop.palette.leaf)
    ornaments.rose(canvas, rng, w / 2, h - 8.4, 2.3, trim=shop.palette.trim)
    for k in range(int(rng.integers(4, 8))):
        painting.window(canvas, rng, look, (0.6 + k * (w - 1) / 7, 0.9, 0.7, 1.8))
    gable = shop.canvas("wall", w, rise)
    ornaments.rose(gable, rng, w / 2, rise * 0.62, 1.0, trim=shop.palette.trim)
    shop.faces += solids.prism(
        solids.rectangle(0, d / 2, w, d),
        0,
        h,
        [canvas.texture(), facade(shop, d, h, floors=2, bays=6, shape="pointed")],
    )
    shop.faces += solids.gable_roof(
        (0, d / 2, w, d), h, rise, shop.roof(), gable.texture(), rng=rng
    )
    tw, th = form.uniform(5, 6.5), h + form.uniform(3, 9)
    spire, kind = form.uniform(6, 13), str(form.choice(["cone", "cone", "bell"]))
    lone = form.random() < 0.25
    for x in (-1, 1):
        if lone and x < 0:
            continue
        spot = solids.rectangle(x * (w + tw) / 2, tw / 2 - 0.8, tw, tw)
        sides = [
            facade(shop, tw, th, floors=4, bays=2, shape="pointed", ornate=0.9) for _ in range(2)
        ]
        shop.faces += solids.prism(spot, 0, th, sides, shop.plain("trim", tw, tw))
        cap(shop, solids.shrink(spot, 0.92), th, spire, kind, part="roof")


def basilica(shop: Workshop) -> None:
    """Build a domed church: portico with a pediment, drum, dome and lantern."""
    form, rng = shop.form, shop.detail
    w, h = form.uniform(18, 24), form.uniform(9, 12)
    front = facade(shop, w, h, floors=2, bays=7, ornate=0.9, door=True)
    shop.faces += solids.prism(
        solids.rectangle(0, w / 2, w, w),
        0,
        h,
        [front, facade(shop, w, h, floors=2, bays=6)],
        shop.plain("trim", w, w),
    )
    portico(shop, 0.0, -1.0, 0.5 * w, h * 0.8, count=int(form.choice([4, 6])))
    drum = solids.ring(0, w / 2 - 2, 0.3 * w, 14)
    side = float(np.linalg.norm(drum[0] - drum[1]))
    shop.faces += solids.prism(
        drum,
        h,
        h + 4.5,
        [facade(shop, side, 4.5, floors=1, bays=1, shape="arch", ornate=0.3) for _ in range(3)],
    )
    part = str(form.choice(["roof", "copper", "gold", "trim"]))
    shop.faces += solids.prism(
        solids.shrink(drum, 1.06), h + 4.5, h + 5.1, [shop.plain("trim", side, 0.6)]
    )
    cap(shop, drum, h + 5, 0.3 * w, "hemisphere", part=part)
    lantern = solids.ring(0, w / 2 - 2, 1.3, 8)
    z = h + 5 + 0.3 * w - 0.3
    shop.faces += solids.prism(
        lantern, z, z + 2.6, [facade(shop, 1.0, 2.6, floors=1, bays=1, shape="arch", ornate=0)]
    )
    cap(shop, lantern, z + 2.6, 2.0, str(rng.choice(["onion", "hemisphere", "cone"])), part=part)


def temple(shop: Workshop) -> None:
    """Build a temple: steps, a row of columns with a pediment, a solid hall behind."""
    form = shop.form
    w, h = form.uniform(14, 20), form.uniform(8, 10)
    count = int(form.integers(5, 9)) + int(shop.detail.integers(0, 2))
    shop.faces += solids.stairs((0, 5, w + 2, 20), 4, 0.3, shop.plain("base", 20, 20))
    hall = [facade(shop, s, h, floors=1, bays=5, door=s < 16.5, ornate=1.0) for s in (w - 1, 17.0)]
    shop.faces += solids.prism(solids.rectangle(0, 8.5, w - 1, 17), 1.2, h + 1.2, hall)
    portico(shop, 0.0, 0.0, w, h, count=count)
    if form.random() < 0.5:
        cap(
            shop,
            solids.ring(0, 9, 0.3 * w, 14),
            h + 1.2,
            0.32 * w,
            "hemisphere",
            part=str(form.choice(["copper", "roof"])),
        )
    else:
        shop.faces += solids.gable_roof(
            (0, 9, w, 16),
            h + 1.2,
            0.2 * w,
            shop.roof(),
            shop.plain("trim", w, 0.2 * w),
            rng=shop.detail,
        )


def onion_church(shop: Workshop) -> None:
    """Build a church of clustered round towers with coloured onion domes."""
    form, rng = shop.form, shop.detail
    w, h = form.uniform(10, 13), form.uniform(7, 9)
    walls = [
        facade(shop, w, h, floors=2, bays=4, shape="arch", door=k == 0, ornate=1.0)
        for k in range(2)
    ]
    shop.faces += solids.prism(solids.rectangle(0, 0, w, w), 0, h, walls, shop.plain("trim", w, w))
    spots = [(0.0, 0.0, 2.6, h + 7.0)] + [
        (sx * w * 0.36, sy * w * 0.36, 1.7, h + 3.2) for sx in (-1, 1) for sy in (-1, 1)
    ]
    for x, y, radius, top in spots:
        drum = solids.ring(x, y, radius, 10)
        side = float(np.linalg.norm(drum[0] - drum[1]))
        shop.faces += solids.prism(
            drum,
            h - 0.1,
            top,
            [
                facade(shop, side, top - h, floors=1, bays=1, shape="arch", ornate=0.2),
                shop.plain("trim", side, top - h),
            ],
        )
        cap(
            shop,
            drum,
            top,
            radius * 2.3,
            "onion",
            part=str(rng.choice(["gold", "copper", "red", "roof", "leaf"])),
        )


def minarets(shop: Workshop) -> None:
    """Build a domed hall with a tall portal between slender towers."""
    form, rng = shop.form, shop.detail
    w, h = form.uniform(16, 21), form.uniform(8, 11)
    front = facade(shop, w, h, floors=2, bays=5, shape="pointed", ornate=0.9)
    shop.faces += solids.prism(
        solids.rectangle(0, 0, w, w),
        0,
        h,
        [front, facade(shop, w, h, floors=2, bays=5, shape="pointed")],
        shop.plain("trim", w, w),
    )
    portal = shop.canvas("trim", 8, h + 3)
    hues = [(150.0, 100.0, 50.0), (190.0, 160.0, 80.0), (210.0, 225.0, 230.0), (80.0, 150.0, 200.0)]
    ornaments.mosaic(portal, rng, (0.3, 0.3, 7.4, h + 2), hues)
    look = shop.window("pointed")
    painting.door(portal, rng, look, (2.2, 3.4, 3.6, h - 0.4), shop.palette.leaf)
    shop.faces += solids.prism(
        solids.rectangle(0, -w / 2 - 0.6, 8, 1.6),
        0,
        h + 3,
        [portal.texture(), shop.plain("trim", 1.6, h + 3)],
        shop.plain("trim", 8, 2),
    )
    drum = solids.ring(0, 0, 0.3 * w, 16)
    shop.faces += solids.prism(
        drum, h, h + 3, [facade(shop, 2.3, 3, floors=1, bays=1, shape="pointed", ornate=0)]
    )
    dome = str(rng.choice(["copper", "gold", "roof"]))
    cap(shop, drum, h + 3, 0.36 * w, str(form.choice(["onion", "hemisphere"])), part=dome)
    for x in (-w / 2 - 2, w / 2 + 2):
        needle = solids.ring(x, -w / 2 + 1, 1.25, 10)
        tall = form.uniform(19, 21)
        shop.faces += solids.prism(
            needle, 0, tall, [shop.plain("wall", 0.8, tall), shop.plain("trim", 0.8, tall)]
        )
        shop.faces += solids.prism(
            solids.shrink(needle, 1.6),
            tall * 0.72,
            tall * 0.72 + 1,
            [shop.plain("trim", 1.3, 1)],
            shop.plain("trim", 4, 4),
        )
        cap(shop, needle, tall, 4.0, str(form.choice(["cone", "onion"])), part=dome)
