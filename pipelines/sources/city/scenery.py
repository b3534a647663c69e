"""What surrounds a photo: ground, neighbours, trees, people, traffic; and what hides the view.

`Props` makes each thing once; two pools of props share nothing, so that test distractors and the
non-landmark pool show different houses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import grounds, solids, sprites
from .camera import Camera, Floats
from .elements import cottage
from .landmarks import Building
from .materials import Rng
from .raster import UNIT, Face, Texture
from .workshop import PALETTES, Workshop

VARIANTS = {"tree": 12, "person": 20, "lamp": 4, "stall": 6, "hedge": 4, "branch": 5, "boat": 6}
KINDS = (*VARIANTS, "house", "hills", "ground", "vehicle")
HOUSES, RANGES, GROUNDS, VEHICLES = 48, 3, 4, 10
SPAN = 130.0  # metres of a side of the ground


class Props:
    """Things of one pool, made when first wanted and kept."""

    def __init__(self, key: tuple[int, ...]) -> None:
        """Start empty; `key` is the seed of the pool."""
        self.key = key
        self._kept: dict[tuple[str, int], object] = {}

    def rng(self, kind: str, number: int) -> Rng:
        """Give the generator of a thing."""
        return np.random.default_rng([*self.key, KINDS.index(kind), number])

    def cutout(self, kind: str, rng: Rng) -> Texture:
        """Pick a cut-out: tree, person, lamp, stall, hedge, branch or boat."""
        makers = {
            "tree": sprites.tree,
            "person": sprites.person,
            "lamp": sprites.lamp_post,
            "stall": sprites.stall,
            "hedge": sprites.hedge,
            "branch": sprites.branch,
            "boat": sprites.boat,
        }
        number = int(rng.integers(0, VARIANTS[kind]))
        if (kind, number) not in self._kept:
            self._kept[kind, number] = makers[kind](self.rng(kind, number))
        found = self._kept[kind, number]
        assert isinstance(found, Texture)
        return found

    def hills(self, kind: str, rng: Rng) -> Texture:
        """Pick a far range of mountains, hills or a skyline."""
        number = int(rng.integers(0, RANGES)) + 10 * ("mountains", "hills", "skyline").index(kind)
        if ("hills", number) not in self._kept:
            self._kept["hills", number] = grounds.hills(self.rng("hills", number), kind)
        found = self._kept["hills", number]
        assert isinstance(found, Texture)
        return found

    def ground(self, kind: str, number: int) -> Face:
        """Give the ground: a square about the origin."""
        number = number % GROUNDS + 10 * ("plaza", "street", "lawn", "sand", "water").index(kind)
        if ("ground", number) not in self._kept:
            self._kept["ground", number] = grounds.ground(
                self.rng("ground", number), kind, SPAN, 7.0
            )
        found = self._kept["ground", number]
        assert isinstance(found, Texture)
        half = SPAN / 2
        return Face(
            np.array([-half, half, 0.0]),
            np.array([SPAN, 0, 0]),
            np.array([0, -SPAN, 0.0]),
            found,
            UNIT,
        )

    def house(self, number: int) -> list[Face]:
        """Give an anonymous house about the origin, its front at y = 0."""
        number %= HOUSES
        if ("house", number) not in self._kept:
            rng = self.rng("house", number)
            palette = PALETTES[int(rng.integers(0, len(PALETTES)))]
            shop = Workshop(rng, rng, palette, 13.0, "", sheet_size=320)
            width, depth, height = rng.uniform(8, 13), 8.0, rng.uniform(6.5, 12)
            cottage(shop, (0, depth / 2, width, depth), height)
            self._kept["house", number] = [replace(f, lamp=0.0) for f in shop.faces]
        found = self._kept["house", number]
        assert isinstance(found, list)
        return found

    def vehicle(self, number: int) -> list[Face]:
        """Give a bus, a tram or a van about the origin, along x."""
        number %= VEHICLES
        if ("vehicle", number) not in self._kept:
            side, end, (length, width, height) = sprites.vehicle(self.rng("vehicle", number))
            box = solids.rectangle(0, 0, length, width)
            self._kept["vehicle", number] = [
                replace(f, lamp=0.0) for f in solids.prism(box, 0, height, [side, end], end)
            ]
        found = self._kept["vehicle", number]
        assert isinstance(found, list)
        return found


def moved(faces: list[Face], x: float, y: float, yaw: float) -> list[Face]:
    """Turn faces about the vertical by `yaw` radians, then move them."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    shift = np.array([x, y, 0.0])
    return [replace(f, origin=turn @ f.origin + shift, u=turn @ f.u, v=turn @ f.v) for f in faces]


def backdrop(props: Props, rng: Rng, camera: Camera) -> list[Face]:
    """Close the horizon behind the scene with a range of hills or a skyline and more ground."""
    kind = str(rng.choice(["hills", "skyline", "skyline", "mountains"]))
    faces = []
    for turn in (-0.75, 0.0, 0.75):
        heading = np.arctan2(camera.rotation[2, 0], camera.rotation[2, 1]) + turn
        x, y = camera.position[:2] + 330 * np.array([np.sin(heading), np.cos(heading)])
        faces.append(
            sprites.billboard(
                props.hills(kind, rng),
                float(x),
                float(y),
                camera.position,
                rng.uniform(0.5, 0.8),
                z=-4.0,
            )
        )
    return faces


