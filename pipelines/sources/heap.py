"""Make a dataset of photos that nobody has labelled: all of one class, until they are grouped.

Reads file names. Writes images/ (hard links, or copies across file systems) and train.csv: id,
landmark_id, which is 0, and file, the path below the folder of photos.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from embed.errors import MissingFileError
from pipelines.datasets.derive import write_rows
from pipelines.datasets.images import SUFFIXES, list_images
from pipelines.datasets.linking import link_image
from pipelines.datasets.naming import is_text, make_id
from pipelines.datasets.origin import claim
from pipelines.datasets.renewal import renewing


def import_heap(source: Path, photos: Mapping[str, Path], folder: Path) -> None:
    """Write a dataset folder of all photos in and below a folder.

    Args:
        source: holds photos, in folders or not.
        photos: these, as list_heap returns.
        folder: the dataset folder to write.

    Raises:
        InputError: the dataset folder is of other photos.
    """
    claim(folder, {"heap": str(source.resolve())})
    with renewing(folder, ("train",)) as renewal:
        for image_id, path in photos.items():
            link_image(path, folder / "images" / f"{image_id}{path.suffix.lower()}", renewal)
        files = [path.relative_to(source).as_posix() for path in photos.values()]
        table = {"id": list(photos), "landmark_id": [0] * len(photos), "file": files}
        write_rows(pa.table(table), renewal.waiting / "train")


def list_heap(source: Path) -> dict[str, Path]:
    """Return the photos in and below a folder by their ids, sorted by path; none that is hidden.

    An id is the path below the folder without its suffix, as far as it is a file name: a/b.jpg is
    a_b.

    Raises:
        MissingFileError: source is no folder, or has no photo.
    """
    if not source.is_dir():
        raise MissingFileError(f"no folder at {source}; name the folder that holds the photos")
    photos: dict[str, Path] = {}
    for path in list_images([source]):
        place = path.relative_to(source)
        if any(part[0] == "." for part in place.parts) or not is_text(str(place)):
            continue
        image_id = make_id("_".join(place.with_suffix("").parts))
        while image_id in photos:  # a/b.jpg beside a_b.jpg, or a_b.png
            image_id = make_id(f"{image_id}_{path.suffix.lower()[1:]}")
        photos[image_id] = path
    if not photos:
        raise MissingFileError(f"{source} holds no photo ({', '.join(SUFFIXES)}) in open folders")
    return photos
