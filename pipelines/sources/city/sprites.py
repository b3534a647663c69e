"""Cut-outs that stand in the scenery: trees, people, lamps, stalls, boats; and vehicles."""

from __future__ import annotations

import cv2
import numpy as np

from . import ornaments, painting
from .camera import Floats
from .materials import Color, Rng, jitter, shade
from .painting import Canvas
from .raster import SOLID, UNIT, Face, Texture

PEOPLE: tuple[Color, ...] = (
    (62, 58, 56),
    (110, 84, 60),
    (96, 112, 128),
    (70, 70, 150),
    (150, 160, 168),
    (84, 110, 76),
    (200, 206, 210),
    (70, 130, 176),
)  # coats


def blank(width: float, height: float, ppm: float, color: Color = (90, 90, 90)) -> Canvas:
    """Make an empty canvas of metres; its holes have a colour, which shows at soft edges."""
    pixels = np.zeros((max(8, round(height * ppm)), max(8, round(width * ppm)), 4), np.uint8)
    pixels[..., :3] = color
    return Canvas(pixels, ppm)


def billboard(
    texture: Texture, x: float, y: float, toward: Floats, scale: float = 1.0, *, z: float = 0.0
) -> Face:
    """Stand a cut-out at (x, y) that turns to a point (only its x and y count)."""
    way = np.array([toward[0] - x, toward[1] - y])
    way = way / max(float(np.linalg.norm(way)), 1e-6)
    right = np.array([-way[1], way[0], 0.0])
    w, h = (v * scale for v in texture.metres)
    origin = np.array([x, y, z + h]) - right * (w / 2)
    return Face(origin, right * w, np.array([0.0, 0.0, -h]), texture, UNIT, flat=True)


def tree(rng: Rng) -> Texture:
    """Paint a tree: a round, tall or conic crown of leaf blobs over a trunk."""
    tall = rng.uniform(6, 11)
    wide = tall * rng.uniform(0.5, 0.85)
    leaf = jitter(
        rng,
        ((44, 92, 66), (40, 110, 92), (56, 84, 52), (40, 100, 130))[
            int(rng.choice(4, p=[0.4, 0.25, 0.25, 0.1]))
        ],
        0.1,
    )
    canvas = blank(wide, tall, 18, shade(leaf, 0.6))
    bark = jitter(rng, (52, 66, 84), 0.1)
    foot = np.array([wide / 2, tall])
    painting.fill(
        canvas,
        foot + np.array([[-0.28, 0], [0.28, 0], [0.12, -0.6 * tall], [-0.12, -0.6 * tall]]),
        bark,
    )
    for _ in range(3):
        tip = foot + np.array([rng.uniform(-0.3, 0.3) * wide, -rng.uniform(0.4, 0.7) * tall])
        painting.stroke(canvas, foot + np.array([0, -0.3 * tall]), tip, 0.14, bark)
    conic = rng.random() < 0.25
    clumps = 26
    spots = rng.random((clumps, 2))
    for a, up in sorted(spots.tolist(), key=lambda s: s[1]):
        reach = (1 - up) if conic else np.sqrt(max(0.03, 1 - (2 * up - 0.9) ** 2))
        cx = wide / 2 + (a - 0.5) * 0.66 * wide * reach
        cy = tall * (0.72 - 0.6 * up)
        for _ in range(30):
            px, py = cx + rng.normal(0, 0.085) * wide, cy + rng.normal(0, 0.06) * tall
            tone = 0.6 + 0.5 * up + rng.uniform(-0.2, 0.25) + 0.12 * (cx - wide / 2) / wide
            blob(canvas, px, py, rng.uniform(0.07, 0.2), shade(leaf, tone))
    return canvas.texture()


def blob(canvas: Canvas, x: float, y: float, radius: float, color: Color) -> None:
    """Fill a small ellipse, a little wider than high."""
    centre = (round(x * canvas.ppm), round(y * canvas.ppm))
    axes = (max(1, round(radius * canvas.ppm * 1.2)), max(1, round(radius * canvas.ppm)))
    cv2.ellipse(canvas.pixels, centre, axes, 0, 0, 360, (*color, SOLID), -1)


def branch(rng: Rng) -> Texture:
    """Paint a twig with big leaves that hangs into the picture."""
    leaf = jitter(rng, (46, 96, 70), 0.2)
    canvas = blank(1.6, 1.0, 110, shade(leaf, 0.6))
    at = np.array([0.0, rng.uniform(0.1, 0.3)])
    for _ in range(9):
        to = at + np.array([rng.uniform(0.08, 0.2), rng.uniform(-0.03, 0.09)])
        painting.stroke(canvas, at, to, 0.02, (40, 52, 66))
        for _ in range(5):
            centre = tuple(int(v) for v in (to + rng.normal(0, 0.07, 2)) * canvas.ppm)
            axes = (
                int(rng.uniform(0.05, 0.09) * canvas.ppm),
                int(rng.uniform(0.02, 0.035) * canvas.ppm),
            )
            tone = (*shade(leaf, rng.uniform(0.5, 1.4)), SOLID)
            cv2.ellipse(
                canvas.pixels,
                (centre[0], centre[1]),
                axes,
                rng.uniform(0, 180),
                0,
                360,
                tone,
                -1,
                16,
            )
        at = to
    return canvas.texture()


