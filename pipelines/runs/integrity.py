"""The one door to the files of a run: what is loaded is what its manifest says was written.

A damaged file is refused with what was found and the command that makes it anew. Files that are
read whole are hashed, once a process; of those that are read in pieces the seal is compared, and
whoever reads them checks each piece (see embed.sealed). Reads manifests and any file they name.
"""

import os
import time
from functools import lru_cache
from pathlib import Path

from embed.errors import InputError, MissingFileError
from pipelines.artifacts import (
    FileRecord,
    Manifest,
    hash_file,
    load_manifest,
    name_maker,
    remedy,
    remedy_file,
)

SUBMISSION = "submission.csv"  # the one file that people edit
MISSING = "it is missing"
SETTLED = 2.0  # seconds; a file changed later than that may change again unseen by its times


def intact_file(folder: Path, name: str) -> Path:
    """Return the path of an artifact's file, which is as the manifest says.

    Raises:
        MissingFileError: the artifact is not finished, or has no such file.
        InputError: the file is damaged.
    """
    manifest = require_manifest(folder)
    for record in manifest.outputs:
        if record.name == name:
            refuse_damage(folder, record)
            return Path(os.path.normpath(folder / name))
    raise MissingFileError(f"{folder} was made without {name}; {remedy(folder)}")


def intact_output(run: Path, name: str) -> Path:
    """Return the path of a file that stage submit wrote into the run folder; as intact_file."""
    return intact_file(run / "submit", f"../{name}")


def intact_parts(folder: Path) -> list[Path]:
    """Return the parts of an artifact in their order; as intact_file.

    Of parts that are read in pieces the footers are as the manifest says: embed.sealed tells the
    rest when a piece is read.
    """
    records = [r for r in require_manifest(folder).outputs if r.name.startswith("part-")]
    for record in records:
        refuse_damage(folder, record)
    return [folder / record.name for record in records]


def compare_sizes(folder: Path) -> None:
    """Refuse an artifact of which a part is missing or shorter or longer than it was; as above."""
    for record in require_manifest(folder).outputs:
        if record.name.startswith("part-") and (
            finding := _compare_size(folder / record.name, record)
        ):
            raise make_error(folder, record, finding)


def has_file(folder: Path, name: str) -> bool:
    """Tell whether an artifact was made with a file. Raises as intact_file."""
    return any(record.name == name for record in require_manifest(folder).outputs)


def refuse_damage(folder: Path, record: FileRecord) -> None:
    """Raise InputError, or MissingFileError, unless a file is as its record says."""
    if finding := find_damage(folder / record.name, record):
        raise make_error(folder, record, finding)


def make_error(folder: Path, record: FileRecord, finding: str) -> InputError:
    """Return the error that names a file, how it differs from its record, and what to do."""
    path = os.path.normpath(folder / record.name)
    if finding == MISSING:
        return MissingFileError(f"{path} is missing; {remedy_file(folder, missing=True)}")
    advice = remedy_file(folder)
    if path.endswith(SUBMISSION):
        advice += "; to score it as it is: cairn evaluate --submission FILE --solution FILE"
    return InputError(f"{path} is damaged: {finding}; {advice}")


def find_damage(path: Path, record: FileRecord, *, whole: bool = False) -> str:
    """Say how a file differs from its record; "" if it does not.

    Args:
        path: of the file.
        record: as it was written.
        whole: hash all bytes of a file that is read in pieces, too.
    """
    if finding := _compare_size(path, record):
        return finding
    if record.seal is None or whole:
        return "" if hash_settled(path) == record.sha256 else "its sha256 is not its manifest's"
    from embed.sealed import BrokenSealError, read_seal  # Arrow takes .1 s to load

    try:
        return "" if read_seal(path) == record.seal else "its seal is not its manifest's"
    except BrokenSealError as error:
        return str(error).removeprefix(f"{path} is damaged: ")


def _compare_size(path: Path, record: FileRecord) -> str:
    if not path.is_file():
        return MISSING
    size = path.stat().st_size
    if size < record.bytes:
        return f"it ends after {size:,} of {record.bytes:,} bytes"
    if size > record.bytes:
        return f"it has {size:,} bytes instead of {record.bytes:,}"
    return ""


def find_damages(folder: Path, manifest: Manifest) -> list[tuple[FileRecord, str]]:
    """Return the files of an artifact that differ from their records, and how."""
    found = [(r, find_damage(folder / r.name, r)) for r in manifest.outputs]
    return [(record, finding) for record, finding in found if finding]


def hash_settled(path: Path) -> str:
    """Return the sha256 of a file, and remember it while the file does not change."""
    status = path.stat()
    if time.time() - status.st_ctime < SETTLED:
        return hash_file(path)
    return _remember_hash(path, status.st_size, status.st_ctime_ns, status.st_ino)


def forget_hashes() -> None:
    """Hash all files anew: for whoever changes files and their times within a moment."""
    _remember_hash.cache_clear()


@lru_cache(maxsize=4096)
def _remember_hash(path: Path, *state: int) -> str:
    return hash_file(path)


def require_manifest(folder: Path) -> Manifest:
    """Return the manifest of an artifact. Raises MissingFileError if it is not finished."""
    manifest = load_manifest(folder)
    if manifest is None:
        maker = name_maker(folder) or "the command that makes it"
        raise MissingFileError(f"nothing finished in {folder}; run `{maker}` first")
    return manifest