def far_ground(ground: Face) -> Face:
    """Continue the ground to the horizon with its mean colour, a little below."""
    last = ground.texture.levels[-1]
    plain = Texture((last,), (900.0, 900.0), True)
    return Face(
        np.array([-450, 450, -0.15]), np.array([900.0, 0, 0]), np.array([0, -900.0, 0]), plain, UNIT
    )


def neighbours(props: Props, rng: Rng, building: Building, own: Rng, keep: float) -> list[Face]:
    """Set houses beside and behind a landmark.

    Args:
        props: pool of the houses.
        rng: of the photo.
        building: is left free.
        own: generator of the landmark: which houses usually stand there.
        keep: probability that a usual house stands there in this photo, too.
    """
    faces: list[Face] = []
    half = max(abs(building.low[0]), building.high[0])
    for side in (-1, 1):
        gap, number, yaw = own.uniform(4, 12), int(own.integers(0, 99)), own.uniform(-0.25, 0.25)
        for k in range(3):
            own_number = number + 5 * k
            pick = own_number if rng.random() < keep else int(rng.integers(0, 99))
            if rng.random() < 0.12:
                continue
            x = side * (half + gap + 7 + 13.0 * k)
            faces += moved(props.house(pick), x, 3.0 + 2.0 * k, yaw)
    back = building.high[1] + 14
    for x in np.arange(-48, 49, 13.5):
        if rng.random() < 0.8:
            faces += moved(
                props.house(int(rng.integers(0, 99))), float(x), back + rng.uniform(0, 8), 0.0
            )
    return faces


def garden(props: Props, rng: Rng, building: Building, camera: Camera) -> list[Face]:
    """Plant trees and set up lamps beside a landmark, mostly clear of the view."""
    faces = []
    half = max(abs(building.low[0]), building.high[0])
    for _ in range(int(rng.integers(2, 8))):
        side = rng.choice([-1.0, 1.0])
        x, y = side * (half + rng.uniform(2, 22)), rng.uniform(-14, 12)
        kind = str(rng.choice(["tree", "tree", "tree", "hedge", "lamp"]))
        faces.append(
            sprites.billboard(props.cutout(kind, rng), x, y, camera.position, rng.uniform(0.7, 1.2))
        )
    return faces


def crowd(props: Props, rng: Rng, camera: Camera, count: int) -> list[Face]:
    """Let people stand between the camera and the origin."""
    faces = []
    way = -camera.position[:2]
    away = float(np.linalg.norm(way))
    across = np.array([-way[1], way[0]]) / away
    for _ in range(count):
        t = rng.uniform(0.3, 0.85)
        spot = camera.position[:2] + t * way + across * rng.normal(0, 0.28) * away * t
        faces.append(
            sprites.billboard(
                props.cutout("person", rng), float(spot[0]), float(spot[1]), camera.position
            )
        )
    return faces


def occluder(props: Props, rng: Rng, camera: Camera) -> list[Face]:
    """Put something big in front: a tree, a vehicle, a stall, a lamp, a passer-by or a branch."""
    forward, right = camera.rotation[2], camera.rotation[0]
    kind = str(
        rng.choice(
            ["tree", "tree", "vehicle", "vehicle", "stall", "lamp", "person", "branch", "hedge"]
        )
    )
    tan = camera.width / (2 * camera.focal)
    if kind == "branch":
        spot = (
            camera.position
            + 2.2 * forward
            + right * rng.choice([-1, 1]) * 2.2 * tan * rng.uniform(0.5, 1)
        )
        lift = 2.2 * camera.height / (2 * camera.focal)
        z = float(spot[2] + lift * 0.9 - 0.9)
        return [
            sprites.billboard(
                props.cutout("branch", rng),
                float(spot[0]),
                float(spot[1]),
                camera.position,
                1.0,
                z=z,
            )
        ]
    away = float(np.linalg.norm(camera.position[:2]))
    reach = {"person": (2.5, 5.0), "lamp": (4.0, 10.0)}.get(kind, (0.3 * away, 0.55 * away))
    distance = rng.uniform(*reach)
    level = forward[:2] / max(float(np.linalg.norm(forward[:2])), 1e-6)
    spot2: Floats = (
        camera.position[:2] + distance * level + right[:2] * distance * tan * rng.uniform(-0.8, 0.8)
    )
    x, y = float(spot2[0]), float(spot2[1])
    if kind == "vehicle":
        return moved(
            props.vehicle(int(rng.integers(0, 99))),
            x,
            y,
            float(np.arctan2(right[1], right[0])) + rng.normal(0, 0.2),
        )
    return [
        sprites.billboard(props.cutout(kind, rng), x, y, camera.position, rng.uniform(0.7, 1.1))
    ]
