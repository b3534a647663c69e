"""Times of day: where the sun stands, the colours of its light and of the sky, and clouds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .camera import Camera, Floats, Reals
from .materials import Color, Rng, noise


@dataclass(frozen=True)
class Weather:
    """Light and air of a photo. Colours are blue, green, red; 255 is full light."""

    name: str
    azimuth: float  # degrees, of the sun, 0 = behind the camera in front, positive to the right
    elevation: float  # degrees
    sun: Color  # light of the sun on a surface that faces it
    ambient: Color  # light of the sky on a wall
    zenith: Color  # sky above
    horizon: Color  # sky at the horizon
    cloud: Color  # lit clouds
    cover: float  # 0 clear to 1 overcast
    haze: float  # metres after which a third of the contrast is left
    glow: float  # 0 to 1, of windows and signs
    flood: float  # 0 to 1, of the floodlights on a landmark


WEATHERS: dict[str, Weather] = {
    w.name: w
    for w in (
        Weather(
            "morning",
            -52,
            28,
            (150, 205, 238),
            (112, 96, 84),
            (214, 160, 92),
            (236, 222, 206),
            (240, 240, 246),
            0.35,
            500,
            0,
            0,
        ),
        Weather(
            "noon",
            22,
            56,
            (204, 222, 232),
            (122, 104, 90),
            (206, 132, 58),
            (238, 214, 182),
            (250, 250, 250),
            0.4,
            900,
            0,
            0,
        ),
        Weather(
            "afternoon",
            48,
            38,
            (172, 210, 236),
            (116, 100, 88),
            (208, 144, 74),
            (232, 216, 196),
            (246, 246, 250),
            0.5,
            700,
            0,
            0,
        ),
        Weather(
            "golden",
            66,
            13,
            (62, 142, 240),
            (104, 84, 88),
            (176, 128, 96),
            (122, 184, 246),
            (130, 178, 250),
            0.45,
            420,
            0.15,
            0,
        ),
        Weather(
            "overcast",
            0,
            60,
            (26, 26, 26),
            (176, 170, 164),
            (198, 190, 182),
            (222, 216, 210),
            (206, 200, 196),
            1.0,
            420,
            0.1,
            0,
        ),
        Weather(
            "mist",
            -30,
            30,
            (40, 44, 46),
            (174, 172, 168),
            (206, 204, 200),
            (218, 216, 214),
            (216, 214, 212),
            0.9,
            110,
            0.15,
            0,
        ),
        Weather(
            "dusk",
            -80,
            6,
            (40, 30, 50),
            (110, 78, 70),
            (128, 66, 44),
            (120, 130, 226),
            (150, 110, 200),
            0.5,
            500,
            0.85,
            0.4,
        ),
        Weather(
            "night",
            40,
            40,
            (16, 11, 8),
            (60, 43, 36),
            (44, 24, 14),
            (72, 46, 40),
            (62, 44, 40),
            0.4,
            600,
            1.0,
            0.9,
        ),
    )
}


def pick_weather(rng: Rng, shares: tuple[tuple[str, float], ...], turn: float) -> Weather:
    """Choose a weather and vary it.

    Args:
        rng: is used up.
        shares: (name, weight) pairs.
        turn: degrees, how the place is turned against the sun; the same for all its photos, so
            that shadows of a landmark fall in a few directions only.
    """
    weights = np.array([w for _, w in shares])
    base = WEATHERS[shares[int(rng.choice(len(shares), p=weights / weights.sum()))][0]]
    dimmer, tint = rng.uniform(0.82, 1.12), 1 + 0.03 * rng.standard_normal(3)

    def vary(color: Color, factor: float) -> Color:
        b, g, r = (float(c * t * factor) for c, t in zip(color, tint, strict=True))
        return b, g, r

    return replace(
        base,
        azimuth=base.azimuth + turn,
        sun=vary(base.sun, dimmer),
        ambient=vary(base.ambient, 1.9 - 0.9 * dimmer),
        zenith=vary(base.zenith, 1.0),
        cover=float(np.clip(base.cover + rng.uniform(-0.35, 0.3), 0, 1)),
        haze=base.haze * rng.uniform(0.7, 1.6),
    )


def sun_direction(weather: Weather) -> Floats:
    """Give the unit vector towards the sun: [3] float64."""
    a, e = np.radians(weather.azimuth), np.radians(weather.elevation)
    return np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])


def paint_sky(camera: Camera, weather: Weather, rng: Rng) -> Reals:
    """Paint the sky that a camera sees: [H, W, 3] float32, 0 to 255."""
    scale = 4
    h, w = camera.height // scale + 2, camera.width // scale + 2
    x, y = np.meshgrid(np.arange(w) * scale, np.arange(h) * scale)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.intrinsics).T
    rays = rays @ camera.rotation
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    up = np.clip(rays[..., 2], 0.0, 1).astype(np.float32)
    mix = np.clip(up * 1.9, 0, 1)[..., None] ** 0.6
    low, high = (np.asarray(c, np.float32) for c in (weather.horizon, weather.zenith))
    sky = low * (1 - mix) + high * mix
    # Clouds lie on a plane above: stretch the noise towards the horizon.
    field = noise(rng, 256, 384, (110, 50)) + 0.55 * noise(rng, 256, 384, (22, 10, 5, 3))
    u = rays[..., 0] / (up + 0.16) * 88 + 190
    v = rays[..., 1] / (up + 0.16) * 62 + 80
    cloud = cv2.remap(
        field,
        u.astype(np.float32),
        v.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    thick = np.clip((np.asarray(cloud) - 1.3 + 2.1 * weather.cover) * 0.75, 0, 1)
    thick *= np.clip(up * 9, 0.15, 1)
    body = np.asarray(weather.cloud, np.float32) * (1 - 0.2 * np.clip(cloud - 0.9, 0, 1))[..., None]
    sky = sky * (1 - 0.9 * thick[..., None]) + body * (0.9 * thick[..., None])
    glare = np.clip(rays @ sun_direction(weather), 0, 1).astype(np.float32) ** 24
    sky += glare[..., None] * 0.5 * np.asarray(weather.sun, np.float32)
    full = cv2.resize(sky, (w * scale, h * scale), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full[: camera.height, : camera.width], np.float32)
