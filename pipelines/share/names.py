"""Judge the names of the files in an archive: each is one file of the folder it is unpacked into.

The same names are refused when an archive is written and when it is read: what one computer writes
is a folder on any other.
"""

import re
import unicodedata
from collections.abc import Iterable

from embed.errors import InputError
from embed.printable import printable

LONGEST = 255  # bytes of a part of a name, as file systems have it
# What programs read of a run, and people. None of it is run: no pickle, no module, no checkpoint.
SUFFIXES = {
    *(".json", ".md", ".csv", ".parquet", ".arrow", ".safetensors", ".npy", ".xml", ".bin"),
    *(".faiss", ".jpg", ".jpeg", ".png", ".webp"),
}
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


def check_names(names: Iterable[str]) -> None:
    """Refuse names that are no plain files of one folder, or that some file systems take for one.

    Raises:
        InputError: a name is absolute, leads out of the folder, has characters that some system
            gives a meaning, or a kind of file that no run has; two names are equal but for case or
            Unicode form; or a file has the name of a folder.
    """
    files: dict[str, str] = {}  # name by what a careless file system makes of it
    folders: dict[str, str] = {}
    for name in names:
        if problem := _judge(name):
            raise InputError(f"the file name '{printable(name)}' {problem}")
        if (same := files.setdefault(_fold(name), name)) is not name:
            raise InputError(f"two files have the name '{printable(same)}', but for case at most")
        parts = name.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            if folders.setdefault(_fold(folder), folder) != folder:
                raise InputError(f"two folders have the name '{printable(folder)}', but for case")
    if both := files.keys() & folders.keys():
        raise InputError(f"'{printable(files[min(both)])}' is a file, and a folder")


def _judge(name: str) -> str:
    """Say what is wrong with a name; "" if nothing is."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        return "leads out of the folder"
    if not all(parts) or "." in parts:
        return "has an empty part"
    if FORBIDDEN.search(name) or any(part.endswith((".", " ")) for part in parts):
        return "has a character that some systems give a meaning"
    try:
        if max(len(part.encode()) for part in parts) > LONGEST:
            return f"has a part of more than {LONGEST} bytes"
    except UnicodeEncodeError:
        return "is no UTF-8"
    stem, dot, suffix = parts[-1].rpartition(".")
    if not stem or f"{dot}{suffix}".lower() not in SUFFIXES:
        return "is of no kind that a run has"
    return ""


def _fold(name: str) -> str:
    """Return what is equal for names that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
