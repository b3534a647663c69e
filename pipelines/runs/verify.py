"""Check every file of a run against what was written, byte by byte.

Reads all that manifests name, the manifests, run.json, of members of an ensemble, too, and
pack.json. Writes nothing. Whether artifacts still belong together is told by what their manifests
say of each other.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embed.errors import InputError, MissingFileError
from pipelines.artifacts import FileRecord, Manifest, load_manifest, remedy, remedy_file
from pipelines.progress import Advance, progress_bar

from .changes import STAGE, find_lost, list_copies
from .integrity import find_damage, make_error
from .job import read_run
from .names import FILE as NAMES_FILE
from .names import read_stored_names
from .packed import LISTING, list_left_out, read_listing

# Folders that stages write; other folders with a manifest are checked as well.
ARTIFACTS = ("model", "delf", "embeddings/*", "features/*", "index", "decision", "submit")
RUN_FILE, MANIFEST = "run.json", "manifest.json"
UNLISTED = "files without a manifest"


@dataclass(frozen=True)
class CheckedArtifact:
    """An artifact of a run, or a file that says of itself whether it is whole."""

    artifact: str  # path in the run folder
    files: int
    bytes: int
    state: str  # intact, damaged, missing, stale, not finished, left out; not checked
    damages: tuple[str, ...] = ()  # a line a file: what was found, and what to do


def verify_run(run: Path) -> list[CheckedArtifact]:
    """Check all files of a run.

    Raises:
        MissingFileError: there is no run.
    """
    if not (run / RUN_FILE).is_file():
        raise MissingFileError(f"no run in {run}; name the folder of a run: cairn verify RUN")
    found = [_check_signed(run, path, read_run) for path in _list_runs(run)]
    found += [_check_signed(run, path, _read_names) for path in _list_names(run)]
    found += [_check_signed(run, path, read_listing) for path in _list_listings(run)]
    folders = list(_list_folders(run))
    total = sum(len(_list_records(folder)) for folder in folders)
    with progress_bar("verify", total) as advance:
        found += [_check_artifact(run, folder, advance) for folder in folders]
    missing, left_out = _list_missing(folders), _find_left_out(run)
    found = [each for each in found if run / each.artifact not in missing]
    for folder in sorted(missing):
        known = folder in left_out and not folder.is_dir()
        found.append(_report_left_out(run, folder) if known else _report_missing(run, folder))
    found += [_report_lost(run, folder) for folder in find_lost(run)]
    return [*found, _count_unlisted(run, folders)]


def _list_runs(run: Path) -> list[Path]:
    """Return run.json of a run and of its members."""
    return [run / RUN_FILE, *sorted(run.glob(f"members/*/{RUN_FILE}"))]


def _list_names(run: Path) -> list[Path]:
    """Return the file of names, if there is an index that it belongs to."""
    return [run / "index" / NAMES_FILE] if _load(run / "index") else []


def _list_listings(run: Path) -> list[Path]:
    """Return the listing that a run was packed with, if it was."""
    return [run / LISTING] if (run / LISTING).is_file() else []


def _find_left_out(run: Path) -> set[Path]:
    with contextlib.suppress(InputError):  # it is damaged, which is told
        return {run / name for name in list_left_out(run)}
    return set()


def _read_names(folder: Path) -> object:
    return read_stored_names(folder.parent)


def _check_signed(run: Path, path: Path, read: Callable[[Path], object]) -> CheckedArtifact:
    """Check a file that says of itself whether it is whole, by what reads it in its folder."""
    name, size = str(path.relative_to(run)), path.stat().st_size if path.is_file() else 0
    try:
        read(path.parent)
    except InputError as error:
        return CheckedArtifact(name, 1, size, "damaged", (str(error),))
    return CheckedArtifact(name, 1, size, "intact")


def _list_folders(run: Path) -> Iterator[Path]:
    """Yield the folders of all artifacts, finished or not; model/ of an ensemble is a link."""
    patterns = [*ARTIFACTS, *(f"members/*/{pattern}" for pattern in ARTIFACTS)]
    known = {path for pattern in patterns for path in run.glob(pattern) if path.is_dir()}
    known |= {path.parent for path in run.rglob(MANIFEST)}
    yield from sorted(path for path in known if not path.is_symlink())


def _load(folder: Path) -> Manifest | None:
    try:
        return load_manifest(folder)
    except InputError:
        return None


def _list_records(folder: Path) -> list[FileRecord]:
    """Return what an artifact's files were when it was finished; of a change, its photos too."""
    manifest = _load(folder)
    if manifest is None:
        return []
    copies: list[FileRecord] = []
    if manifest.stage == STAGE:
        with contextlib.suppress(InputError):  # the list is damaged itself, which is told
            copies = list_copies(folder)
    return [*manifest.outputs, *copies]


