"""Say which artifacts of a run go into an archive: what answers, pages and scores read.

Reads manifests. Left out are what only the decision was made from, the embeddings and features of
photos that no page shows; and whatever no manifest lists: checkpoints, caches, logs, pictures.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from embed.errors import InputError, MissingFileError
from pipelines.artifacts import Manifest, load_manifest
from pipelines.runs.job import Job
from pipelines.runs.members import list_members
from pipelines.runs.verify import is_stale


@dataclass(frozen=True)
class PackList:
    """The artifacts of a run, by their folders."""

    packed: dict[Path, Manifest]
    left_out: tuple[str, ...]  # paths in the run folder
    submitted: bool  # there is a submission, of what the run is now


def choose_contents(job: Job) -> PackList:
    """Return what goes into the archive of a run.

    Raises:
        MissingFileError: the run is not indexed.
        InputError: a manifest is damaged, or something was made from others than there are now.
    """
    run, again = job.run, f"cairn index --run {shlex.quote(str(job.run))}"
    indexed = load_manifest(run / "index")
    if indexed is None or load_manifest(run / "decision") is None:
        raise MissingFileError(f"{run} is not finished; run `{again}` first")
    database, verifies = str(indexed.settings["database"]), job.recipe.rerank.method != "none"
    submit = load_manifest(run / "submit")
    submitted = submit is not None and not is_stale(run / "submit", submit)
    wanted = [run / "index", run / "decision", run / "embeddings" / database]
    wanted += [run / "features" / database] * verifies
    wanted += [run / "embeddings" / "non_landmark"] * ("non_landmark" in indexed.inputs)
    wanted += [run / "delf"] * (job.recipe.rerank.method == "delf")
    for member in list_members(run, job.recipe):
        wanted += [member / "model", member / "embeddings" / database]
    if submitted:
        wanted += [run / "submit", run / "embeddings" / "test"]
        wanted += [run / "features" / "test"] * verifies
    packed = {folder: _require(folder, again) for folder in dict.fromkeys(wanted)}
    others = [
        path.relative_to(run).as_posix()
        for pattern in ("embeddings/*", "features/*", "members/*/embeddings/*")
        for path in run.glob(pattern)
        if path not in packed and load_manifest(path) is not None
    ]
    return PackList(packed, tuple(sorted(others)), submitted)


def _require(folder: Path, again: str) -> Manifest:
    manifest = load_manifest(folder)
    if manifest is None:
        raise MissingFileError(f"nothing finished in {folder}; run `{again}` first")
    if is_stale(folder, manifest):
        raise InputError(
            f"{folder} was made from others than there are now; run `{again}`, then pack it"
        )
    return manifest
