"""Whole runs on a tiny dataset: complete, reproducible, and nothing done twice."""

import csv
import fcntl
import json
import math
import os
import shutil
from pathlib import Path

import pytest

from pipelines.answers.database import load_database
from pipelines.answers.open_run import open_features
from pipelines.artifacts import load_manifest
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.datasets import (
    LANDMARKS,
    PHOTOS,
    QUERIES,
    cairn,
    make_recipe_file,
    results,
)

STEPS = {"head_only", "knn", "reranked", "final"}


def submission_rows(run: Path) -> list[list[str]]:
    with (run / "submission.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def stamps(run: Path) -> dict[str, int]:
    """Return when each file of a run was last written."""
    paths = [path for path in run.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in paths}


def changed(before: dict[str, int], run: Path) -> set[str]:
    """Return the first part of the name of each file written since."""
    return {name.split("/")[0] for name, stamp in stamps(run).items() if before.get(name) != stamp}


def fingerprint_of(run: Path) -> str:
    return str(json.loads((run / "model" / "model.json").read_text())["fingerprint"])


def test_the_submission_has_a_row_for_every_query(finished: Tiny) -> None:
    header, *rows = submission_rows(finished.run)
    assert header == ["id", "landmarks"]
    assert [row[0] for row in rows] == sorted(QUERIES)
    for _, answer in rows:
        label, confidence = answer.split(" ")
        assert 0 <= int(label) < LANDMARKS
        assert 0 <= float(confidence) <= 1


def test_views_of_a_landmark_get_its_label(finished: Tiny) -> None:
    answers = [row[1].split(" ") for row in submission_rows(finished.run)[1:]]
    assert [int(label) for label, _ in answers[:LANDMARKS]] == list(range(LANDMARKS))
    distractors = max(float(confidence) for _, confidence in answers[LANDMARKS:])
    assert min(float(confidence) for _, confidence in answers[:LANDMARKS]) > distractors


def test_requested_is_written_plus_failed_in_every_manifest(finished: Tiny) -> None:
    folders = {path.parent for path in finished.run.rglob("manifest.json")}
    names = {str(folder.relative_to(finished.run)) for folder in folders}
    splits = ("train", "test", "non_landmark")
    assert names == {"model", "index", "decision", "submit"} | {
        f"{kind}/{split}" for kind in ("embeddings", "features") for split in splits
    }
    for folder in folders:
        manifest = load_manifest(folder)
        assert manifest is not None
        assert manifest.outputs
        assert {"requested", "written", "failed"} == manifest.counts.keys() or (
            manifest.stage == "decision"
        )
        assert manifest.counts.get("failed", 0) == 0


def test_the_metrics_are_those_of_the_contract(finished: Tiny) -> None:
    metrics = json.loads((finished.run / "metrics.json").read_text())
    figures = {"gap", "gap_landmark_only", "gap_interval", "top1", "n_queries", "n_landmark"}
    assert figures <= metrics.keys()
    assert (metrics["n_queries"], metrics["n_landmark"]) == (len(QUERIES), LANDMARKS)
    low, high = metrics["gap_interval"]
    assert 0 <= low <= metrics["gap"] <= high <= 1
    assert metrics["steps"].keys() == STEPS
    assert all(figures <= step.keys() for step in metrics["steps"].values())
    assert metrics["steps"]["final"]["gap"] == metrics["gap"] == 1.0
    assert {"model", "index", "submit", "embeddings/train"} <= metrics["seconds"].keys()
    assert all(value >= 0 and math.isfinite(value) for value in metrics["seconds"].values())


def test_two_runs_give_the_same_bytes(finished: Tiny, fresh: Tiny) -> None:
    assert fresh.submit().status == 0
    first, second = results(finished.run), results(fresh.run)
    assert {"submission.csv", "model/model.safetensors", "model/history.csv"} <= first.keys()
    assert {"index/vectors.npy", "verified.parquet"} <= first.keys()
    assert first == second


def test_doing_a_finished_run_again_writes_nothing_but_the_figures(tiny: Tiny) -> None:
    assert tiny.submit().status == 0  # a copied run: run.json names its own data now
    before = stamps(tiny.run)
    assert tiny.submit().status == 0
    assert changed(before, tiny.run) <= {"metrics.json"}
    # Data and recipe are remembered.
    assert cairn("submit", "--run", tiny.run, "--workers", 0).status == 0
    assert changed(before, tiny.run) <= {"metrics.json"}


def test_deciding_otherwise_embeds_nothing_anew(tiny: Tiny) -> None:
    before, answers = stamps(tiny.run), submission_rows(tiny.run)
    make_recipe_file(tiny.recipe, "[decide]\npolicy = 'weighted'\n")
    assert tiny.submit().status == 0
    written = changed(before, tiny.run)
    assert {"submission.csv", "decision", "submit"} <= written
    assert not written & {"model", "embeddings", "features", "index"}
    assert submission_rows(tiny.run) != answers


def test_training_otherwise_is_refused_until_asked_for(tiny: Tiny) -> None:
    make_recipe_file(tiny.recipe, "[train]\nseed = 5\n")
    before = stamps(tiny.run)
    end = tiny.submit()
    assert end.status == 1
    assert "holds a model trained with other train.seed" in end.err
    assert f"train it anew: delete {tiny.run / 'model'}, and give the same command" in end.err
    assert changed(before, tiny.run) == set()
    shutil.rmtree(tiny.run / "model")
    assert cairn("train", *tiny.options).status == 0
    fingerprint = fingerprint_of(tiny.run)
    with pytest.raises(ValueError, match=r"holds descriptors of model .*: cairn index --run"):
        load_database(tiny.run, fingerprint)
    assert tiny.submit().status == 0
    assert load_database(tiny.run, fingerprint).fingerprint == fingerprint


def drop_last_row(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def test_other_training_data_is_refused(tiny: Tiny) -> None:
    drop_last_row(tiny.data / "train.csv")
    end = tiny.submit()
    assert end.status == 1
    assert "trained with other train;" in end.err


def test_another_pool_sets_another_threshold_for_the_same_model(tiny: Tiny) -> None:
    drop_last_row(tiny.data / "non_landmark.csv")
    before = stamps(tiny.run)
    assert tiny.submit().status == 0
    written = changed(before, tiny.run)
    assert {"decision", "submission.csv"} <= written
    assert "model" not in written


def test_a_mended_image_is_in_the_index_after_redo(tiny: Tiny) -> None:
    path = tiny.data / "images" / "thing0-0.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"nothing")
    assert cairn("embed", *tiny.options, "--redo").status == 0
    assert cairn("index", *tiny.options).status == 0
    count = load_database(tiny.run, fingerprint_of(tiny.run)).images.live
    assert count == LANDMARKS * PHOTOS - 1
    path.write_bytes(whole)
    assert cairn("embed", *tiny.options, "--redo").status == 0
    assert cairn("index", *tiny.options).status == 0
    assert load_database(tiny.run, fingerprint_of(tiny.run)).images.live == count + 1
    features = open_features(tiny.run, "train", load_recipe(str(tiny.recipe)))
    assert features is not None and "thing0-0" in features  # redone with the descriptor


def test_other_queries_are_answered_with_the_same_model(tiny: Tiny) -> None:
    (tiny.data / "test.csv").write_text("id\nq3\nq1\n")
    (tiny.data / "solution.csv").unlink()
    before = stamps(tiny.run)
    assert tiny.submit().status == 0
    assert [row[0] for row in submission_rows(tiny.run)] == ["id", "q1", "q3"]
    assert not changed(before, tiny.run) & {"model", "index", "decision"}


@pytest.mark.parametrize(
    ("command", "redone"),
    [
        ("embed", {"embeddings"}),
        ("index", {"index"}),
        ("submit", {"submit", "submission.csv"}),
    ],
)
def test_redo_does_that_stage_again_with_the_same_outcome(
    command: str, redone: set[str], tiny: Tiny
) -> None:
    before, outcome = stamps(tiny.run), results(tiny.run)
    assert cairn(command, *tiny.options, "--redo").status == 0
    written = changed(before, tiny.run)
    assert redone <= written
    assert "model" not in written
    assert results(tiny.run) == outcome


def test_a_second_process_is_refused(tiny: Tiny) -> None:
    with (tiny.run / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = tiny.submit()
    assert end.status == 1
    assert end.err.strip() == (
        f"error: another process works on {tiny.run}; wait for it, or name another --run"
    )
    assert tiny.submit().status == 0


def test_nothing_temporary_is_left(finished: Tiny) -> None:
    names = {name for _, _, files in os.walk(finished.run) for name in files}
    assert not [name for name in names if name.startswith(".") and name != ".lock"]
    assert not [name for name in names if "checkpoint" in name or name.endswith(".tmp")]
