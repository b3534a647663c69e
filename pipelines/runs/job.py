"""One run: which data, which recipe, which folder. Everything a stage is told.

Writes run.json into the run folder, so that a later command need only name the run.
"""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed.errors import InputError, MissingFileError, NotWritableError
from embed.parallel import count_cores
from pipelines.artifacts import (
    FORMAT_VERSION,
    PACKED_DATA,
    hash_file,
    load_manifest,
    name_discover,
    read_signed,
    sign,
    write_signed,
)

from .recipe import Recipe, load_recipe, make_recipe

if TYPE_CHECKING:
    from pipelines.datasets.dataset import Dataset

logger = logging.getLogger(__name__)

DEMO_DATA = Path("data/demo")
DEMO_RUN = Path("runs/demo")


@dataclass(frozen=True)
class Job:
    """A run and how to do it."""

    data: Path  # dataset folder
    run: Path  # run folder
    recipe: Recipe
    recipe_name: str
    weights: Path | None = None  # local weights of the backbone
    workers: int = 1  # cores that decode images beside the one that computes
    devices: int = 1  # GPUs (or, for trying it out, CPU processes) that train
    tensorboard: Path | None = None  # folder for events of the training
    profile: bool = False  # tell what a training spends its time on
    timed: dict[str, Any] | None = None  # what --time chose the recipe by: see stages.strongest
    # By their folders, for all jobs that are made of this one: a command reads a table once.
    _datasets: "dict[Path, Dataset]" = field(default_factory=dict, repr=False, compare=False)

    @property
    def dataset(self) -> "Dataset":
        """The dataset folder."""
        return self.open_dataset(self.data)

    def open_dataset(self, folder: Path) -> "Dataset":
        """Return a dataset folder, whose tables are read once; errors as Dataset."""
        # pyarrow takes a quarter of a second that a query has no need of
        from pipelines.datasets.dataset import Dataset

        if folder not in self._datasets:
            self._datasets[folder] = Dataset(folder)
        return self._datasets[folder]

    @property
    def max_pixels(self) -> int:
        """Limit of the decoder."""
        return self.recipe.decode.max_pixels

    def record(self) -> None:
        """Write run.json. What lies in the run folder is named from there, so that it may move."""
        values = {
            "format": FORMAT_VERSION,
            "data": _name_from(self.run, self.data),
            "recipe": self.recipe_name,
            "weights": _name_from(self.run, self.weights) if self.weights else None,
            "settings": self.recipe.model_dump(mode="json"),  # tuples as the lists they are read as
        }
        if self.timed:
            values["time"] = self.timed
        path = self.run / "run.json"
        if not path.is_file() or path.read_bytes() != sign(values):
            write_signed(values, path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing into the run folder.

        Raises:
            InputError: one is at it.
        """
        self.run.mkdir(parents=True, exist_ok=True)
        with locking(self.run, f"{self.run}; wait for it, or name another --run"):
            yield


@contextlib.contextmanager
def locking(folder: Path, advice: str, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes that lock it out of a folder.

    Args:
        folder: that is locked.
        advice: names it, and says what to do, in the error.
        wait: for a process that is at it.

    Raises:
        InputError: one is at it, and it is not waited for.
        NotWritableError: the folder is gone, or cannot be written.
    """
    try:
        opened = (folder / ".lock").open("w")
    except FileNotFoundError as error:
        raise NotWritableError(f"{folder} is gone; name another run: --run") from error
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        reason = os.strerror(error.errno).lower()
        raise NotWritableError(
            f"{folder} cannot be written ({reason}); allow it, or name a copy of the run: --run"
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not wait:
                raise InputError(f"another process works on {advice}") from error
            logger.info("another process works on %s: this one waits for it", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pick_run(data: Path | None, run: Path | None) -> Path:
    """Return the run folder: the named one, or that which belongs to the dataset's name."""
    if run is not None:
        return run
    return DEMO_RUN if data is None or is_demo(data) else Path("runs") / data.resolve().name


def find_data(run: Path, recorded: Mapping[str, Any]) -> Path:
    """Return the dataset folder of a run by what run.json says; it may be gone."""
    return run / str(recorded["data"])


def find_moved(data: Path | None, run: Path) -> Path | None:
    """Return the dataset that --data names of a run whose own is gone, or came without photos.

    None where run.json says where it is; another one is no use then, which is logged.
    """
    recorded = read_run(run) if data is not None else None
    if data is None or recorded is None:
        return None
    own = find_data(run, recorded)
    if own.is_dir() and own.resolve() != (run / PACKED_DATA).resolve():
        if own.resolve() != data.resolve():
            logger.warning("--data %s changes nothing: %s is of %s", data, run, own)
        return None
    return data


def _name_from(run: Path, path: Path) -> str:
    """Return a path from the run folder where it is in there, else an absolute one."""
    run, path = run.resolve(), path.resolve()
    return str(path.relative_to(run) if path.is_relative_to(run) else path)


def is_demo(data: Path) -> bool:
    """Tell whether this is the folder of the demo city, which is rendered when it is missing."""
    return data.resolve() == DEMO_DATA.resolve()


def count_workers() -> int:
    """Return how many cores should decode beside the one that computes."""
    return max(min(count_cores() - 1, 8), 1)


def open_job(
    data: Path | None,
    run: Path | None,
    recipe: str | None,
    weights: Path | None,
    **options: Any,
) -> Job:
    """Complete what the command line says from run.json, and that from the defaults.

    Defaults: the demo city, its recipe and runs/demo; for other data the recipe `photos` and the
    run folder runs/<name of the data folder>.

    Raises:
        MissingFileError: the recipe or the weights file does not exist.
        InputError: the recipe is damaged; or run.json is, or of another version, and data or recipe
            are not named.
    """
    named = run is not None
    run = pick_run(data, run)
    try:
        recorded = read_run(run)
    except InputError:
        if data is None or recipe is None:
            raise
        recorded = None  # all that it says was said again
    if named and recorded is None and data is None and run != DEMO_RUN:
        raise MissingFileError(
            f"no run in {run}; name the folder of a run, or make one: cairn submit --data FOLDER "
            f"--run {run}"
        )
    if data is None:
        data = find_data(run, recorded) if recorded else DEMO_DATA
    if weights is not None and not weights.is_file():
        raise MissingFileError(f"no weights file at {weights}")
    if weights is None and recorded and recorded["weights"]:
        weights = run / recorded["weights"]
    timed = None
    if recipe is None and recorded:
        name, settings = recorded["recipe"], make_recipe(recorded["settings"], str(run))
        timed = recorded.get("time")
    else:
        name = recipe or ("demo" if is_demo(data) else "photos")
        settings = load_recipe(name)
    return Job(data, run, settings, name, weights, timed=timed, **options)


def read_run(run: Path) -> dict[str, Any] | None:
    """Return what run.json says, or None if the run folder has none.

    Raises:
        InputError: it is damaged, or of another version.
    """
    path = run / "run.json"
    if not path.is_file():
        return None
    try:
        values = read_signed(path)
    except InputError as error:
        again = name_discover(path) or f"cairn submit --run {run} --data FOLDER"
        raise InputError(
            f"{error}; make it anew: {again} --recipe NAME, and --weights FILE if it had any"
        ) from error
    if (version := values.get("format", 1)) != FORMAT_VERSION:
        raise InputError(
            f"{run} was made by another version of Cairn (format {version}, this one has "
            f"{FORMAT_VERSION}); name another --run, or make it anew: cairn train --redo --run "
            f"{run} --data FOLDER --recipe NAME"
        )
    return values


def weights_inputs(job: Job) -> dict[str, str]:
    """Return the hash of the weights file under its role, or nothing.

    A finished model remembers the hash, and does not need the file any more.

    Raises:
        MissingFileError: the file is not there, and no model was trained from it.
    """
    if job.weights is None:
        return {}
    if job.weights.is_file():
        return {"weights": hash_file(job.weights)}
    trained = load_manifest(job.run / "model")
    if trained is None or "weights" not in trained.inputs:
        raise MissingFileError(f"no weights file at {job.weights}")
    return {"weights": trained.inputs["weights"]}
