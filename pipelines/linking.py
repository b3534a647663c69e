"""Put an image into a dataset folder without a second copy of its bytes, where that can be."""

import os
import shutil
from pathlib import Path

from .artifacts import writing
from .images import SUFFIXES


def link_image(source: Path, target: Path) -> None:
    """Make target the same file as source, or a copy where that cannot be.

    Files of the same id with other suffixes go: one of them might be read instead of this one.
    """
    for suffix in SUFFIXES:
        if suffix != target.suffix.lower():
            target.with_suffix(suffix).unlink(missing_ok=True)
    if target.exists() and os.path.samefile(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        # There whole or not at all, so no temporary name is needed. A link to a symbolic link
        # might lead nowhere from here.
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without links
        with writing(target) as temporary:
            shutil.copyfile(source, temporary)
