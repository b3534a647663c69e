"""Names are shown as labels.csv has them now, and only what shows them is made anew for them."""

import json
import logging
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.answers.database import Database, load_database
from pipelines.artifacts import read_signed, write_signed
from pipelines.runs.names import load_names
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, cairn, results

OLD = {landmark: f"Thing {landmark}" for landmark in range(LANDMARKS)}
NEW = {**OLD, 3: "Tower"}


def rename(tiny: Tiny) -> None:
    """Call landmark 3 otherwise in the copied dataset, and let the copied run be of that."""
    labels = tiny.data / "labels.csv"
    labels.write_text(labels.read_text().replace("Thing 3", "Tower"))
    recorded = read_signed(tiny.run / "run.json")
    write_signed({**recorded, "data": str(tiny.data)}, tiny.run / "run.json")


def test_a_new_name_is_shown_at_once(tiny: Tiny) -> None:
    rename(tiny)
    end = cairn("query", tiny.data / "images" / "q3.jpg", "--run", tiny.run)
    assert "Tower (3), confidence 0." in end.out and "Thing 3" not in end.out


def test_without_the_dataset_the_names_are_those_it_had(tiny: Tiny) -> None:
    rename(tiny)
    assert load_names(tiny.run) == NEW
    shutil.rmtree(tiny.data)
    assert load_names(tiny.run) == OLD


def test_labels_that_cannot_be_read_are_warned_of(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    rename(tiny)
    (tiny.data / "labels.csv").write_text("landmark_id,name\n1,a\n1,b\n")
    with caplog.at_level(logging.WARNING):
        assert load_names(tiny.run) == OLD
    assert "landmark 1 is named twice" in caplog.text
    assert "names are those of the last `cairn index`" in caplog.text


def stamps(run: Path) -> dict[str, int]:
    """Return when each artifact before the answers was made."""
    found = (run / stage / "manifest.json" for stage in ("index", "decision", "model"))
    return {path.parent.name: path.stat().st_mtime_ns for path in found}


def test_a_new_name_makes_only_the_submission_anew(finished: Tiny, tiny: Tiny) -> None:
    before = stamps(tiny.run)
    rename(tiny)
    end = tiny.submit()
    assert end.status == 0, end.err
    assert stamps(tiny.run) == before
    old, new = results(finished.run), results(tiny.run)
    changed = {name for name in old if old[name] != new[name]}
    assert changed <= {"answers.jpg", "predictions.parquet", "index/names.json"}
    reasons = pq.read_table(tiny.run / "predictions.parquet")["reason"].to_pylist()
    assert not any("Thing 3" in reason for reason in reasons)
    shutil.rmtree(tiny.data)
    assert database_of(tiny).names == NEW


def database_of(tiny: Tiny) -> Database:
    manifest = json.loads((tiny.run / "index" / "manifest.json").read_text())
    return load_database(tiny.run, manifest["model"]["fingerprint"])


def test_names_that_are_missing_damaged_or_of_another_index_are_refused(
    tiny: Tiny, calibrated: Tiny
) -> None:
    path, photo = tiny.run / "index" / "names.json", tiny.data / "images" / "q0.jpg"
    whole = path.read_bytes()
    for content, finding in (
        (None, "is missing"),
        (whole[:-9], "does not end with its sha256"),
        ((calibrated.run / "index" / "names.json").read_bytes(), "it is that of another index"),
    ):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        end = cairn("query", photo, "--run", tiny.run)
        assert end.status == 1
        assert finding in end.err and f"make it anew: cairn index --run {tiny.run}" in end.err
        assert cairn("index", "--run", tiny.run, "--data", tiny.data, "--workers", 0).status == 0
        assert path.read_bytes() == whole
