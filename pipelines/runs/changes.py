"""The journal of a run: photos that were added to its database, or removed, since it was indexed.

Reads and writes changes/ of a run: a folder a change, 000001/ and so on, each a generation of the
database. What is in one, besides manifest.json, which is written last and makes it count:

- images.parquet: image_id, landmark_id, file, bytes and sha256 of the photos it adds, which are in
  images/; no file of those that the run was packed without
- embeddings/ and features/: their parts, as described, before any whitening
- failures.parquet: photos that could not be read
- removed.parquet: image_id of the photos it removes, and in_index: whether index/ has them

The manifest holds the names of new landmarks, which change it follows, and which it replaces.
Readers need no lock: a folder without a manifest does not count, and the next writer takes the last
one away. Knows neither descriptors nor labels.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embed.columns import read_parquet
from embed.errors import InputError
from embed.sealed import read_seal
from pipelines.artifacts import (
    CHANGES,
    FileRecord,
    Manifest,
    load_manifest,
    record_file,
    save_manifest,
)

from .integrity import intact_file, require_manifest
from .job import locking

logger = logging.getLogger(__name__)

IMAGES, REMOVED, FAILURES = "images.parquet", "removed.parquet", "failures.parquet"
PHOTOS = "images"  # in the folder of a change: a file a photo
STAGE = "change"
Generation = tuple[tuple[str, int], ...]  # folder of each finished change, and when it was finished


@dataclass(frozen=True)
class Change:
    """A change that counts: some photos are removed, then others are added."""

    folder: Path
    manifest: Manifest

    @property
    def names(self) -> dict[int, str]:
        """Names of landmarks that it brings."""
        return {int(label): name for label, name in self.manifest.settings["names"].items()}

    @property
    def replaces(self) -> set[str]:
        """The folders of the changes that it stands for."""
        return set(self.manifest.settings["replaces"])

    @property
    def follows(self) -> str:
        """The folder of the change before it; empty for the first, or one that stands for all."""
        return str(self.manifest.settings.get("follows", ""))

    @property
    def adds(self) -> bool:
        """Whether photos are added."""
        return self.has(IMAGES)

    @property
    def removes(self) -> bool:
        """Whether photos are removed."""
        return self.has(REMOVED)

    def has(self, name: str) -> bool:
        """Tell whether a file is part of it."""
        return any(record.name == name for record in self.manifest.outputs)

    def parts(self, kind: str) -> list[Path]:
        """Return the parts of its embeddings or features; as intact_file."""
        names = [r.name for r in self.manifest.outputs if r.name.startswith(f"{kind}/")]
        return [intact_file(self.folder, name) for name in names]


def read_generation(run: Path) -> Generation:
    """Return what differs as soon as another change counts. Looks at names and times alone."""
    found = []
    for folder in _list_folders(run):
        with contextlib.suppress(FileNotFoundError):  # not finished, or just taken away
            found.append((folder.name, (folder / "manifest.json").stat().st_mtime_ns))
    return tuple(found)


def list_changes(run: Path) -> list[Change]:
    """Return the changes of a run in their order, without those that others stand for.

    Raises:
        InputError: a manifest is damaged.
    """
    folders: list[Path] = []
    found: list[tuple[Path, Manifest | None]] = []
    while folders != (listed := _list_folders(run)):  # else one may be gone, and what replaces it
        folders, found = listed, [(folder, load_manifest(folder)) for folder in listed]
    changes = [Change(folder, manifest) for folder, manifest in found if manifest is not None]
    replaced = {name for change in changes for name in change.replaces}
    return [change for change in changes if change.folder.name not in replaced]


def find_lost(run: Path) -> list[Path]:
    """Return the folders of changes that counted once: gone, or without their manifest.

    What a killed writer left is not among them: the next writer took its place, and its number.
    """
    folders = {folder.name: folder for folder in _list_folders(run)}
    changes, finished = list[Change](), set[str]()
    for name, folder in folders.items():
        with contextlib.suppress(InputError):  # damaged: that is told elsewhere
            if (manifest := load_manifest(folder)) is None:
                continue
            changes.append(Change(folder, manifest))
        finished.add(name)
    lost = {name for name in folders if name < max(finished, default="")}
    lost |= {change.follows for change in changes if change.follows}
    lost -= finished.union(*(change.replaces for change in changes))
    return [run / CHANGES / name for name in sorted(lost)]


def list_copies(folder: Path) -> list[FileRecord]:
    """Return what the copies of photos in a change were when it was made; errors as intact_file."""
    if not Change(folder, require_manifest(folder)).adds:
        return []
    rows = read_parquet(intact_file(folder, IMAGES)).to_pylist()
    return [
        FileRecord(f"{PHOTOS}/{row['file']}", row["bytes"], row["sha256"])
        for row in rows
        if row["file"] is not None
    ]


def _list_folders(run: Path) -> list[Path]:
    try:
        return sorted(path for path in (run / CHANGES).iterdir() if path.name.isdecimal())
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def writing_journal(run: Path) -> Iterator[list[Change]]:
    """Yield the changes of a run, to which no other process adds until the block ends.

    Waits for a process that does, or that makes the run's artifacts. What killed writers left half
    done goes.
    """
    with locking(run, f"{run}; wait for it, or name another --run", wait=True):
        changes = list_changes(run)
        live = {change.folder for change in changes}
        kept = {*live, *find_lost(run)}  # of those that are lost people may want the photos
        for folder in _list_folders(run):
            if folder not in kept:
                if not (folder / "manifest.json").is_file():
                    logger.warning("%s was not finished, and is taken away", folder)
                shutil.rmtree(folder)
        yield changes


@contextlib.contextmanager
def writing_change(run: Path) -> Iterator[Path]:
    """Yield the folder of the next change, for whoever holds the journal: see sign_change.

    It is taken away again if it is not signed when the block ends.
    """
    numbers = [int(folder.name) for folder in _list_folders(run)]
    folder = run / CHANGES / f"{max(numbers, default=0) + 1:06d}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        if not (folder / "manifest.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)


def sign_change(
    folder: Path,
    manifest: Manifest,
    *,
    names: Mapping[int, str] | None = None,
    replaces: Sequence[Change] = (),
) -> Change:
    """Make a change count whose files are written, and take those away that it replaces.

    Once this returns, the change outlives a loss of power.

    Args:
        folder: of the change.
        manifest: without outputs.
        names: of landmarks that the change brings.
        replaces: the changes that it stands for.
    """
    run, replaced = folder.parent.parent, {change.folder for change in replaces}
    before = [each.folder.name for each in list_changes(run) if each.folder not in replaced]
    settings: dict[str, Any] = {
        **manifest.settings,
        "follows": before[-1] if before else "",
        "names": {str(label): name for label, name in (names or {}).items()},
        "replaces": [change.folder.name for change in replaces],
    }
    files = sorted(path for path in folder.rglob("*.parquet"))
    outputs = [_record(path, folder) for path in files]
    manifest = replace(manifest, settings=settings, outputs=outputs)
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        _sync(inner)  # before the manifest, which vouches for what is there
    save_manifest(manifest, folder)
    for outer in (folder, folder.parent, folder.parent.parent):
        _sync(outer)
    for change in replaces:
        shutil.rmtree(change.folder)
    return Change(folder, manifest)


def _record(path: Path, folder: Path) -> FileRecord:
    name = path.relative_to(folder).as_posix()
    seal = read_seal(path) if name.startswith("features/") else None
    return replace(record_file(path, seal=seal), name=name)


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
