"""List the photos of a folder a class, and say what is left out. Opens no photo."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embed.errors import MissingFileError
from embed.printable import printable
from pipelines.datasets.group_folders import FILES
from pipelines.datasets.images import SUFFIXES, sniff_file
from pipelines.datasets.naming import compose, is_text, name_landmark

logger = logging.getLogger(__name__)

NAMED = 20  # files that a warning names


@dataclass
class _LeftOut:
    """Files and folders that are in no class, as they are named to people."""

    others: list[str] = field(default_factory=list)  # files that are no photos by their suffix
    misplaced: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)  # images without a suffix
    undecodable: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)  # links that lead nowhere
    empty: list[str] = field(default_factory=list)  # folders without a photo that can be read


def list_classes(source: Path) -> dict[str, list[Path]]:
    """Return the photos of each thing in source, a folder each, by its name; both sorted by name.

    Folders whose names are shown alike, such as é composed and decomposed, are one thing.

    Raises:
        MissingFileError: source is no folder.
    """
    if not source.is_dir():
        raise MissingFileError(
            f"no folder at {source}; name the folder that holds a folder of photos for each thing"
        )
    left_out = _LeftOut()
    classes: dict[str, list[Path]] = {}
    folders: dict[str, list[str]] = {}
    for folder in _list_entries(source, "", left_out):
        if folder.name in FILES:  # what `cairn discover` writes beside the folders
            continue
        if not folder.is_dir():
            left_out.misplaced.append(folder.name)
            continue
        photos = _list_photos(folder, left_out)
        if not any(map(sniff_file, photos)):
            left_out.empty.append(f"{folder.name}/")
            continue
        name = name_landmark(folder.name)
        folders.setdefault(name, []).append(folder.name)
        classes[name] = sorted([*classes.get(name, []), *photos], key=_order)
    _warn(left_out)
    for name, same in folders.items():
        if len(same) > 1:
            logger.warning(
                "%d folders are called %s, in other spellings: taken for one landmark; rename "
                "all but one if they are not",
                *(len(same), name),
            )
    return classes


def _order(path: Path) -> tuple[str, str, str]:
    """Sort by name as it is shown: copied to another system, the photos keep their order."""
    return compose(path.name), path.name, path.parent.name


def _list_entries(folder: Path, prefix: str, left_out: _LeftOut) -> list[Path]:
    """Return what is in a folder and not hidden, sorted; without names that are no text."""
    entries = [path for path in folder.iterdir() if path.name[0] != "."]
    odd = sorted(path for path in entries if not is_text(path.name))
    left_out.undecodable += [f"{prefix}{path.name}{'/' * path.is_dir()}" for path in odd]
    return sorted((path for path in entries if is_text(path.name)), key=_order)


def _list_photos(folder: Path, left_out: _LeftOut) -> list[Path]:
    photos = []
    prefix = f"{folder.name}/"
    for path in _list_entries(folder, prefix, left_out):
        if path.is_dir():
            left_out.misplaced.append(f"{prefix}{path.name}/")
        elif not path.is_file():  # a link that leads nowhere
            left_out.dead.append(f"{prefix}{path.name}")
        elif path.suffix.lower() in SUFFIXES:
            photos.append(path)
        elif not path.suffix and sniff_file(path):
            left_out.bare.append(f"{prefix}{path.name}")
        else:
            left_out.others.append(f"{prefix}{path.name}")
    return photos


def _warn(left_out: _LeftOut) -> None:
    for names, what in (
        (left_out.others, "files of other kinds (convert those that are photos to JPEG)"),
        (
            left_out.misplaced,
            "files and folders that are not photos directly in the folder of a thing",
        ),
        (left_out.bare, f"images without a suffix (add {SUFFIXES[0]} to their names)"),
        (left_out.undecodable, "files and folders whose names are no UTF-8 (rename them)"),
        (left_out.dead, "links that lead nowhere"),
        (left_out.empty, "folders without a photo that can be read, which are no landmarks"),
    ):
        if names:
            logger.warning("left out %d %s: %s", len(names), what, name_some(names))


def name_some(names: Sequence[str]) -> str:
    """Return the first names, fit to be shown, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(printable, names[:NAMED])) + more
