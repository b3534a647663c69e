"""kill -9 at any moment: the same command finishes with the bytes of an undisturbed run."""

import os
import shutil
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

# The file at which a run is killed, right before or right after it gets its name, and the
# stages that are to do: only the first moment starts from nothing.
STAGES = ("model", "embeddings", "features", "index", "decision", "submit")
MOMENTS = {
    "after the first epoch": ("model/checkpoint-*.pt", "after", STAGES),
    "within a shard of embeddings": ("embeddings/train/part-00001.parquet", "before", STAGES[1:]),
    "after a part of features": ("features/train/part-00000.parquet", "after", STAGES[2:]),
    "between the files of the submission": ("neighbors.parquet", "after", STAGES[5:]),
}
# Every artifact gets its name by os.replace: do it for that file, leave a mark, wait to be killed.
PROGRAM = """
import os, pathlib, sys, time
pattern, when, mark, *arguments = sys.argv[1:]
replace = os.replace

def stop_at(source, target, **options):
    here = pathlib.Path(target).match(pattern)
    if not here or when == "after":
        replace(source, target, **options)
    if here:
        pathlib.Path(mark).touch()
        time.sleep(600)

os.replace = stop_at
sys.argv = ["cairn", *arguments]
from pipelines.cli import main
main()
"""


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        if time.monotonic() > deadline:  # no assertion: it only ends what would wait for ever
            process.kill()
            raise TimeoutError(f"{PATIENCE} s were not enough")
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
    pattern, when, stages = MOMENTS[moment]
    for stage in stages:
        shutil.rmtree(tiny.run / stage)
    (tiny.run / "submission.csv").unlink()
    mark = tmp_path / "mark"
    process = start(["-c", PROGRAM, pattern, when, str(mark), "submit", *tiny.options])
    wait_for(mark.exists, process)
    kill(process)
    assert not (tiny.run / "submit" / "manifest.json").exists()
    end = tiny.submit()
    assert end.status == 0, end.err
    assert results(tiny.run) == results(finished.run)


def test_a_run_killed_at_no_planned_moment_goes_on(finished: Tiny, fresh: Tiny) -> None:
    process = start(["-m", "pipelines", "submit", *fresh.options])
    wait_for(lambda: any((fresh.run / "model").glob("checkpoint*")), process)
    kill(process)
    assert cairn("submit", "--run", fresh.run, "--workers", 0).status == 0
    assert results(fresh.run) == results(finished.run)
