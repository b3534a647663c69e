"""Whole runs of datasets that lack a table, of one landmark, and without re-ranking."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import Tiny
from tests.datasets import LANDMARKS, QUERIES, cairn, make_dataset, make_recipe_file, options


def answers(run: Path) -> list[str]:
    """Return what the submission says of each query."""
    with (run / "submission.csv").open(encoding="utf-8", newline="") as file:
        return [answer for _, answer in csv.reader(file)][1:]


def load_metrics(run: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return values


@pytest.mark.parametrize("missing", ["test", "non_landmark", "solution", "labels"])
def test_tables_that_are_not_there(missing: str, fresh: Tiny) -> None:
    (fresh.data / f"{missing}.csv").unlink()
    end = fresh.submit()
    if missing == "test":
        assert end.status == 1
        assert "has no test.csv, so there is nothing to submit" in end.err
        assert cairn("index", *fresh.options).status == 0
        return
    assert end.status == 0, end.err
    assert len(answers(fresh.run)) == len(QUERIES)
    assert (fresh.run / "metrics.json").is_file() == (missing != "solution")


def test_without_re_ranking(fresh: Tiny) -> None:
    make_recipe_file(fresh.recipe, "[rerank]\nmethod = 'none'\n")
    assert fresh.submit().status == 0
    assert not (fresh.run / "features").exists()
    assert pq.read_table(fresh.run / "verified.parquet").num_rows == 0
    metrics = load_metrics(fresh.run)
    assert metrics["steps"]["knn"]["gap"] == metrics["steps"]["reranked"]["gap"]


def test_one_landmark_needs_no_training(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", landmarks=1)
    recipe = make_recipe_file(tmp_path / "tiny.toml")
    end = cairn("submit", *options(data, tmp_path / "run", recipe))
    assert end.status == 1
    assert "has 1 landmark; training tells landmarks apart" in end.err
    make_recipe_file(recipe, "[train]\nepochs = 0\n")
    assert cairn("submit", *options(data, tmp_path / "run", recipe)).status == 0
    assert {answer.split(" ")[0] for answer in answers(tmp_path / "run")} == {"0"}


def test_a_database_of_untrained_landmarks_is_searched(fresh: Tiny) -> None:
    rows = (fresh.data / "train.csv").read_text().splitlines()
    (fresh.data / "index.csv").write_text("\n".join(rows) + "\n")
    (fresh.data / "train.csv").write_text("\n".join(rows[: 1 + 4 * 3]) + "\n")
    assert fresh.submit().status == 0
    metrics = load_metrics(fresh.run)
    assert metrics["unseen"]["n_landmark"] == LANDMARKS - 3
    assert metrics["top1"] == 1.0
