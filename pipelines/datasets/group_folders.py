"""A folder of links to photos for each group that was found, until somebody names them.

What is written is remembered in folders.json of a work folder inside, which is hidden, so that no
folder of photos is made of it. So nothing is taken away that somebody has renamed, moved or added.
"""

import csv
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embed.errors import InputError, MissingFileError
from embed.printable import printable
from embed.table_file import as_text, read_table
from pipelines.artifacts import WORK, read_heap, write_json

from .linking import link_file
from .naming import is_text

TABLE, PAGE, FAILURES, NAMES = "groups.csv", "groups.html", "failures.csv", "names.csv"
FILES = frozenset({TABLE, PAGE, FAILURES, NAMES})  # beside the folders
_RECORD, _NEXT = "folders.json", "next"
SHOWN = 5  # names in a message

Folders = Mapping[str, Mapping[str, Path]]  # file name -> photo, by name of the folder


@dataclass(frozen=True)
class _Record:
    """What is remembered of the folders that were written, or were being written."""

    folders: dict[str, set[str]]  # files by the name of their folder
    asked: str = ""
    whole: bool = False  # False: some may be missing, or have but some of the files


@dataclass(frozen=True)
class Discovered:
    """What was found among photos."""

    groups: int
    grouped: int  # photos in a group
    apart: int
    failed: int  # photos that could not be read


def claim_group_folders(into: Path, photos: Path) -> None:
    """Make the work folder in the one that groups are to be written to.

    Raises:
        InputError: into lies in the folder of photos, is no folder, cannot be made, or holds
            something else or groups of other photos.
    """
    if into.resolve().is_relative_to(photos.resolve()):
        raise InputError(f"{into} is among the photos in {photos}; name a folder outside: --into")
    if not is_text(str(into.resolve())):
        raise InputError(f"{printable(str(into))} is no UTF-8; name another: --into FOLDER")
    if os.path.lexists(into) and not into.is_dir():
        raise InputError(f"{into} is no folder; name another: --into FOLDER")
    if not (into / WORK).is_dir() and any(path.name[0] != "." for path in _list(into)):
        raise InputError(f"{into} holds something else; name a new folder: --into FOLDER")
    made_of = read_heap(into / WORK)
    if made_of not in (None, str(photos.resolve())):
        raise InputError(
            f"{into} is of the photos in {made_of}; name another folder: --into FOLDER"
        )
    try:
        (into / WORK).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise InputError(f"{into}: {why}; name another folder: --into FOLDER") from error


def find_done(into: Path, asked: str) -> Discovered | None:
    """Return what was found, if it is what is asked for, whatever became of the folders since.

    Args:
        into: the folder of the folders.
        asked: the hash of what they are made of.
    """
    record = _read_record(into)
    if not record.whole or record.asked != asked or not (into / TABLE).is_file():
        return None
    groups = [row["group"] for row in _read_csv(into / TABLE)]
    alone = groups.count("")
    failed = len(_read_csv(into / FAILURES))
    return Discovered(len({*groups} - {""}), len(groups) - alone, alone, failed)


def _read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of ours; none where there is no table."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_as_written(into: Path) -> None:
    """Make sure that the folders of groups are as they were written, or that there are none.

    Raises:
        InputError: somebody has renamed, moved or added something.
    """
    there, record = _list_folders(into), _read_record(into)
    written, whole = record.folders, record.whole
    changed = [
        name for name, files in there.items() if name not in written or not files <= written[name]
    ]
    if whole:
        changed += [name for name, files in written.items() if there.get(name) != files]
    if changed:
        names = ", ".join(map(printable, sorted(set(changed))[:SHOWN]))
        raise InputError(
            f"{into} is not as it was written: {names}; what somebody has named or moved is not "
            "replaced. Name another folder: --into FOLDER"
        )


