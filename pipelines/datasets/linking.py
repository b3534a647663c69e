"""Put an image into another folder without a second copy of its bytes, where that can be."""

import filecmp
import os
import shutil
from pathlib import Path

from embed.files import writing

from .renewal import Renewal, list_files


def link_image(source: Path, target: Path, renewal: Renewal) -> None:
    """Make target, a path in images/, the same file as source, or a copy where that cannot be.

    An image of that id which is there is replaced when the dataset is renewed, whatever its suffix.
    """
    if list_files(target) == [target] and _is_same(source, target):
        return
    link_file(source, renewal.place_image(target))


def link_file(source: Path, place: Path) -> None:
    """Make place, which is free, the same file as source, or a copy where that cannot be."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        # There whole or not at all, so no temporary name is needed. A link to a symbolic link
        # might lead nowhere from here.
        os.link(source.resolve(), place)
    except OSError:  # another file system, or one without links
        with writing(place) as temporary:
            shutil.copyfile(source, temporary)


def _is_same(source: Path, target: Path) -> bool:
    return os.path.samefile(source, target) or filecmp.cmp(source, target, shallow=False)
