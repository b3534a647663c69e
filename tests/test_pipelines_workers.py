"""Images that fail in worker processes and threads are on record; a worker that is killed is told.

What a broken image leads to in each stage: tests/test_pipelines_bad_images.py.
"""

import json
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from embed.shards import read_failures
from pipelines.faults import OURS, advise
from tests.conftest import Tiny
from tests.datasets import cairn
from tests.test_pipelines_kill import ROOT, STAGES

PROGRAM = """
import os, signal, sys
from torch.utils.data._utils.fetch import _MapDatasetFetcher

_MapDatasetFetcher.fetch = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["cairn", *sys.argv[1:]]
from pipelines.cli import main
main()
"""
BROKEN = ("thing0-1", "thing3-2", "q1", "none2")


def test_every_stage_goes_on_past_images_that_fail_in_a_worker(tiny: Tiny) -> None:
    for stage in STAGES:
        shutil.rmtree(tiny.run / stage)
    for image_id in BROKEN:
        (tiny.data / "images" / f"{image_id}.jpg").write_bytes(b"\xff\xd8\xff no photo")
    end = tiny.submit("--workers", "2")
    assert end.status == 0, end.err
    for kind in ("embeddings", "features"):
        for split, expected in {"train": BROKEN[:2], "test": BROKEN[2:3]}.items():
            found = read_failures(tiny.run / kind / split / "failures.parquet")
            assert set(found) == set(expected), (kind, split)
            assert all(f"{name}.jpg" in message for name, (_, message) in found.items())
    trained = pq.read_table(tiny.run / "model" / "failures.parquet").to_pylist()
    assert {row["image_id"] for row in trained} <= set(BROKEN[:2])
    photos = [tiny.data / "images" / f"{name}.jpg" for name in ("q1", "q0")]
    end = cairn("query", "--run", tiny.run, "--json", *photos)
    answers = [json.loads(line) for line in end.out.splitlines()]
    assert end.status == 1 and answers[0]["error"] and not answers[1]["error"]


def test_a_worker_that_is_killed_ends_in_advice_that_names_memory(fresh: Tiny) -> None:
    end = subprocess.run(
        [sys.executable, "-c", PROGRAM, "train", *fresh.options, "--workers", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert end.returncode == 1, end.stderr
    assert "when memory is full; end other programs, use fewer --workers" in end.stderr
    assert "Traceback" not in end.stderr


@pytest.mark.parametrize("signal", ["Segmentation fault. ", "Aborted. "])
def test_a_worker_that_crashed_is_no_matter_of_memory(signal: str) -> None:
    assert OURS == 70 and not advise(
        RuntimeError(f"DataLoader worker (pid 12) is killed by signal: {signal}")
    )