def write_group_folders(folders: Folders, into: Path, asked: str) -> None:
    """Put a folder of links for each group in place of those written before.

    Whoever is killed in that leaves old or new folders, each whole, and the same call goes on.

    Args:
        folders: by the names that they get.
        into: the folder of the folders, as check_as_written takes it.
        asked: the hash of what they were made of, see find_done.
    """
    old = _read_record(into).folders
    new = {name: set(files) for name, files in folders.items()}
    following = into / WORK / _NEXT
    shutil.rmtree(following, ignore_errors=True)
    for name, files in folders.items():
        for file, photo in files.items():
            link_file(photo, following / name / file)
    either = {name: old.get(name, set()) | new.get(name, set()) for name in {*old, *new}}
    _write_record(_Record(either), into)
    for name in old:
        shutil.rmtree(into / name, ignore_errors=True)
    for name in new:
        shutil.rmtree(into / name, ignore_errors=True)
        (following / name).rename(into / name)
    shutil.rmtree(following, ignore_errors=True)
    _write_record(_Record(new, asked, whole=True), into)


def _list_folders(into: Path) -> dict[str, set[str]]:
    """Return what is in into and not hidden, with the files of each folder."""
    return {
        path.name: {file.name for file in _list(path)}
        for path in _list(into)
        if path.name[0] != "." and path.name not in FILES
    }


def _list(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it is none, or a link to one."""
    return list(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _read_record(into: Path) -> _Record:
    """Return what is remembered of the folders."""
    path = into / WORK / _RECORD
    if not path.is_file():
        return _Record({})
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        folders = {name: set(files) for name, files in values["folders"].items()}
        return _Record(folders, values["asked"], values["whole"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); name another folder: --into FOLDER"
        ) from error


def _write_record(record: _Record, into: Path) -> None:
    listed = {name: sorted(files) for name, files in sorted(record.folders.items())}
    values = {"folders": listed, "asked": record.asked, "whole": record.whole}
    write_json(values, into / WORK / _RECORD)


def rename_groups(into: Path, names: Path) -> dict[str, str]:
    """Rename folders of groups as a table says; those of one name become one folder.

    Args:
        into: the folder of the folders.
        names: a table of group and name; a group without a name keeps its own.

    Returns:
        The new name of each folder that was renamed. What a call before has renamed is left out.

    Raises:
        MissingFileError: no table, or no folder of a group in it.
        InputError: a name is none of a folder, or two files of one name would be in one folder.
    """
    table = read_table(names, ("group", "name"))
    groups, named = (as_text(table[each], each, names).to_pylist() for each in ("group", "name"))
    wanted = {group: name.strip() for group, name in zip(groups, named, strict=True)}
    renamed = {group: name for group, name in wanted.items() if name not in ("", group)}
    for group, name in renamed.items():
        _check_name(group, name, names)
        if name in renamed:
            raise InputError(
                f"{names}: {printable(group)} shall be called {printable(name)}, which is a group "
                "that gets another name itself; give both one name"
            )
    done = {group for group in renamed if not (into / group).is_dir()}
    for group in done:
        if not (into / renamed[group]).is_dir():
            raise MissingFileError(
                f"{names} names {printable(group)}, but there is no such folder in {into}; mend "
                "the table, or find the groups again: cairn discover PHOTOS --into FOLDER"
            )
    moves = {group: name for group, name in renamed.items() if group not in done}
    _check_apart(into, moves)
    for group, name in moves.items():
        (into / name).mkdir(exist_ok=True)
        for file in sorted((into / group).iterdir()):
            file.rename(into / name / file.name)
        (into / group).rmdir()
    return moves


def _check_name(group: str, name: str, names: Path) -> None:
    """Raise InputError unless these are names of folders in the one of groups."""
    for each in (group, name):
        if "/" in each or "\\" in each or each[:1] in ("", ".") or each in FILES:
            raise InputError(
                f"{names}: '{printable(each)}' is no name of a folder: it is empty, begins with a "
                "point, has a slash or is that of a file beside the folders; mend it"
            )
        if len(each.encode()) > 255 or printable(each) != each:
            raise InputError(
                f"{names}: '{printable(each)[:60]}' is longer than 255 bytes or no plain text; "
                "mend it"
            )


def _check_apart(into: Path, moves: Mapping[str, str]) -> None:
    """Raise InputError if two files of one name would be in one folder."""
    taken: dict[str, set[str]] = {}
    for group, name in moves.items():
        there = {file.name for file in (into / group).iterdir()}
        if name not in taken:
            kept = into / name
            taken[name] = {file.name for file in kept.iterdir()} if kept.is_dir() else set()
        if both := taken[name] & there:
            raise InputError(
                f"{printable(name)} would have two files {printable(min(both))}, one of "
                f"{printable(group)}; rename one of them, or name the groups otherwise"
            )
        taken[name] |= there