def person(rng: Rng) -> Texture:
    """Paint somebody who stands or walks, with hair, coat, legs, perhaps a bag or an umbrella."""
    tall = rng.uniform(1.6, 1.88)
    coat = jitter(rng, PEOPLE[int(rng.integers(0, len(PEOPLE)))], 0.12)
    legs = jitter(rng, (80, 66, 60), 0.25)
    skin = shade((134, 168, 212), rng.uniform(0.45, 1.1))
    canvas = blank(1.2, 2.3, 44, shade(coat, 0.7))
    x, base = 0.6, 2.3
    step = rng.uniform(0.05, 0.2)
    for side in (-1, 1):
        painting.stroke(
            canvas,
            np.array([x, base - 0.48 * tall]),
            np.array([x + side * step, base - 0.04]),
            0.17,
            shade(legs, 1 + 0.12 * side),
        )
        painting.stroke(
            canvas,
            np.array([x + side * 0.2, base - 0.8 * tall]),
            np.array([x + side * 0.27, base - 0.5 * tall]),
            0.11,
            shade(coat, 0.85 + 0.1 * side),
        )
    body = np.array([[-0.2, -0.84], [0.2, -0.84], [0.22, -0.43], [-0.22, -0.43]])
    painting.fill(canvas, np.array([x, base]) + body * (1, tall), coat)
    painting.fill(canvas, painting.outline("round", x - 0.11, base - tall, 0.22, 0.27), skin)
    painting.fill(
        canvas,
        painting.outline("arch", x - 0.125, base - tall - 0.02, 0.25, 0.14),
        shade((60, 70, 90), rng.uniform(0.3, 2.2)),
    )
    extra = int(rng.integers(0, 4))
    if extra == 0:
        painting.rect(
            canvas, x + 0.22, base - 0.52 * tall, 0.26, 0.3, color=jitter(rng, (80, 90, 140), 0.4)
        )
    elif extra == 1:
        top = painting.outline("arch", x - 0.55, base - tall - 0.4, 1.1, 0.5)
        painting.fill(canvas, top, jitter(rng, PEOPLE[int(rng.integers(0, len(PEOPLE)))], 0.2))
        painting.stroke(
            canvas,
            np.array([x + 0.2, base - tall]),
            np.array([x + 0.2, base - 0.6 * tall]),
            0.03,
            (40, 40, 40),
        )
    return canvas.texture()


def lamp_post(rng: Rng) -> Texture:
    """Paint a street lamp."""
    tall = rng.uniform(4.2, 6.0)
    canvas = blank(1.4, tall, 30, (40, 44, 40))
    iron: Color = (46, 50, 44)
    painting.rect(canvas, 0.64, 0.8, 0.12, tall, color=iron)
    painting.rect(canvas, 0.55, tall - 0.9, 0.3, 0.9, color=iron)
    heads = (0.7,) if rng.random() < 0.5 else (0.25, 1.15)
    if len(heads) == 2:
        painting.rect(canvas, 0.25, 0.85, 0.9, 0.08, color=iron)
    for x in heads:
        painting.fill(
            canvas, painting.outline("round", x - 0.2, 0.25, 0.4, 0.55), (196, 222, 236), 255
        )
        painting.fill(canvas, np.array([[x - 0.25, 0.28], [x, 0.02], [x + 0.25, 0.28]]), iron)
    return canvas.texture()


