"""Unpack a run that somebody else may have packed: judged first, seen whole or not at all.

Reads an archive. Writes the run under a temporary name beside it, checks each file, and renames the
folder at the end. Nothing of the archive is run, or opened before its sum is right.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embed.errors import InputError
from embed.printable import printable
from pipelines.artifacts import FORMAT_VERSION, PACKED_DATA
from pipelines.progress import progress_bar
from pipelines.runs.job import locking, open_job, read_run
from pipelines.runs.members import link_first_model

from .archive import Archive


def unpack_run(file: Path, run: Path) -> Archive:
    """Unpack an archive into a run folder that is not there; return what it said of itself.

    Raises:
        MissingFileError: there is no such file.
        InputError: the folder is there, the disk has no room, or the archive is refused: see
            Archive. Then there is no run folder.
    """
    _refuse_taken(run)
    with Archive.open(file) as archive:
        _check_version(archive)
        size = sum(member.bytes for member in archive.members)
        run.absolute().parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(run.absolute().parent).free
        if size > free:
            raise InputError(f"{file} needs {size:,} bytes, and {run.parent} has {free:,} free")
        with _unpacking(run) as folder:
            with progress_bar("unpack", size) as advance:
                archive.extract(folder, advance)
            _check_run(file, folder)
            _refuse_taken(run)
            os.rename(folder, run)
        return archive


def _refuse_taken(run: Path) -> None:
    if os.path.lexists(run):
        raise InputError(f"{run} is there already; name another run folder")


def _check_version(archive: Archive) -> None:
    found = archive.facts.get("runs")
    if found != FORMAT_VERSION:
        newer = isinstance(found, int) and found > FORMAT_VERSION
        raise InputError(
            f"the run in {archive.path} was made by {'a newer' if newer else 'another'} version of "
            f"Cairn (format {found}, this one has {FORMAT_VERSION}); "
            f"{'update Cairn' if newer else 'pack it anew'}"
        )


@contextmanager
def _unpacking(run: Path) -> Iterator[Path]:
    """Yield an empty folder beside a run that is nobody else's; what a killed process left goes.

    Raises InputError if another process unpacks the same run.
    """
    folder = run.absolute().with_name(f".{run.name}.unpacking")
    folder.mkdir(exist_ok=True)
    with locking(folder, f"{run}; wait for it, or name another run folder"):
        try:
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                elif entry.name != ".lock":
                    os.unlink(entry.path)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # it was renamed, if all is well


def _check_run(file: Path, folder: Path) -> None:
    """Refuse what is no run of its own: one whose recipe or data name other places.

    Raises InputError.
    """
    recorded = read_run(folder)
    if recorded is None:
        raise InputError(f"{file} is no packed run: it has no run.json")
    weights = recorded["weights"] or ""
    hub_model = recorded["settings"]["rerank"]["hub_model"]
    for name, odd in (
        ("data", recorded["data"] != PACKED_DATA),
        ("weights", weights != Path(weights).name),
        ("hub_model", bool(hub_model)),
    ):
        if odd:
            text = printable(str(recorded.get(name, hub_model)))
            raise InputError(f"{file}: its run.json names {text} as {name}: no `cairn pack` did")
    job = open_job(None, folder, None, None)
    if job.recipe.ensemble.members:
        link_first_model(job)
