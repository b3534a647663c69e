"""Scenes without a landmark: one-off buildings, streets, parks, shores, mountains, markets."""

from __future__ import annotations

import numpy as np

from . import monuments, ornaments, scenery, solids, sprites, towers
from .camera import Camera, Floats, look_at
from .difficulty import Difficulty
from .elements import cottage, decal
from .facades import facade
from .landmarks import DESIGNS, Blueprint, build
from .light import shadow_map
from .materials import Rng
from .names import SIGNS
from .photo import Studio, expose, oversized, photo_size, photograph
from .raster import Face
from .scenery import Props
from .weather import pick_weather, sun_direction
from .workshop import PALETTES, Workshop

# About half of the photos show buildings, which are built for this photo alone.
SCENES: tuple[tuple[str, float], ...] = (
    ("building", 0.26),
    ("street", 0.16),
    ("wall", 0.12),
    ("park", 0.13),
    ("shore", 0.12),
    ("mountains", 0.08),
    ("market", 0.13),
)


def photograph_scene(props: Props, rng: Rng, knobs: Difficulty, *, scale: float = 1.0) -> bytes:
    """Take a photo of a scene without a landmark: the bytes of a JPEG file.

    Args:
        props: pool of anonymous things.
        rng: of this photo; everything that is built for it comes from it.
        knobs: as for landmarks.
        scale: factor of the size of the photo.
    """
    weights = np.array([w for _, w in SCENES])
    kind = SCENES[int(rng.choice(len(SCENES), p=weights / weights.sum()))][0]
    if kind == "building":
        return _one_off(props, rng, knobs, scale)
    size = photo_size(rng, scale, 1.0)
    weather = pick_weather(rng, knobs.weathers, rng.uniform(-25, 25))
    makers = {
        "street": _street,
        "wall": _wall,
        "park": _park,
        "shore": _shore,
        "mountains": _mountains,
        "market": _market,
    }
    camera, faces = makers[kind](props, rng, oversized(size, knobs))
    shadows = shadow_map(
        [f for f in faces[1:] if np.abs(f.origin[:2]).max() < 60], sun_direction(weather)
    )
    return expose(camera, faces, weather, shadows, size, rng=rng, knobs=knobs)


def _one_off(props: Props, rng: Rng, knobs: Difficulty, scale: float) -> bytes:
    """Show a building that looks like a landmark and is none."""
    kinds = [*DESIGNS, "manor", "houses", "manor", "houses"]
    seeds = [(int(rng.integers(0, 2**31)), k) for k in range(3)]
    sign = SIGNS[int(rng.integers(0, len(SIGNS)))]
    blueprint = Blueprint(kinds[int(rng.integers(0, len(kinds)))], seeds[0], seeds[1], sign)
    return photograph(Studio(build(blueprint), seeds[2]), props, rng, knobs, scale=scale)


def _view(rng: Rng, size: tuple[int, int], away: float, eye: float, target: Floats) -> Camera:
    position = np.array([rng.uniform(-0.3, 0.3) * away, -away, eye])
    tan = np.tan(np.radians(rng.uniform(46, 68)) / 2)
    return look_at(position, target, (size[0] - 1) / (2 * tan), size, rng.normal(0, 0.02))


def _street(props: Props, rng: Rng, size: tuple[int, int]) -> tuple[Camera, list[Face]]:
    """Look along a street of houses, some of them built for this photo."""
    target = np.array([rng.uniform(-2, 2), 20.0, rng.uniform(2.5, 6)])
    camera = _view(rng, size, rng.uniform(22, 34), 1.7, target)
    ground = props.ground(str(rng.choice(["street", "plaza"])), int(rng.integers(0, 99)))
    faces = [ground]
    half = rng.uniform(6, 10)
    for side in (-1, 1):
        y = -24.0
        while y < 40:
            if rng.random() < 0.3:
                own, wide = _own_house(rng)
            else:
                own, wide = props.house(int(rng.integers(0, 99))), 11.5
            faces += scenery.moved(own, side * half, y + wide / 2, -side * np.pi / 2)
            y += wide + 0.5 + rng.uniform(0, 1.5)
    faces += scenery.moved(props.house(int(rng.integers(0, 99))), 0, 48, 0)
    for _ in range(int(rng.integers(1, 5))):
        kind = str(rng.choice(["lamp", "tree", "hedge"]))
        x, y = float(rng.choice([-1, 1])) * (half - 1.4), rng.uniform(-14, 30)
        faces.append(sprites.billboard(props.cutout(kind, rng), x, y, camera.position, 0.8))
    faces += _people(props, rng, camera, int(rng.integers(1, 10)))
    if rng.random() < 0.5:
        faces += scenery.moved(
            props.vehicle(int(rng.integers(0, 99))), rng.uniform(-2, 2), rng.uniform(-4, 14), 1.5
        )
    return camera, _close(props, rng, camera, faces)