def stall(rng: Rng) -> Texture:
    """Paint a market stall with a striped awning and crates."""
    canvas = blank(3.4, 3.0, 36, (70, 80, 90))
    for x in (0.25, 3.05):
        painting.rect(canvas, x, 0.6, 0.09, 2.4, color=(70, 90, 110))
    hue = jitter(
        rng,
        ((60, 60, 200), (70, 140, 60), (170, 110, 50), (60, 160, 220))[int(rng.integers(0, 4))],
        0.1,
    )
    stripes = int(rng.integers(6, 12))
    for k in range(stripes):
        x, w = 0.1 + 3.2 * k / stripes, 3.2 / stripes
        tone = hue if k % 2 else (226.0, 230.0, 232.0)
        painting.rect(canvas, x, 0.1, w, 0.7, color=tone)
        painting.fill(canvas, painting.outline("round", x, 0.62, w, 0.36), shade(tone, 0.9))
    painting.rect(canvas, 0.2, 1.9, 3.0, 1.1, color=jitter(rng, (90, 120, 150), 0.15))
    for k in range(5):
        goods = jitter(
            rng,
            ((50, 60, 200), (50, 150, 220), (60, 150, 80), (200, 120, 160))[
                int(rng.integers(0, 4))
            ],
            0.15,
        )
        for _ in range(26):
            blob(
                canvas,
                0.35 + 0.56 * k + 0.5 * rng.random(),
                1.62 + 0.3 * rng.random(),
                0.06,
                jitter(rng, goods, 0.12),
            )
        painting.rect(
            canvas,
            0.28 + 0.58 * k,
            1.9,
            0.54,
            0.3,
            color=shade((90, 130, 166), rng.uniform(0.7, 1.1)),
        )
    return canvas.texture()


def hedge(rng: Rng) -> Texture:
    """Paint a bush."""
    leaf = jitter(rng, (50, 100, 70), 0.15)
    canvas = blank(3.0, 1.4, 26, shade(leaf, 0.6))
    for _ in range(420):
        a = rng.uniform(0, np.pi)
        r = np.sqrt(rng.random())
        x, y = 1.5 + 1.35 * r * np.cos(a), 1.4 - 1.2 * r * np.sin(a)
        blob(
            canvas,
            x,
            y,
            rng.uniform(0.05, 0.12),
            shade(leaf, 0.6 + 0.5 * r * np.sin(a) + rng.uniform(-0.15, 0.2)),
        )
    return canvas.texture()


def boat(rng: Rng) -> Texture:
    """Paint a sailing or a rowing boat."""
    canvas = blank(6.0, 8.0, 20, (120, 120, 120))
    hull = jitter(
        rng,
        ((200, 205, 210), (140, 80, 40), (60, 60, 170), (70, 110, 60))[int(rng.integers(0, 4))],
        0.1,
    )
    painting.fill(canvas, np.array([[0.2, 6.9], [5.9, 6.7], [5.0, 8.0], [1.0, 8.0]]), hull)
    painting.rect(canvas, 0.6, 7.1, 4.9, 0.14, color=shade(hull, 0.6))
    if rng.random() < 0.7:
        cloth = jitter(
            rng, ((225, 230, 235), (80, 80, 200), (190, 160, 120))[int(rng.integers(0, 3))], 0.06
        )
        painting.rect(canvas, 2.7, 0.2, 0.12, 6.8, color=(80, 100, 120))
        painting.fill(canvas, np.array([[2.9, 0.4], [5.5, 6.2], [2.9, 6.4]]), cloth)
        painting.fill(canvas, np.array([[2.6, 1.0], [2.6, 6.3], [0.6, 6.3]]), shade(cloth, 0.88))
    else:
        painting.rect(canvas, 2.0, 5.7, 2.2, 1.2, color=(210, 214, 216))
        painting.rect(canvas, 2.2, 5.9, 1.8, 0.5, color=(90, 80, 70))
    return canvas.texture()


def vehicle(rng: Rng) -> tuple[Texture, Texture, tuple[float, float, float]]:
    """Paint a bus, a tram or a van: its side, its end, and (length, width, height) in metres."""
    length, height = ((10.5, 3.1), (5.2, 2.3), (4.3, 1.6))[int(rng.integers(0, 3))]
    paint = jitter(
        rng,
        ((60, 60, 190), (190, 190, 195), (150, 90, 40), (60, 150, 210), (80, 120, 60))[
            int(rng.integers(0, 5))
        ],
        0.12,
    )
    textures = []
    for w in (length, 2.2):
        canvas = blank(w, height, 34, shade(paint, 0.8))
        painting.rect(canvas, 0.05, 0.1, w - 0.1, height - 0.45, color=paint)
        painting.rect(canvas, 0.05, 0.52 * height, w - 0.1, 0.12, color=shade(paint, 0.6))
        for k in range(max(1, int(w / 1.3))):
            painting.rect(
                canvas,
                0.25 + 1.3 * k,
                0.16 * height,
                min(1.1, w - 0.5),
                0.32 * height,
                color=(96, 84, 72),
                alpha=200,
            )
        if w == length:
            for x in (0.18 * w, 0.82 * w):
                painting.fill(
                    canvas,
                    painting.outline("round", x - 0.42, height - 0.84, 0.84, 0.84),
                    (34, 34, 34),
                )
            if length > 6:
                ornaments.poster(canvas, rng, (0.35 * w, 0.56 * height, 0.3 * w, 0.26 * height))
        textures.append(canvas.texture())
    return textures[0], textures[1], (length, 2.2, height)
