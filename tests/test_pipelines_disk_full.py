"""A disk that fills up, at each stage: one line of advice, nothing half-done that counts."""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts import load_manifest
from tests.conftest import Tiny
from tests.datasets import Finished, results

ROOT = Path(__file__).resolve().parents[1]

# The file whose writing fails, and the folder whose manifest must then be missing.
PLACES = {
    "train": ("checkpoint-", "model"),
    "history": ("history.csv", "model"),
    "embed": ("part-00001.parquet", "embeddings/train"),
    "features": ("failures.parquet", "embeddings/train"),
    "index": ("vectors.npy", "index"),
    "decision": ("decision.json", "decision"),
    "submission": ("submission.csv", "submit"),
    "evidence": ("verified.parquet", "submit"),
    "manifest": ("manifest.json", "model"),
    "run": ("run.json", "model"),
}


@contextlib.contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """Let the last step of every write, the renaming, fail for files of that name."""
    replace: Callable[..., None] = os.replace

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if Path(target).name.startswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        yield


def check_advice(end: Finished) -> None:
    assert end.status == 1
    assert end.err.startswith("error: the disk is full; free some space and run the same command")
    assert end.err.count("\n") == 1


@pytest.mark.parametrize("place", [place for place in PLACES if place != "history"])
def test_a_write_that_fails_is_advice_and_no_manifest(
    place: str, fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = PLACES[place]
    with full_disk(monkeypatch, name):
        check_advice(fresh.submit())
    assert load_manifest(fresh.run / folder) is None
    assert not [path for path in fresh.run.rglob("*") if ".tmp" in path.name]


def test_after_freeing_space_the_same_command_finishes(
    finished: Tiny, fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, _ in PLACES.values():
        with full_disk(monkeypatch, name):
            end = fresh.submit()
        assert end.status in (0, 1)
    assert fresh.submit().status == 0
    assert results(fresh.run) == results(finished.run)


# RLIMIT_FSIZE stops the writes of torch, Arrow, faiss and safetensors themselves, as EFBIG; the
# test lets that error stand for ENOSPC, whose number no limit of a process gives.
LIMITED = """
import errno, resource, signal, sys
import os
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import pipelines.artifacts as artifacts
real = os.strerror
os.strerror = lambda number: real(errno.EFBIG if number == errno.ENOSPC else number)
errno.ENOSPC = errno.EFBIG
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv = ["cairn", *sys.argv[2:]]
from pipelines.cli import main
main()
"""


@pytest.mark.parametrize("limit", [20_000, 1_000])
def test_libraries_that_cannot_write_give_the_same_advice(
    limit: int, finished: Tiny, tiny: Tiny
) -> None:
    """At 20 kB the model does not fit, at 1 kB no shard does."""
    redo = "train" if limit == 20_000 else "embed"
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), redo, *tiny.options, "--redo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = process.stderr.strip().splitlines()[-1]
    assert process.returncode == 1, process.stderr
    assert last.startswith("error: the disk is full; free some space"), process.stderr
    assert "Traceback" not in process.stderr
    assert tiny.submit().status == 0
    assert results(tiny.run) == results(finished.run)