def _own_house(rng: Rng) -> tuple[list[Face], float]:
    palette = PALETTES[int(rng.integers(0, len(PALETTES)))]
    shop = Workshop(rng, rng, palette, 15.0, "", sheet_size=256)
    wide = rng.uniform(7, 12)
    cottage(shop, (0, 4, wide, 8.0), rng.uniform(6, 12))
    return shop.faces, wide


def _wall(props: Props, rng: Rng, size: tuple[int, int]) -> tuple[Camera, list[Face]]:
    """Stand close to a facade with a shop, a door, posters and people."""
    palette = PALETTES[int(rng.integers(0, len(PALETTES)))]
    shop = Workshop(rng, rng, palette, 34.0, "", sheet_size=400)
    w, h = rng.uniform(12, 16), rng.uniform(6, 9)
    front = facade(shop, w, h, floors=2, bays=int(rng.integers(3, 6)), door=True, ornate=1.0)
    faces = [props.ground("street", int(rng.integers(0, 99)))]
    faces += solids.prism(solids.rectangle(0, 4, w, 8), 0, h, [front, shop.plain("wall", 8, h)])
    for side in (-1, 1):
        faces += scenery.moved(
            props.house(int(rng.integers(0, 99))), side * (w / 2 + 6.6), 0.0, 0.0
        )
    if rng.random() < 0.6:
        decal(
            shop,
            rng.uniform(-2, 2),
            0,
            2.9,
            4.0,
            height=0.8,
            text=SIGNS[int(rng.integers(0, len(SIGNS)))],
        )
    canvas = shop.canvas("wall", 2.6, 1.8)
    for k in range(2):
        ornaments.poster(canvas, rng, (0.1 + 1.3 * k, 0.1, 1.15, 1.6))
    x = rng.uniform(-4, 4)
    faces += shop.faces
    faces.append(
        solids.wall(np.array([x, -0.04]), np.array([x + 2.6, -0.04]), 0.8, 2.6, canvas.texture())
    )
    target = np.array([rng.uniform(-4, 4), 0.0, rng.uniform(1.8, 4)])
    camera = _view(rng, size, rng.uniform(5, 12), 1.7, target)
    faces += _people(props, rng, camera, int(rng.integers(0, 4)))
    return camera, _close(props, rng, camera, faces)


def _park(props: Props, rng: Rng, size: tuple[int, int]) -> tuple[Camera, list[Face]]:
    """Look into a park of trees and bushes, with walkers and lamps."""
    camera = _view(rng, size, rng.uniform(18, 34), 1.7, np.array([0, 0, rng.uniform(1.5, 4)]))
    faces = [props.ground("lawn", int(rng.integers(0, 99)))]
    for _ in range(int(rng.integers(14, 34))):
        x, y = rng.uniform(-40, 40), rng.uniform(-12, 45)
        if abs(x) < 5:
            continue
        kind = str(rng.choice(["tree", "tree", "tree", "hedge", "lamp"]))
        faces.append(
            sprites.billboard(props.cutout(kind, rng), x, y, camera.position, rng.uniform(0.7, 1.3))
        )
    faces += _people(props, rng, camera, int(rng.integers(1, 8)))
    if rng.random() < 0.35:
        shop = _one_off_shop(rng)
        DESIGNS[str(rng.choice(["monument", "manor", "pagoda"]))](shop)
        faces += scenery.moved(shop.faces, rng.uniform(-10, 10), 34.0, rng.uniform(-0.6, 0.6))
    return camera, _close(props, rng, camera, faces)


