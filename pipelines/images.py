"""Find image files by name. Opens none."""

import logging
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Return the paths, each folder replaced by the image files in and below it, sorted.

    Raises:
        FileNotFoundError: a folder has no image in it.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
        inside = [p for p in files if p.suffix.lower() in SUFFIXES]
        if not inside:
            raise FileNotFoundError(f"{path} holds no image ({', '.join(SUFFIXES)})")
        if len(inside) < len(files):
            logger.warning("%s: left out %d files of other kinds", path, len(files) - len(inside))
        found += inside
    return found
