"""Keep fetched images as files where a dataset looks for them, and list those that are there.

Writes images/a/b/c/<id>.jpg, where a, b and c are the first characters of the id, or
images/<id>.jpg for shorter ids: each under a temporary name first, so that a file with its
name is whole. Safe in threads. After a loss of power a file can be empty: it does not count.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from embed.files import writing
from pipelines.datasets.images import SUFFIXES

from .sizes import Size, convert

NESTED = 3  # folders, one for each of the first characters


def image_path(image_id: str) -> str:
    """Return where in images/ the file of an image goes.

    Example:
        >>> image_path("0a1b2c"), image_path("17")
        ('0/a/1/0a1b2c.jpg', '17.jpg')
    """
    folder = _folder(image_id)
    return f"{folder}/{image_id}.jpg" if folder else f"{image_id}.jpg"


def _folder(image_id: str) -> str:
    if len(image_id) < NESTED:
        return ""
    # A dot names the folder itself, as it does for Dataset.
    return "/".join(character for character in image_id[:NESTED] if character != ".")


class ImageStore:
    """The folder images/ of a dataset that is being downloaded."""

    def __init__(self, images: Path, temporary: Path, size: Size) -> None:
        """Take the folder, one for unfinished files on the same file system, and the size."""
        self._images, self._temporary, self._size = images, temporary, size

    def store(self, image_id: str, data: bytes) -> None:
        """Convert the fetched bytes and write them to their place.

        Raises:
            ImageError: they are no whole image.
            InputError, OSError: they cannot be written.
        """
        converted = convert(data, self._size)
        temporary = self._temporary / f"{threading.get_ident()}.tmp"
        with writing(self._images / image_path(image_id), temporary, sync=False):
            temporary.write_bytes(converted)


def clear_temporary(folder: Path) -> None:
    """Delete what a killed download had not finished."""
    for stray in folder.glob("*.tmp"):
        stray.unlink()


def list_stored(images: Path) -> pa.ChunkedArray:
    """Return the ids of all images that are there and not empty, as a dataset would find them."""
    chunks = [pa.array(ids, pa.string()) for ids in _walk(images, "", 0)]
    return pa.chunked_array(chunks, pa.string())


def _walk(folder: Path, name: str, depth: int) -> Iterator[list[str]]:
    """Yield the ids of the files in each folder; name is the folder's, from images/ on."""
    if not folder.is_dir():
        return
    ids, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if entry.is_dir():
                folders.append(entry.name)
            elif suffix.lower() in SUFFIXES and entry.stat().st_size:
                # Dataset takes any file of images/ itself, but nested ones by their exact name.
                if not name or (suffix == ".jpg" and _folder(stem) == name):
                    ids.append(stem)
    yield ids
    for inner in folders if depth < NESTED else ():
        yield from _walk(folder / inner, f"{name}/{inner}" if name else inner, depth + 1)


def delete_temporary(folder: Path) -> None:
    """Delete the folder for unfinished files."""
    shutil.rmtree(folder)
