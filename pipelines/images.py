"""Find image files by name. Opens none."""

from collections.abc import Sequence
from pathlib import Path

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
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise FileNotFoundError(f"{path} holds no image ({', '.join(SUFFIXES)})")
        found += inside
    return found
