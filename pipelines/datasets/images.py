"""Find image files by name; tell by its first bytes what one is."""

import logging
from collections.abc import Sequence
from pathlib import Path

from embed.errors import MissingFileError
from embed.printable import printable

logger = logging.getLogger(__name__)

# In any case; of several files of one name the first suffix counts. .jpe and .jfif are JPEG.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
# What a file starts with; WebP has its size between the two.
_JPEG, _PNG, _RIFF, _WEBP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP"
SNIFFED = 12  # bytes that tell what an image is


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Return the paths, each folder replaced by the image files in and below it, sorted.

    A folder without images is left out with a warning.

    Raises:
        MissingFileError: nothing is left.
    """
    found: list[Path] = []
    empty: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        # A link that leads nowhere cannot be read, which whoever reads it says.
        found_in = (p for p in path.rglob("*") if p.is_file() or is_dead_link(p))
        files = sorted(p for p in found_in if p.name[0] != ".")
        inside = [p for p in files if p.suffix.lower() in SUFFIXES]
        if not inside:
            empty.append(path)
        elif len(inside) < len(files):
            logger.warning(
                "%s: left out %d files of other kinds",
                printable(str(path)),
                len(files) - len(inside),
            )
        found += inside
    if empty and not found:
        named = ", ".join(map(str, empty))
        raise MissingFileError(
            f"{named} holds no image ({', '.join(SUFFIXES)}); name photos, or a folder of them"
        )
    for path in empty:
        logger.warning(
            "%s holds no image (%s): left out", printable(str(path)), ", ".join(SUFFIXES)
        )
    return found


def is_dead_link(path: Path) -> bool:
    """Tell whether a path is a link that leads nowhere."""
    return path.is_symlink() and not path.exists()


def sniff_suffix(start: bytes) -> str | None:
    r"""Return the suffix that fits an image's first 12 bytes or more; None if it is none we read.

    >>> sniff_suffix(b"\xff\xd8\xff\xe0"), sniff_suffix(b"GIF89a")
    ('.jpg', None)
    """
    if start.startswith(_JPEG):
        return ".jpg"
    if start.startswith(_PNG):
        return ".png"
    return ".webp" if start.startswith(_RIFF) and start[8:12] == _WEBP else None


def sniff_file(path: Path) -> str | None:
    """Return the suffix that fits a file's content; None if it is no image, or cannot be read."""
    try:
        with path.open("rb") as file:
            return sniff_suffix(file.read(SNIFFED))
    except OSError:
        return None
