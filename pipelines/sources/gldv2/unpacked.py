"""Use images that somebody has unpacked from the tars: `<split>/a/b/c/<id>.jpg`.

A dataset looks for images/a/b/c/<id>.jpg, whatever the split. So each image gets a link there:
no second copy of its bytes. Lists folders and links files; opens none.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.datasets.naming import is_text
from pipelines.progress import progress_bar

SUFFIX = ".jpg"


def is_unpacked(folder: Path) -> bool:
    """Tell whether a folder holds unpacked images: folders named by one character."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(len(entry.name) == 1 and entry.is_dir() for entry in entries)


def list_unpacked(folder: Path) -> list[str]:
    """Return the ids of the images below a folder, sorted: all files a/b/c/<id>.jpg."""
    folders = [str(folder)]
    for _ in "abc":
        folders = [path for above in folders for path in _list_letters(above)]
    ids: list[str] = []
    for path in folders:
        # Of a file elsewhere, x/y/z/<id>.jpg, nobody would know where it is.
        prefix = "".join(path.split(os.sep)[-3:])
        names = os.listdir(path)
        ids += [
            name[: -len(SUFFIX)]
            for name in names
            if name.endswith(SUFFIX) and name.startswith(prefix) and is_text(name)
        ]
    return sorted(ids)


def _list_letters(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.path for entry in entries if len(entry.name) == 1 and entry.is_dir()]


def link_unpacked(folder: Path, images: Path, ids: Sequence[str]) -> None:
    """Make images/a/b/c/<id>.jpg a link to <folder>/a/b/c/<id>.jpg, for each id.

    A hard link; where the file system has none, or is another one, a symbolic link. One that is
    there already stays.
    """
    if folder.resolve() == images.resolve():
        return
    made: set[str] = set()
    source, target = str(folder.resolve()), str(images.resolve())
    with progress_bar("link unpacked images", len(ids)) as advance:
        for image_id in ids:
            below = os.path.join(*image_id[:3])
            if below not in made:
                os.makedirs(os.path.join(target, below), exist_ok=True)
                made.add(below)
            name = os.path.join(below, image_id + SUFFIX)
            _link(os.path.join(source, name), os.path.join(target, name))
            advance(1)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        os.symlink(source, target)
