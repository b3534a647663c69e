"""Take photos: choose where to stand and which lens, fill the scene, render, light, develop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import scenery
from .camera import Camera, look_at
from .difficulty import Difficulty
from .landmarks import Building
from .lens import develop
from .light import ShadowMap, add_shadows, shade, shadow_map
from .materials import Rng
from .raster import Face, draw, new_frame
from .scenery import Props
from .sprites import billboard
from .weather import Weather, pick_weather, sun_direction

SIZES = ((400, 300), (400, 300), (400, 300), (300, 400), (300, 400), (400, 266), (352, 352))


class Studio:
    """A landmark ready to be photographed: it keeps its shadow maps, one for each time of day."""

    def __init__(self, building: Building, own: tuple[int, ...]) -> None:
        """Take a building and the seed of its surroundings."""
        self.building = building
        self.own = own
        self._shadows: dict[str, ShadowMap] = {}

    def shadows(self, weather: Weather) -> ShadowMap:
        """Give the shadow map of the building alone."""
        if weather.name not in self._shadows:
            self._shadows[weather.name] = shadow_map(self.building.faces, sun_direction(weather))
        return self._shadows[weather.name]


def photo_size(rng: Rng, scale: float, slim: float) -> tuple[int, int]:
    """Choose (width, height) of a photo; `slim` is height by width of the subject."""
    w, h = SIZES[int(rng.integers(0, len(SIZES)))]
    if rng.random() < 0.5 and ((slim > 1.15 and w > h) or (slim < 0.9 and w < h)):
        w, h = h, w
    return round(w * scale), round(h * scale)


def stand(
    building: Building, size: tuple[int, int], rng: Rng, knobs: Difficulty, hard: bool
) -> Camera:
    """Choose a viewpoint, a lens and a direction for a landmark.

    Args:
        building: about the origin.
        size: (width, height) of the photo in pixels.
        rng: is used up.
        knobs: spreads.
        hard: stand far to the side or far away.
    """
    extent = building.high - building.low
    azimuth = float(rng.choice(building.views)) + rng.normal(0, knobs.azimuth_spread)
    if hard and rng.random() < 0.5:
        azimuth = float(rng.choice([-1, 1])) * rng.uniform(48, 66)
    a = np.radians(np.clip(azimuth, -68, 68))
    wide = extent[0] * np.cos(a) + extent[1] * abs(np.sin(a))
    fill, roll = rng.uniform(0.72, 1.08), rng.random()
    detail = roll < knobs.detail_share
    if detail:
        fill = rng.uniform(1.3, 2.0)
    elif roll < knobs.detail_share + knobs.wide_share or (hard and rng.random() < 0.4):
        fill = rng.uniform(0.38, 0.6)
    fov = np.radians(rng.uniform(40, 66))
    aspect = size[1] / size[0]
    tan = np.tan(fov / 2) / max(1.0, aspect)
    away = max(wide / (2 * tan), extent[2] / (2 * tan * aspect)) / fill
    limit = float(np.clip(away, extent[1] / 2 + 8, 74.0))
    tan *= away / limit
    tan = min(tan, 0.95)
    eye = rng.uniform(1.5, 2.0) if rng.random() < 0.75 else rng.uniform(3, 9)
    position = np.array([limit * np.sin(a), -limit * np.cos(a), eye])
    middle = (building.low + building.high) / 2
    spread = 0.3 if detail else 0.07
    target = np.array([middle[0], 0.0, 0.48 * building.high[2]])
    target += rng.normal(0, spread, 3) * extent * (0.6, 0.0, 0.5)
    return look_at(position, target, (size[0] - 1) / (2 * tan), size, rng.normal(0, 0.02))


def photograph(
    studio: Studio,
    props: Props,
    rng: Rng,
    knobs: Difficulty,
    *,
    scale: float = 1.0,
    hard: bool = False,
) -> bytes:
    """Take a photo of a landmark: the bytes of a JPEG file."""
    building = studio.building
    extent = building.high - building.low
    size = photo_size(rng, scale, float(extent[2] / extent[0]))
    weather = pick_weather(rng, knobs.hard_weathers if hard else knobs.weathers, building.turn)
    camera = stand(building, oversized(size, knobs), rng, knobs, hard)
    own = np.random.default_rng(list(studio.own))
    ground = props.ground(building.setting, int(own.integers(0, 99)))
    around = scenery.neighbours(props, rng, building, own, knobs.keep_neighbours)
    stage = [
        ground,
        *building.faces,
        *around,
        *scenery.backdrop(props, rng, camera),
        scenery.far_ground(ground),
    ]
    loose = scenery.garden(props, rng, building, camera)
    loose += scenery.crowd(props, rng, camera, int(rng.integers(0, knobs.crowd + 1)))
    for _ in range(int(rng.random() < knobs.occluder_share) + int(hard)):
        loose += scenery.occluder(props, rng, camera)
    shadows = add_shadows(studio.shadows(weather), [*around, *_to_sun(loose, weather)])
    return expose(camera, [*stage, *loose], weather, shadows, size, rng=rng, knobs=knobs)


def oversized(size: tuple[int, int], knobs: Difficulty) -> tuple[int, int]:
    """Give the size in which a photo is rendered."""
    return round(size[0] * knobs.supersampling), round(size[1] * knobs.supersampling)


def expose(
    camera: Camera,
    faces: Sequence[Face],
    weather: Weather,
    shadows: ShadowMap,
    size: tuple[int, int],
    *,
    rng: Rng,
    knobs: Difficulty,
) -> bytes:
    """Render, light and develop a scene: the bytes of a JPEG file."""
    frame = new_frame(camera.width, camera.height)
    draw(frame, camera, faces)
    light = shade(frame, camera, faces, weather, shadows, rng=rng)
    return develop(light, size, rng, knobs, weather.name in ("dusk", "night"))


def _to_sun(loose: Sequence[Face], weather: Weather) -> list[Face]:
    """Turn cut-outs to the sun, so that their shadows have their true width."""
    sun = sun_direction(weather)
    turned = []
    for face in loose:
        if not face.flat:
            turned.append(face)
            continue
        centre = face.origin + face.u / 2
        scale = float(np.linalg.norm(face.u)) / face.texture.metres[0]
        foot = float(face.origin[2] + face.v[2])
        x, y = float(centre[0]), float(centre[1])
        turned.append(billboard(face.texture, x, y, centre[:2] + 100 * sun[:2], scale, z=foot))
    return turned
