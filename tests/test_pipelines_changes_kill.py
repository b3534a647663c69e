"""kill -9 while photos are added and removed: what was acknowledged stays, and nothing is half."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from pipelines.answers.database import load_database
from pipelines.artifacts import load_manifest
from pipelines.runs.changes import list_changes
from rerank.store import FeatureStore
from tests.conftest import Tiny
from tests.journal import list_rows, write_views
from tests.test_imports import ROOT

KILLS = 20
PERIOD = 6  # steps, after which the database is what it was
# Does step after step from one on, and says so on standard output after each.
PROGRAM = """
import pathlib, sys
from pipelines.sources.new_photos import NewPhoto, Said
from pipelines.stages import add
from pipelines.stages.compact import compact
from pipelines.stages.remove import remove_photos
from tests.journal import draw_describer, open_run

run, photos, step = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
add.load_describer = draw_describer
job = open_run(run)

def put(landmark, *numbers):
    paths = [photos / landmark / f"{number}.jpg" for number in numbers]
    assert add.add_photos(job, [NewPhoto(path, Said(name=landmark)) for path in paths]).change

STEPS = (
    lambda: put("mill", 0, 1),
    lambda: remove_photos(job, [], ["thing0-0", "mill-0"]),
    lambda: (put("arch", 0), compact(job)),
    lambda: put("mill", 0, 2),
    lambda: remove_photos(job, [6, 7], []),
    lambda: (add.add_photos(job, [NewPhoto(photos / "0.jpg", Said(0), "thing0-0")]), compact(job)),
)

print("ready", flush=True)
while True:
    STEPS[step % len(STEPS)]()
    step += 1
    print(step, flush=True)
"""


def start(run: Path, photos: Path, step: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(run), str(photos), str(step)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def check_whole(run: Path) -> None:
    """Every photo that is listed has its descriptor, its features and its copy."""
    manifest = load_manifest(run / "index")
    assert manifest is not None
    database = load_database(run, str(manifest.model["fingerprint"]))
    rows = np.sort(database.rows.by_landmark)
    assert database.images.live == len(rows)
    assert np.allclose(np.linalg.norm(database.images.whole(rows), axis=1), 1, atol=5e-3)
    for photos in database.added:
        parts = photos.change.parts("features")
        extractor = photos.change.manifest.inputs["extractor"]
        store = FeatureStore(photos.change.folder, extractor, parts=parts)
        for image_id, path in photos.list_files():
            assert path and path.is_file() and store.get(image_id) is not None


def test_twenty_kills_lose_nothing_and_leave_nothing_half_done(tiny: Tiny, tmp_path: Path) -> None:
    run, photos = tiny.run, tmp_path / "photos"
    write_views(photos / "mill", 50, range(3))
    write_views(photos / "arch", 51, range(1))
    shutil.copy(tiny.data / "images" / "thing0-0.jpg", photos / "0.jpg")
    original = list_rows(run)
    mill = [(f"mill-{number}", 6) for number in range(3)]
    lost, arch = ("thing0-0", 0), ("arch-0", 7)
    first = original | {mill[0], mill[1]}
    second = first - {lost, mill[0]}
    states = [  # after so many steps
        original,
        first,
        second,
        second | {arch},
        second | {arch, mill[0], mill[2]},
        original - {lost},
    ]
    moments = random.Random(0)
    step = 0
    for _ in range(KILLS):
        process = start(run, photos, step)
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready == "ready\n", process.communicate()[1]
        time.sleep(moments.uniform(0, 2.0))
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, err
        done = int(out.split()[-1]) if out.split() else step
        there = list_rows(run)
        assert there in (states[done % PERIOD], states[(done + 1) % PERIOD])
        check_whole(run)
        step = done if there == states[done % PERIOD] else done + 1
    assert step >= PERIOD  # not all came before anything was done
    assert len(list_changes(run)) < 20
