r"""Write names into pictures: in any script that a font is installed for, and never as boxes.

DejaVu Sans, which comes with matplotlib, has Latin, Greek and Cyrillic. What it lacks is drawn with
an installed font that has it; what none has is spelled out, \u7167. Reads font files.
"""

import itertools
import logging
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageDraw, ImageFont

from embed.printable import printable

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont

logger = logging.getLogger(__name__)


def write_line(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    colour: Colour,
    *,
    width: float | None = None,
) -> None:
    """Write one line of text.

    Args:
        draw: of the picture.
        place: (x, y) of the left end of the line and of its middle, pixels.
        text: of any characters.
        size: of the letters, pixels.
        colour: red, green, blue.
        width: pixels; a longer line is cut, and ends in an ellipsis. None for no limit.
    """
    x, y = place
    for font, part in _cut(_split(text, size), size, width):
        draw.text((x, y), part, colour, font, anchor="lm")
        x += font.getlength(part)


def measure_line(text: str, size: int) -> float:
    """Return the width of a line of text in pixels."""
    return sum(font.getlength(part) for font, part in _split(text, size))


def spell(text: str) -> str:
    r"""Return text as matplotlib's own font can write it, other characters spelled out.

    >>> spell("Café Ελλάδα 照")
    'Café Ελλάδα \\u7167'
    """
    return "".join(c if _has(_own_font(), c) else _escape(c) for c in printable(text))


def _split(text: str, size: int) -> list[tuple[Font, str]]:
    """Return text in parts that a font each can write."""
    found: list[tuple[str, str]] = []
    for character in printable(text):
        path = _find_font(character)
        found.append((path or _own_font(), character if path else _escape(character)))
    return [
        (_load_font(path, size), "".join(character for _, character in group))
        for path, group in itertools.groupby(found, key=lambda pair: pair[0])
    ]


def _cut(
    parts: list[tuple[Font, str]], size: int, width: float | None
) -> Iterator[tuple[Font, str]]:
    """Yield parts as far as they go into a width, and an ellipsis for what does not."""
    if width is None or sum(font.getlength(part) for font, part in parts) <= width:
        yield from parts
        return
    own = _load_font(_own_font(), size)
    left = width - own.getlength("…")
    for font, part in parts:
        kept = part[: int(width)]  # no letter is narrower than a pixel
        while kept and font.getlength(kept) > left:
            kept = kept[:-1]
        yield font, kept.rstrip(" .") if kept != part else kept
        left -= font.getlength(kept)
        if kept != part:
            break
    yield own, "…"


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


@lru_cache(maxsize=4096)
def _find_font(character: str) -> str | None:
    """Return the file of a font that has a character: ours, or the first that is installed."""
    if _has(_own_font(), character):
        return _own_font()
    return next((path for path in _installed_fonts() if _has(path, character)), None)


@lru_cache(maxsize=1)
def _own_font() -> str:
    package = find_spec("matplotlib")  # importing it takes half a second
    assert package is not None and package.origin is not None  # a dependency
    return str(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")


@lru_cache(maxsize=1)
def _installed_fonts() -> tuple[str, ...]:
    """Return the files of the system's fonts, by name."""
    from matplotlib.font_manager import findSystemFonts

    return tuple(sorted(findSystemFonts()))


def _has(path: str, character: str) -> bool:
    """Tell whether a font has a character."""
    return character.isascii() or ord(character) in _list_characters(path)


@cache
def _list_characters(path: str) -> frozenset[int]:
    """Return the characters that Pillow can draw with a font; none if it cannot read it."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(path, 12).getmask("a")
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError) as error:  # somebody's broken font
        logger.debug("font %s: %s", path, error)
        return frozenset()


@lru_cache(maxsize=64)
def _load_font(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)
