"""Where a building is made: its palette, its sheets of material, its facades.

Two generators keep look-alikes apart: `form` decides what twins share (architecture, palette,
sizes), `detail` what is theirs alone (every stone, the rhythm of the windows, signs, ornaments).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import ornaments
from .materials import MATERIALS, Color, Rng, cut, jitter, shade
from .painting import Canvas, Window
from .raster import Face, Texture


@dataclass(frozen=True)
class Palette:
    """Materials and colours of a building; several buildings share each of them."""

    wall: tuple[str, Color]
    base: tuple[str, Color]
    roof: tuple[str, Color]
    trim: Color
    leaf: Color  # doors and shutters


SLATE, COPPER, LEAD = (
    ("tiles", (96, 84, 76)),
    ("metal", (138, 160, 104)),
    ("metal", (140, 134, 126)),
)
RED_TILE, BROWN_TILE, GOLD = (
    ("tiles", (58, 78, 158)),
    ("tiles", (62, 76, 104)),
    ("metal", (70, 160, 205)),
)

PALETTES: tuple[Palette, ...] = (
    Palette(
        ("stone", (150, 186, 208)), ("stone", (120, 148, 168)), SLATE, (186, 212, 226), (60, 82, 52)
    ),
    Palette(
        ("brick", (76, 92, 160)), ("stone", (150, 170, 180)), SLATE, (196, 212, 220), (44, 46, 70)
    ),
    Palette(
        ("stone", (158, 162, 160)),
        ("rubble", (122, 126, 126)),
        COPPER,
        (196, 200, 200),
        (80, 60, 40),
    ),
    Palette(
        ("plaster", (164, 208, 228)),
        ("stone", (140, 156, 164)),
        RED_TILE,
        (232, 238, 240),
        (60, 90, 60),
    ),
    Palette(
        ("plaster", (112, 150, 214)),
        ("stone", (130, 150, 164)),
        RED_TILE,
        (222, 232, 238),
        (70, 70, 40),
    ),
    Palette(
        ("rubble", (134, 150, 160)),
        ("rubble", (112, 124, 132)),
        BROWN_TILE,
        (170, 184, 192),
        (40, 58, 90),
    ),
    Palette(
        ("plaster", (96, 178, 222)),
        ("stone", (150, 166, 172)),
        COPPER,
        (230, 236, 240),
        (90, 70, 44),
    ),
    Palette(
        ("plaster", (226, 230, 232)),
        ("stone", (160, 168, 172)),
        LEAD,
        (206, 210, 212),
        (128, 84, 40),
    ),
    Palette(
        ("plaster", (206, 190, 156)),
        ("stone", (166, 172, 176)),
        SLATE,
        (240, 240, 238),
        (110, 90, 60),
    ),
    Palette(
        ("timber", (196, 216, 226)),
        ("rubble", (128, 142, 150)),
        RED_TILE,
        (88, 104, 120),
        (50, 70, 96),
    ),
    Palette(
        ("brick", (100, 126, 178)),
        ("brick", (72, 88, 142)),
        RED_TILE,
        (206, 216, 222),
        (70, 84, 40),
    ),
    Palette(
        ("plaster", (172, 170, 222)),
        ("stone", (156, 164, 172)),
        BROWN_TILE,
        (236, 238, 242),
        (70, 60, 90),
    ),
)


@dataclass(eq=False)
class Workshop:
    """The state of one building under construction."""

    form: Rng
    detail: Rng
    palette: Palette
    ppm: float  # pixels a metre of its textures
    words: str  # what is written on its signs
    sheet_size: int = 640  # pixels
    faces: list[Face] = field(default_factory=list)
    sheets: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = field(default_factory=dict)

    def canvas(self, part: str, width: float, height: float) -> Canvas:
        """Cut a canvas (metres) of the material of a part: wall, base, roof or trim."""
        if part not in self.sheets:
            material, color = self._material(part)
            self.sheets[part] = MATERIALS[material](
                self.detail, self.sheet_size, jitter(self.detail, color, 0.025), self.ppm
            )
        h, w = (max(8, round(v * self.ppm)) for v in (height, width))
        return Canvas(cut(self.sheets[part], self.detail, h, w), self.ppm)

    def _material(self, part: str) -> tuple[str, Color]:
        made = {
            "wall": self.palette.wall,
            "base": self.palette.base,
            "roof": self.palette.roof,
            "trim": ("stone", self.palette.trim),
            "leaf": ("metal", self.palette.leaf),
            "gold": GOLD,
            "copper": COPPER,
            "glass": ("glass", (168.0, 140.0, 108.0)),
            "white": ("plaster", (228.0, 230.0, 232.0)),
            "red": ("plaster", (62.0, 58.0, 180.0)),
            "dark": ("rubble", (46.0, 46.0, 48.0)),
        }
        if part not in made:
            raise ValueError(f"part '{part}' has no material; expected one of {sorted(made)}")
        return made[part]

    def plain(self, part: str, width: float, height: float, wear: float = 0.5) -> Texture:
        """Make a bare wall of a material."""
        canvas = self.canvas(part, width, height)
        if wear > 0:
            ornaments.weather_wall(canvas, self.detail, wear)
        return canvas.texture()

    def roof(self, part: str = "roof", size: float = 16.0) -> Texture:
        """Make a piece of roof to cut panels from."""
        return self.canvas(part, size, size).texture()

    def window(self, shape: str | None = None) -> Window:
        """Design a window: its shape is of the form, its panes and ornaments of the detail."""
        kind = shape or ("rect", "rect", "arch", "arch", "pointed")[int(self.form.integers(0, 5))]
        light = self.detail.random() < 0.6
        return Window(
            shape=kind,
            columns=int(self.detail.integers(1, 4)),
            rows=int(self.detail.integers(1, 5)),
            surround=jitter(self.detail, self.palette.trim, 0.03),
            frame=(222, 226, 228) if light else shade(self.palette.leaf, 0.8),
            shutters=self.palette.leaf if kind == "rect" and self.detail.random() < 0.25 else None,
            pediment=kind == "rect" and bool(self.detail.random() < 0.35),
            sill=bool(self.detail.random() < 0.8),
        )