def _check_artifact(run: Path, folder: Path, advance: Advance) -> CheckedArtifact:
    name = str(folder.relative_to(run))
    try:
        manifest = load_manifest(folder)
    except InputError as error:
        return CheckedArtifact(name, 0, 0, "damaged", (str(error),))
    if manifest is None:
        return CheckedArtifact(name, 0, 0, "not finished")
    damages, records = [], _list_records(folder)
    for record in records:
        if finding := find_damage(folder / record.name, record, whole=True):
            damages.append(str(make_error(folder, record, finding)))
        advance(1)
    state = "damaged" if damages else "stale" if is_stale(folder, manifest) else "intact"
    size = sum(record.bytes for record in records)
    return CheckedArtifact(name, len(records), size, state, tuple(damages))


def is_stale(folder: Path, manifest: Manifest) -> bool:
    """Tell whether an artifact was made from others than there are now: it will be made again."""
    for name, source in _list_sources(folder, manifest).items():
        made = _load(source)
        if made is not None and manifest.inputs[name] != _identify(made):
            return True
    return False


def _list_sources(folder: Path, manifest: Manifest) -> dict[str, Path]:
    """Return the artifacts that one was made from, by the name of the input."""
    run = folder.parent.parent if manifest.stage == "embed" else folder.parent
    sources = {}
    for name in manifest.inputs:
        if name == "model" and manifest.stage in {"embed", "train_delf"}:
            sources[name] = run / "model"
        elif name == "index" and manifest.stage in {"decision", "submit"}:
            sources[name] = run / "index"  # else it is a split of that name
        elif name.startswith("features "):
            sources[name] = run / "features" / name.removeprefix("features ")
        elif manifest.stage in {"index", "decision", "submit"} and name not in ("names", "changes"):
            sources[name] = run / "embeddings" / name
    return sources


def _identify(made: Manifest) -> str:
    """Return what names an artifact among the inputs of another."""
    if made.stage == "train":
        return str(made.model["fingerprint"])
    return made.key if made.stage == "index" else made.content


def _list_missing(folders: Iterable[Path]) -> set[Path]:
    """Return the artifacts that are not there, or not finished, and others were made from."""
    needed: set[Path] = set()
    for folder in folders:
        if manifest := _load(folder):
            needed.update(_list_sources(folder, manifest).values())
    return {folder for folder in needed if not (folder / MANIFEST).is_file()}


def _report_missing(run: Path, folder: Path) -> CheckedArtifact:
    what = "has no manifest" if folder.is_dir() else "is missing"
    advice = f"{folder} {what}, and others were made from it; {remedy_file(folder, missing=True)}"
    return CheckedArtifact(str(folder.relative_to(run)), 0, 0, "missing", (advice,))


def _report_left_out(run: Path, folder: Path) -> CheckedArtifact:
    """Report what a run was packed without, which no answer needs."""
    return CheckedArtifact(str(folder.relative_to(run)), 0, 0, "left out")


def _report_lost(run: Path, folder: Path) -> CheckedArtifact:
    """Tell of a change that does not count any more."""
    what = "has no manifest" if folder.is_dir() else "is gone"
    advice = (
        f"{folder} {what}, though later changes follow it: what it added is not found; "
        f"{remedy(folder)}"
    )
    return CheckedArtifact(str(folder.relative_to(run)), 0, 0, "missing", (advice,))


def _count_unlisted(run: Path, folders: list[Path]) -> CheckedArtifact:
    """Count the files that nothing says the content of: pages, pictures, figures."""
    listed = {*_list_runs(run), *_list_names(run), *_list_listings(run), run / ".lock"}
    for folder in folders:
        listed.add(folder / MANIFEST)
        names = (record.name for record in _list_records(folder))
        listed |= {Path(os.path.normpath(folder / name)) for name in names}
    others = [path for path in run.rglob("*") if path.is_file() and path not in listed]
    return CheckedArtifact(
        UNLISTED, len(others), sum(p.stat().st_size for p in others), "not checked"
    )
