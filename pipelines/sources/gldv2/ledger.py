"""Remember which files of a mirror are verified, so that none is hashed at each start.

Reads and writes fetched.json in the mirror: size, time and md5 by path.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from embed.errors import InputError
from pipelines.artifacts import write_json


class Ledger:
    """Verified files of one mirror folder."""

    def __init__(self, mirror: Path) -> None:
        """Read what is recorded. Raises InputError if the file is damaged."""
        self._mirror = mirror
        self._path = mirror / "fetched.json"
        self._files: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            try:
                self._files = dict(json.loads(self._path.read_bytes()))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{self._path} is damaged; delete it: files that are there are verified again"
                ) from error

    def has(self, path: str) -> bool:
        """Tell whether a file was verified and is as it was then."""
        note = self._files.get(path)
        return note is not None and self._describe(path, note["md5"]) == note

    def record(self, path: str, md5: str) -> None:
        """Remember that a file has this md5."""
        note = self._describe(path, md5)
        if note is not None:
            self._files[path] = note
            write_json(self._files, self._path)

    def _describe(self, path: str, md5: str) -> dict[str, Any] | None:
        try:
            status = (self._mirror / path).stat()
        except FileNotFoundError:
            return None
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "md5": md5}


def hash_md5(path: Path) -> str:
    """Return the md5 of a file as 32 hexadecimal digits: against damage, not against forgery."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()
