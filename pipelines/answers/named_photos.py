"""Find and open the photos that a command line names: files, folders, URLs, standard input.

Reads the files and standard input; downloads what is named by a URL.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embed.errors import InputError, MissingFileError
from pipelines.datasets.images import list_images

if TYPE_CHECKING:
    from .photo import Photo

logger = logging.getLogger(__name__)

STDIN = "-"
SCHEMES = ("http://", "https://")

NamedPhoto = Path | str  # a str is a URL, or STDIN


def is_file_name(argument: str) -> bool:
    """Tell whether a photo is named by a path.

    >>> [is_file_name(name) for name in ("a.jpg", "./-", "-", "HTTPS://host/a.jpg")]
    [True, True, False, False]
    """
    return argument != STDIN and not argument.lower().startswith(SCHEMES)


def list_named(arguments: Sequence[str], without: Path | None = None) -> list[NamedPhoto]:
    """Return the photos in the order they are named in, those of a folder sorted.

    Args:
        arguments: files, folders, URLs, or "-" for an image on standard input.
        without: folder whose photos are left out.

    Raises:
        InputError: standard input is named twice, or all photos are left out.
        MissingFileError: a folder is all there is, and it has no photo.
    """
    if arguments.count(STDIN) > 1:
        raise InputError("standard input (-) is one image; name it once")
    found: list[NamedPhoto] = []
    folders = [Path(each) for each in arguments if is_file_name(each)]
    if len(folders) == len(arguments):  # a folder without photos is an error where it is alone
        found += list_images(folders)
    else:
        for each in arguments:
            found += _list_some(Path(each)) if is_file_name(each) else [each]
    if without is None or not without.is_dir():
        return found
    inside = without.resolve()
    outside = [
        named
        for named in found
        if isinstance(named, str) or inside not in (named.parent.resolve() / named.name).parents
    ]
    if len(outside) < len(found):
        count = len(found) - len(outside)
        logger.warning("left out %d of the photos, which lie in %s", count, without)
    if found and not outside:
        raise InputError(f"all photos lie in {without}; sort them into another folder")
    return outside


def _list_some(path: Path) -> list[Path]:
    """Return the photos of a folder, or a file; an empty folder is warned of."""
    try:
        return list_images([path])
    except MissingFileError:
        return [path]  # which is answered by an error


def open_photo(named: NamedPhoto, max_pixels: int, *, allow_private: bool = False) -> "Photo":
    """Return a photo; files are read later.

    Args:
        named: of list_named.
        max_pixels: limit of the decoder, which limits what is read of standard input.
        allow_private: of URLs.

    Raises:
        InputError: a URL could not be had, or standard input is too long.
    """
    # They load OpenCV and Pillow, which take a tenth of a second that no list has need of.
    from embed.decode import ImageError
    from embed.image_file import limit_bytes

    from .photo import Photo

    if isinstance(named, Path):
        return Photo.of(named)
    if named != STDIN:
        # aiohttp takes a quarter of a second to import
        from pipelines.sources.download.one import download_image

        return Photo.of(download_image(named, allow_private=allow_private), named)
    if sys.stdin is None:
        raise ImageError("empty", "is closed", "standard input")
    limit = limit_bytes(max_pixels)
    data = sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        raise ImageError("too_large", f"more than {limit} bytes", "standard input")
    return Photo.of(data, named)
