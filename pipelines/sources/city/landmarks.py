"""The landmarks of a city: which design, which twins, and how one is built from seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import civic, monuments, sacred, towers
from .camera import Floats
from .raster import Face
from .workshop import PALETTES, Workshop

DESIGNS: dict[str, Callable[[Workshop], None]] = {
    "clock_tower": towers.clock_tower,
    "cathedral": sacred.cathedral,
    "basilica": sacred.basilica,
    "arch": monuments.arch,
    "temple": sacred.temple,
    "onion_church": sacred.onion_church,
    "town_hall": civic.town_hall,
    "castle": monuments.castle,
    "palace": civic.palace,
    "theatre": civic.theatre,
    "monument": monuments.monument,
    "lighthouse": towers.lighthouse,
    "pagoda": towers.pagoda,
    "skyscraper": towers.skyscraper,
    "windmill": towers.windmill,
    "museum": civic.museum,
    "minarets": sacred.minarets,
    "station": civic.station,
    "houses": monuments.houses,
    "water_tower": towers.water_tower,
    "aqueduct": monuments.aqueduct,
    "manor": monuments.manor,
}


@dataclass(frozen=True)
class Blueprint:
    """What is needed to build a landmark: equal blueprints give equal faces."""

    kind: str  # a key of DESIGNS
    form: tuple[int, ...]  # seed of the architecture, shared by twins
    detail: tuple[int, ...]  # seed of the details, of this building alone
    words: str  # on its signs


@dataclass(frozen=True, eq=False)
class Building:
    """A built landmark.

    Attributes:
        faces: about the origin, front to -y.
        low: [3] float64, metres, lower corner of its bounding box.
        high: [3] float64, upper corner.
        views: degrees, azimuths from which people like to photograph it.
        turn: degrees, how it stands to the sun.
        setting: kind of the ground around it.
    """

    faces: list[Face]
    low: Floats
    high: Floats
    views: tuple[float, ...]
    turn: float
    setting: str


def twin_forms(count: int, pairs: int) -> list[tuple[str, int]]:
    """Give kind and number of the form of each landmark: the first 2 * pairs are twins in pairs."""
    kinds = list(DESIGNS)
    pairs = min(pairs, count // 2)
    forms = [k // 2 for k in range(2 * pairs)]
    forms += list(range(pairs, pairs + count - 2 * pairs))
    return [(kinds[f % len(kinds)], f) for f in forms]


def build(blueprint: Blueprint) -> Building:
    """Build a landmark.

    Raises:
        ValueError: the kind of the blueprint is unknown.
    """
    if blueprint.kind not in DESIGNS:
        raise ValueError(f"kind '{blueprint.kind}'; expected one of {sorted(DESIGNS)}")
    form = np.random.default_rng(list(blueprint.form))
    palette = PALETTES[int(form.integers(0, len(PALETTES)))]
    views = tuple(float(v) for v in form.choice([-34.0, -18.0, 0.0, 16.0, 36.0], 2, replace=False))
    turn, setting = float(form.uniform(-25, 25)), str(form.choice(["plaza", "street", "lawn"]))
    shop = Workshop(
        form, np.random.default_rng(list(blueprint.detail)), palette, 24.0, blueprint.words
    )
    DESIGNS[blueprint.kind](shop)
    low, high = bounds(shop.faces)
    return Building(shop.faces, low, high, views, turn, setting)


def bounds(faces: Sequence[Face]) -> tuple[Floats, Floats]:
    """Give the corners of the bounding box of faces: [3] and [3] float64, metres."""
    corners = np.vstack([f.origin + f.polygon @ np.stack([f.u, f.v]) for f in faces])
    return np.asarray(corners.min(0)), np.asarray(corners.max(0))
