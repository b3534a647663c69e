"""Check every file of a run against what was written, byte by byte.

Reads all that manifests name, the manifests and run.json, of members of an ensemble, too. Writes
nothing. Whether artifacts still belong together is told by what their manifests say of each other.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embed.errors import InputError, MissingFileError

from .artifacts import Manifest, load_manifest
from .integrity import find_damage, make_error
from .job import read_run
from .progress import Advance, progress_bar

# Folders that stages write; other folders with a manifest are checked as well.
ARTIFACTS = ("model", "delf", "embeddings/*", "features/*", "index", "decision", "submit")
RUN_FILE, MANIFEST = "run.json", "manifest.json"
UNLISTED = "files without a manifest"


@dataclass(frozen=True)
class Checked:
    """An artifact of a run, or a file that says of itself whether it is whole."""

    artifact: str  # path in the run folder
    files: int
    bytes: int
    state: str  # intact, damaged, stale, not finished; not checked
    damages: tuple[str, ...] = ()  # a line a file: what was found, and what to do


def verify_run(run: Path) -> list[Checked]:
    """Check all files of a run.

    Raises:
        MissingFileError: there is no run.
    """
    if not (run / RUN_FILE).is_file():
        raise MissingFileError(f"no run in {run}; name the folder of a run: cairn verify RUN")
    found = [_check_run_file(run, path) for path in _list_runs(run)]
    folders = list(_list_folders(run))
    total = sum(_count(folder) for folder in folders)
    with progress_bar("verify", total) as advance:
        found += [_check_artifact(run, folder, advance) for folder in folders]
    return [*found, _count_unlisted(run, folders)]


def _list_runs(run: Path) -> list[Path]:
    """Return run.json of a run and of its members."""
    return [run / RUN_FILE, *sorted(run.glob(f"members/*/{RUN_FILE}"))]


def _check_run_file(run: Path, path: Path) -> Checked:
    name, size = str(path.relative_to(run)), path.stat().st_size
    try:
        read_run(path.parent)
    except InputError as error:
        return Checked(name, 1, size, "damaged", (str(error),))
    return Checked(name, 1, size, "intact")


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


def _count(folder: Path) -> int:
    manifest = _load(folder)
    return len(manifest.outputs) if manifest else 0


def _check_artifact(run: Path, folder: Path, advance: Advance) -> Checked:
    name = str(folder.relative_to(run))
    try:
        manifest = load_manifest(folder)
    except InputError as error:
        return Checked(name, 0, 0, "damaged", (str(error),))
    if manifest is None:
        return Checked(name, 0, 0, "not finished")
    damages = []
    for record in manifest.outputs:
        if finding := find_damage(folder / record.name, record, whole=True):
            damages.append(str(make_error(folder, record, finding)))
        advance(1)
    state = "damaged" if damages else "stale" if is_stale(folder, manifest) else "intact"
    size = sum(record.bytes for record in manifest.outputs)
    return Checked(name, len(manifest.outputs), size, state, tuple(damages))


def is_stale(folder: Path, manifest: Manifest) -> bool:
    """Tell whether an artifact was made from others than there are now: it will be made again."""
    run = folder.parent.parent if manifest.stage == "embed" else folder.parent
    now: dict[str, str] = {}
    if manifest.stage in {"embed", "train_delf"} and (model := _load(run / "model")):
        now["model"] = str(model.model["fingerprint"])
    if manifest.stage in {"decision", "submit"} and (index := _load(run / "index")):
        now["index"] = index.key
    if manifest.stage in {"index", "submit"}:
        for kind, prefix in (("embeddings", ""), ("features", "features ")):
            for made in (run / kind).glob("*"):
                if found := _load(made):
                    now[f"{prefix}{made.name}"] = found.content
    return any(manifest.inputs.get(name, value) != value for name, value in now.items())


def _count_unlisted(run: Path, folders: list[Path]) -> Checked:
    """Count the files that nothing says the content of: pages, pictures, figures."""
    listed = {*_list_runs(run), run / ".lock"}
    for folder in folders:
        listed.add(folder / MANIFEST)
        if manifest := _load(folder):
            names = (record.name for record in manifest.outputs)
            listed |= {Path(os.path.normpath(folder / name)) for name in names}
    others = [path for path in run.rglob("*") if path.is_file() and path not in listed]
    return Checked(UNLISTED, len(others), sum(p.stat().st_size for p in others), "not checked")