def _shore(props: Props, rng: Rng, size: tuple[int, int]) -> tuple[Camera, list[Face]]:
    """Look over water: boats, a beach, hills, perhaps a lighthouse or a bridge."""
    camera = _view(
        rng, size, rng.uniform(40, 56), rng.uniform(2, 7), np.array([0, 0, rng.uniform(0.5, 5)])
    )
    faces = [props.ground("water", int(rng.integers(0, 99)))]
    sand = props.ground("sand", int(rng.integers(0, 99)))
    faces += scenery.moved(
        [sand], rng.uniform(-20, 20), -65 - rng.uniform(20, 30), rng.normal(0, 0.12)
    )
    faces[-1] = Face(
        faces[-1].origin + np.array([0, 0, 0.12]),
        faces[-1].u,
        faces[-1].v,
        sand.texture,
        sand.polygon,
    )
    for _ in range(int(rng.integers(2, 8))):
        x, y = rng.uniform(-30, 30), rng.uniform(-14, 45)
        faces.append(
            sprites.billboard(
                props.cutout("boat", rng), x, y, camera.position, rng.uniform(0.6, 1.3)
            )
        )
    if rng.random() < 0.3:
        shop = _one_off_shop(rng)
        (towers.lighthouse if rng.random() < 0.5 else monuments.aqueduct)(shop)
        faces += scenery.moved(shop.faces, rng.uniform(-16, 16), 50.0, rng.uniform(-0.3, 0.3))
    faces += _people(props, rng, camera, int(rng.integers(0, 6)))
    return camera, _close(props, rng, camera, faces)


def _one_off_shop(rng: Rng) -> Workshop:
    palette = PALETTES[int(rng.integers(0, len(PALETTES)))]
    sign = SIGNS[int(rng.integers(0, len(SIGNS)))]
    return Workshop(rng, rng, palette, 12.0, sign, sheet_size=320)


def _mountains(props: Props, rng: Rng, size: tuple[int, int]) -> tuple[Camera, list[Face]]:
    """Look at mountains over a meadow with firs and a hut or two."""
    camera = _view(
        rng, size, rng.uniform(30, 50), rng.uniform(2, 9), np.array([0, 0, rng.uniform(4, 9)])
    )
    faces = [props.ground("lawn", int(rng.integers(0, 99)) + 2)]
    for turn in (-0.6, 0.0, 0.6):
        far = camera.position[:2] + 380 * np.array([np.sin(turn), np.cos(turn)])
        hills = props.hills("mountains", rng)
        faces.append(
            sprites.billboard(
                hills, float(far[0]), float(far[1]), camera.position, rng.uniform(1.6, 2.4), z=-6
            )
        )
    for _ in range(int(rng.integers(4, 16))):
        x, y = rng.uniform(-45, 45), rng.uniform(-5, 50)
        faces.append(
            sprites.billboard(
                props.cutout("tree", rng), x, y, camera.position, rng.uniform(0.7, 1.2)
            )
        )
    if rng.random() < 0.4:
        own, _ = _own_house(rng)
        faces += scenery.moved(
            own, rng.uniform(-12, 12), rng.uniform(5, 30), rng.uniform(-0.8, 0.8)
        )
    return camera, _close(props, rng, camera, faces)


def _market(props: Props, rng: Rng, size: tuple[int, int]) -> tuple[Camera, list[Face]]:
    """Stand in a market: rows of stalls, many people, houses behind."""
    camera = _view(
        rng,
        size,
        rng.uniform(9, 18),
        rng.uniform(1.6, 2.4),
        np.array([0, 0, rng.uniform(1.4, 2.6)]),
    )
    faces = [props.ground("plaza", int(rng.integers(0, 99)))]
    for row in range(3):
        for k in range(-3, 4):
            if rng.random() < 0.7:
                x, y = k * 4.4 + rng.uniform(-0.5, 0.5), row * 5.0 + rng.uniform(-0.5, 0.5)
                faces.append(sprites.billboard(props.cutout("stall", rng), x, y, camera.position))
    for x in range(-40, 41, 13):
        faces += scenery.moved(props.house(int(rng.integers(0, 99))), float(x), 22.0, 0.0)
    faces += _people(props, rng, camera, int(rng.integers(6, 18)))
    return camera, _close(props, rng, camera, faces)


def _people(props: Props, rng: Rng, camera: Camera, count: int) -> list[Face]:
    return scenery.crowd(props, rng, camera, count)


def _close(props: Props, rng: Rng, camera: Camera, faces: list[Face]) -> list[Face]:
    """Add what lies at the horizon."""
    return [*faces, *scenery.backdrop(props, rng, camera), scenery.far_ground(faces[0])]
