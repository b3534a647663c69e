"""Fixtures that several test modules share: one tiny dataset and finished runs of it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

# Read when torch is imported, and by subprocesses: on a busy machine the threads of so small
# networks wait for one another more than they compute (measured: 395 s of processor time, not 85).
os.environ["OMP_NUM_THREADS"] = "1"

from pipelines.artifacts import read_signed, write_signed
from tests.datasets import Finished, cairn, make_dataset, make_recipe_file, options

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@dataclass(frozen=True)
class Tiny:
    """A dataset, a recipe and a run of both."""

    data: Path
    recipe: Path
    run: Path

    @property
    def options(self) -> list[str]:
        """Name all three on the command line."""
        return options(self.data, self.run, self.recipe)

    def submit(self, *more: str) -> Finished:
        """Do the whole job."""
        return cairn("submit", *self.options, *more)

    def copy_to(self, folder: Path) -> "Tiny":
        """Return a copy whose run says that it is of the copied dataset and recipe."""
        copied = Tiny(folder / "data", folder / "tiny.toml", folder / "run")
        shutil.copytree(self.data, copied.data)
        shutil.copytree(self.run, copied.run)
        shutil.copy(self.recipe, copied.recipe)
        recorded = read_signed(copied.run / "run.json")
        changed = {"data": str(copied.data), "recipe": str(copied.recipe)}
        write_signed({**recorded, **changed}, copied.run / "run.json")
        return copied


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run. Tests that change data or run take `tiny`, a copy of it."""
    folder = tmp_path_factory.mktemp("finished")
    data, recipe = make_dataset(folder / "data"), make_recipe_file(folder / "tiny.toml")
    tiny = Tiny(data, recipe, folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


@pytest.fixture(scope="session")
def calibrated(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run that was not trained: all images are known queries, enough for a fit.

    They are near copies of each other, so no overlap is too much here.
    """
    folder = tmp_path_factory.mktemp("calibrated")
    changes = "[train]\nepochs = 0\n[decide]\nmax_overlap = 1.0\n"
    tiny = Tiny(finished.data, make_recipe_file(folder / "tiny.toml", changes), folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


@pytest.fixture
def tiny(finished: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of the finished run and its dataset, free to be changed."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(finished.data, data)
    shutil.copytree(finished.run, run)
    recipe = shutil.copy(finished.recipe, tmp_path / "tiny.toml")
    return Tiny(data, Path(recipe), run)


@pytest.fixture
def fresh(finished: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of the dataset and a run folder that is not there yet."""
    shutil.copytree(finished.data, tmp_path / "data")
    recipe = shutil.copy(finished.recipe, tmp_path / "tiny.toml")
    return Tiny(tmp_path / "data", Path(recipe), tmp_path / "run")
