"""Find the images inside a tar by reading its headers; their contents are skipped.

Reads tars and writes nothing: a name inside a tar is never used as a path.
"""

import os
import re
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError
from pipelines.datasets.images import SUFFIXES

COMPRESSED_NAMES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_TOOLS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_UNUSABLE = re.compile(r"[\\\0\r\n\ud800-\udfff]")  # the last: bytes that are no UTF-8
_ERRORS = (tarfile.TarError, ValueError, OverflowError, EOFError)  # all that damage makes of it


@dataclass(frozen=True)
class TarMembers:
    """The images of a tar, in its order."""

    ids: tuple[str, ...]  # [N]
    offsets: NDArray[np.int64]  # [N], bytes from the start of the tar
    sizes: NDArray[np.int64]  # [N], bytes
    ignored: Counter[str]  # how many other members there are, by what they are


def find_tars(images: Path) -> list[str]:
    """Return the tars below a folder, compressed ones included, as sorted relative paths.

    Folders that are symbolic links are followed, once each. Folders with names of one character
    are left out: they hold unpacked images, maybe millions (images/a/b/c/<id>.jpg).
    """
    found, seen = [], set()
    for folder, below, names in os.walk(images, followlinks=True):
        real = os.path.realpath(folder)
        # A link to a folder above would be walked for ever.
        below[:] = [] if real in seen else sorted(name for name in below if len(name) > 1)
        if real not in seen:
            tars = (name for name in names if name[0] != "." and _is_tar_name(name))
            found += [os.path.relpath(os.path.join(folder, name), images) for name in tars]
        seen.add(real)
    return sorted(found)


def _is_tar_name(name: str) -> bool:
    return name.lower().endswith((".tar", *COMPRESSED_NAMES))


def scan_tar(path: Path) -> TarMembers:
    """Return where the images in a tar are. Only regular members with a SUFFIX of images count.

    The id is the member's file name without folders and suffix, whatever the folders are.

    Raises:
        InputError: the tar is compressed, cut off, or damaged: nothing of it is to be trusted.
        OSError: it cannot be read.
    """
    _refuse_compressed(path)
    ids: list[str] = []
    places: list[tuple[int, int]] = []
    ignored = Counter[str]()
    length = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                _check_member(member, length)
                if (reason := _why_ignored(member)) is None:
                    ids.append(os.path.splitext(os.path.basename(member.name))[0])
                    places.append((member.offset_data, member.size))
                elif reason:
                    ignored[reason] += 1
            _check_end(path, tar.offset)
    except _ERRORS as error:
        raise InputError(f"is no whole tar: {error}; fetch or make it again") from error
    offsets, sizes = np.array(places, dtype=np.int64).reshape(-1, 2).T
    return TarMembers(tuple(ids), offsets, sizes, ignored)


def _refuse_compressed(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(6)
    for magic, tool in _TOOLS.items():
        if start.startswith(magic):
            raise InputError(
                f"is compressed by {tool}, so that an image in it cannot be read without all "
                f"before it; decompress it: {tool} -d {path.name}"
            )


def _check_member(member: tarfile.TarInfo, length: int) -> None:
    # Python follows a negative size backwards, for ever.
    if member.size < 0:
        raise InputError(f"{member.name!r} has {member.size} bytes")
    if member.isreg() and not member.issparse() and member.offset_data + member.size > length:
        raise InputError(f"cut off after {length} bytes, within {member.name!r}")


def _check_end(path: Path, offset: int) -> None:
    """Raise InputError unless a block of zeros ends the tar there.

    Python takes any header that it cannot read, and the end of the file, for the end of the tar.
    """
    with path.open("rb") as file:
        file.seek(max(offset - tarfile.BLOCKSIZE, 0))
        before, block = file.read(tarfile.BLOCKSIZE), file.read(tarfile.BLOCKSIZE)
    empty = bytes(tarfile.BLOCKSIZE)
    if empty not in (before, block):
        what = "cut off" if len(block) < tarfile.BLOCKSIZE else "a damaged header"
        raise InputError(f"{what} at byte {offset}")


def _why_ignored(member: tarfile.TarInfo) -> str | None:
    """Return what a member is that is no image, "" for a folder, or None for an image."""
    if member.isdir():
        return ""  # each file has some above it: nothing to tell
    if member.issym() or member.islnk():
        return "links"
    if member.issparse():
        return "sparse files"  # in the tar without their zeros
    name = os.path.basename(member.name)
    if not member.isreg() or not name.lower().endswith(SUFFIXES) or name[0] == ".":
        return "other files"
    if _UNUSABLE.search(name):
        return "files with unusable names"
    return None
