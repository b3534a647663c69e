"""Ctrl-C ends a command that is stuck, and its workers, and says whether the same one goes on."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import ANEW, GOES_ON, RESUMED
from tests.conftest import Tiny
from tests.datasets import cairn, list_commands, results
from tests.image_server import serve_images
from tests.test_pipelines_kill import PATIENCE, ROOT, STAGES, wait_for

# Puts what no signal ends in place of a function: a lock that is waited for in C, for ever.
PROGRAM = """
import ctypes, functools, importlib, os, pathlib, sys
module, name, mark, *arguments = sys.argv[1:]
*above, name = name.split(".")
holder = functools.reduce(getattr, above, importlib.import_module(module))

def stick(*given, **named):
    pathlib.Path(mark).touch()
    lock = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(lock)

setattr(holder, name, stick)
sys.argv = ["cairn", *arguments]
from pipelines.cli import main
main()
"""
FETCH = "torch.utils.data._utils.fetch", "_MapDatasetFetcher.fetch"
# The stages that are to do, the command, and what sticks in it: in a worker process, in a thread,
# or in the main thread.
STUCK = {
    "train, a worker": (STAGES, "train", *FETCH),
    "embed, a thread": (STAGES[1:], "embed", "embed.images", "decode_image"),
    "embed, the writer": (STAGES[1:], "embed", "pipelines.runs.parts", "write_part"),
    "features": (STAGES[2:], "index", "rerank.sift", "SiftExtractor.extract"),
    "index": (STAGES[3:], "index", "index.base", "BaseIndex.save"),
    "submit": (STAGES[5:], "submit", "rerank.verifier", "verify_candidates"),
}


def start_stuck(module: str, name: str, mark: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a command, and wait until it is stuck."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, module, name, str(mark), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(mark.exists, process)
    return process


def check_end(
    process: subprocess.Popen[str], last: str = GOES_ON, *, signals: int = 1, group: bool = False
) -> str:
    """Interrupt a command, from a terminal with its workers; it ends, and leaves none behind.

    Returns its standard output.
    """
    for _ in range(signals):
        (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    try:
        out, err = process.communicate(timeout=PATIENCE)  # until workers have closed theirs, too
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == last
    assert "Traceback" not in err
    return out


@pytest.mark.parametrize("case", STUCK)
def test_ctrl_c_ends_a_stage_that_is_stuck_and_it_goes_on(
    case: str, finished: Tiny, tiny: Tiny, tmp_path: Path
) -> None:
    stages, command, module, name = STUCK[case]
    for stage in stages:
        shutil.rmtree(tiny.run / stage)
    workers = ["--workers", "1"] if case.endswith(("worker", "thread")) else []
    mark = tmp_path / "mark"
    process = start_stuck(module, name, mark, command, *tiny.options, *workers)
    check_end(process, group=command == "embed")
    assert tiny.submit().status == 0
    assert results(tiny.run) == results(finished.run)


def test_a_second_ctrl_c_changes_nothing(finished: Tiny, tmp_path: Path) -> None:
    photo = finished.data / "images" / "q0.jpg"
    stuck = "pipelines.answers.photo", "decode_image"
    process = start_stuck(*stuck, tmp_path / "mark", "query", "--run", finished.run, photo)
    check_end(process, ANEW, signals=3)


def test_the_commands_that_are_said_to_go_on_are_there() -> None:
    assert set(list_commands()) > RESUMED


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_what_a_query_printed_is_whole_and_the_rest_is_not_there(
    form: str, tiny: Tiny, tmp_path: Path
) -> None:
    photos = [tiny.data / "images" / f"q{number}.jpg" for number in range(3)]
    page = tmp_path / "page.html"
    arguments = ["query", "--run", tiny.run, *photos, form, "--xmp", "--html", page]
    stuck = "pipelines.reports.sidecars", "write_sidecar"  # the row of its photo was printed
    out = check_end(start_stuck(*stuck, tmp_path / "mark", *arguments), ANEW)
    whole = cairn("query", "--run", tiny.run, photos[0], form).out
    names = [row["image"] for row in parse(form, out)]
    assert names == [str(photos[0])] and list(parse(form, whole)[0]) == list(parse(form, out)[0])
    assert out.endswith("\n") and not list(tmp_path.glob("*page*"))


def parse(form: str, text: str) -> list[dict[str, object]]:
    if form == "--json":
        return [json.loads(line) for line in text.splitlines()]
    return [dict(row) for row in csv.DictReader(io.StringIO(text, newline=""))]


def test_ctrl_c_ends_training_processes_and_those_that_decode_for_them(
    fresh: Tiny, tmp_path: Path
) -> None:
    options = [*fresh.options, "--devices", "2", "--workers", "1"]
    process = start_stuck("embed.processes", "_receive", tmp_path / "mark", "train", *options)
    check_end(process)


def test_ctrl_c_ends_a_download_and_it_goes_on(tmp_path: Path) -> None:
    with serve_images() as server:
        table = tmp_path / "train.csv"
        rows = [f"{number},{server.url('ok', number)},1" for number in range(6)]
        table.write_text("\n".join(["id,url,landmark_id", *rows]) + "\n")
        options = ["--data", tmp_path / "data", "--size", "64-fit", "--allow-private"]
        arguments = ["data", "urls", table, *options, "--user-agent", "test"]
        stuck = "pipelines.sources.download.store", "ImageStore.store"
        check_end(start_stuck(*stuck, tmp_path / "mark", *arguments))
        end = cairn(*arguments)
    assert end.status == 0, end.err
    assert "6 of 6 images stored" in end.out + end.err
