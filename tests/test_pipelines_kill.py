"""kill -9 at any moment: the same command finishes with the bytes of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Tiny
from tests.datasets import cairn, results

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120  # seconds, to end a test that would hang

# Patches of the subprocess: where it stops and waits for the signal, each at a real function.
MOMENTS = {
    "first epoch": "embed.train.Trainer._save",
    "first shard of embeddings": "pipelines.embed._write_one",
    "first part of features": "pipelines.features._write_one",
    "between the files of the submission": "pipelines.submit._write",
}
# Calls the function once, leaves a mark, and waits to be killed.
PROGRAM = """
import importlib, pathlib, sys, time
name, mark, *arguments = sys.argv[1:]
parts = name.split(".")
owner = importlib.import_module(".".join(parts[:2]))
for part in parts[2:-1]:
    owner = getattr(owner, part)
once = getattr(owner, parts[-1])

def stop_after(*values, **options):
    once(*values, **options)
    pathlib.Path(mark).touch()
    time.sleep(600)

setattr(owner, parts[-1], stop_after)
sys.argv = ["cairn", *arguments]
importlib.import_module("pipelines.cli").main()
"""


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_to_the_same_bytes(
    moment: str, finished: Tiny, tiny: Tiny, tmp_path: Path
) -> None:
    # All up to the stage that is killed is there already: only the first one starts from nothing.
    _take_away(tiny, moment)
    mark = tmp_path / "mark"
    process = start(["-c", PROGRAM, MOMENTS[moment], str(mark), "submit", *tiny.options])
    wait_for(mark.exists, process)
    kill(process)
    assert results(tiny.run) != results(finished.run)
    assert not (tiny.run / "submit" / "manifest.json").exists()
    end = tiny.submit()
    assert end.status == 0, end.err
    assert results(tiny.run) == results(finished.run)


def _take_away(tiny: Tiny, moment: str) -> None:
    """Delete what the stage of that moment and the later ones have made."""
    stages = ("model", "embeddings", "features", "index", "decision", "submit")
    first = stages[(0, 1, 2, 5)[list(MOMENTS).index(moment)]]
    for stage in stages[stages.index(first) :]:
        for path in sorted((tiny.run / stage).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    for name in ("submission.csv", "predictions.parquet", "neighbors.parquet", "verified.parquet"):
        (tiny.run / name).unlink()


def test_a_run_killed_at_no_planned_moment_goes_on(finished: Tiny, fresh: Tiny) -> None:
    process = start(["-m", "pipelines", "submit", *fresh.options])
    wait_for(lambda: any((fresh.run / "model").glob("checkpoint*")), process)
    kill(process)
    assert cairn("submit", "--run", fresh.run, "--workers", 0).status == 0
    assert results(fresh.run) == results(finished.run)
