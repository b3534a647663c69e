"""Parts that several designs share: caps, signs, cottages, porticos, battlements.

Each adds its faces to a workshop; metres throughout.
"""

from __future__ import annotations

import numpy as np

from . import ornaments, painting, solids
from .camera import Floats
from .facades import facade, plaque
from .workshop import Workshop


def cap(shop: Workshop, base: Floats, z: float, height: float, kind: str, *, part: str) -> None:
    """Put a spire or dome on a footprint, with a finial."""
    rng = shop.detail
    radius = float(np.linalg.norm(base[0] - base.mean(0)))
    profile = solids.dome_profile(kind, z, radius, height)
    shop.faces += solids.lathe(base, profile, shop.roof(part, 10.0), rng)
    x, y = base.mean(0)
    tip = shop.plain("gold", 1.0, 1.0, 0.0)
    knob = solids.ring(float(x), float(y), 0.08 * radius + 0.12, 6)
    top = z + height
    shop.faces += solids.lathe(
        knob, [(0.5, top - 0.4), (1.2, top + 0.3), (0.3, top + 0.9), (0.2, top + 2.0)], tip, None
    )


def decal(
    shop: Workshop, x: float, y: float, z: float, width: float, *, height: float, text: str
) -> None:
    """Hang a sign on a wall that looks to the front: (x, z) is the middle of its lower edge."""
    a, b = np.array([x - width / 2, y - 0.15]), np.array([x + width / 2, y - 0.15])
    shop.faces.append(solids.wall(a, b, z, z + height, plaque(shop, width, height, text)))


def cottage(shop: Workshop, box: tuple[float, float, float, float], height: float) -> None:
    """Add a small house with a roof on a box (x, y, width, depth)."""
    x, y, w, d = box
    sides = [
        facade(
            shop,
            s,
            height,
            floors=max(1, int(height / 3.4)),
            bays=max(2, int(s / 2.6)),
            door=s == w,
        )
        for s in (w, d)
    ]
    shop.faces += solids.prism(solids.rectangle(x, y, w, d), 0, height, sides)
    shop.faces += solids.side_roof(
        box, height, 0.35 * d, shop.roof(), shop.plain("wall", d, 0.35 * d), rng=shop.detail
    )


def portico(shop: Workshop, x: float, y: float, width: float, height: float, *, count: int) -> None:
    """Put columns under a pediment before the front at y."""
    rng = shop.detail
    depth = 4.0
    shop.faces += solids.stairs(
        (x, y - depth / 2, width + 1, depth + 1), 3, 0.3, shop.plain("base", 12, 6)
    )
    spots = np.stack(
        [
            np.linspace(x - width / 2 + 0.8, x + width / 2 - 0.8, count),
            np.full(count, y - depth + 0.6),
        ],
        1,
    )
    shaft = shop.canvas("trim", 1.0, height)
    for k in range(4):
        painting.dim(shaft, 0.1 + 0.25 * k, 0, 0.07, height, factor=0.75)
    shop.faces += solids.columns(
        spots, 0.9, height, 0.055 * height, shaft.texture(), capital=shop.plain("trim", 1.4, 0.6)
    )
    beam = shop.canvas("trim", width, 1.3)
    painting.band(beam, 0.0, 0.3, shop.palette.trim, teeth=0.5)
    ornaments.sign(
        beam,
        rng,
        shop.words,
        (0.05 * width, 0.4, 0.9 * width, 0.85),
        shop.palette.trim,
        ink=(70, 80, 90),
    )
    shop.faces += solids.prism(
        solids.rectangle(x, y - depth / 2, width, depth),
        height,
        height + 1.3,
        [beam.texture(), shop.plain("trim", depth, 1.3)],
    )
    _pediment(shop, x, y - depth / 2, width, height + 1.3)


def _pediment(shop: Workshop, x: float, y: float, width: float, z: float) -> None:
    """Put a roof on a portico about (x, y), with figures in its gable."""
    rng, rise = shop.detail, 0.2 * width
    gable = shop.canvas("trim", width, rise)
    painting.dim(gable, 0, 0.0, width, rise, factor=0.8)
    ornaments.rose(gable, rng, width / 2, 0.62 * rise, 0.24 * rise, trim=shop.palette.trim)
    for k in range(6):
        painting.fill(
            gable,
            painting.outline(
                "arch", width * (0.22 + 0.1 * k + 0.04 * (k > 2)), rise * 0.7, 0.6, 0.3 * rise
            ),
            (rng.uniform(120, 200),) * 3,
        )
    shop.faces += solids.gable_roof(
        (x, y, width + 0.6, 4.0),
        z,
        rise,
        shop.roof(),
        gable.texture(),
        rng=rng,
    )


def battlements(shop: Workshop, footprint: Floats, z: float) -> None:
    """Set merlons along the top of walls, as cut-outs with a thickness of one face."""
    rng = shop.detail
    pace = rng.uniform(1.1, 1.6)
    for a, b in zip(footprint, np.roll(footprint, -1, axis=0), strict=True):
        length = float(np.linalg.norm(b - a))
        canvas = shop.canvas("base", length, 1.3)
        for k in range(int(length / pace) + 1):
            painting.rect(canvas, k * pace, 0, 0.42 * pace, 0.8, color=(40, 40, 40), alpha=0)
        texture = canvas.texture()
        shop.faces.append(solids.wall(a, b, z, z + 1.3, texture))
        shop.faces.append(solids.wall(b, a, z, z + 1.3, texture))
