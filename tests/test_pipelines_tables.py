"""Whole runs of datasets that lack a table, of tables written otherwise, and of tables in error."""

import csv
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest

from embed.errors import InputError
from pipelines.commands.start import start_job
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


def test_an_id_of_two_tables_is_refused_before_training_and_listed_by_the_check(
    fresh: Tiny,
) -> None:
    with (fresh.data / "test.csv").open("a") as file:
        file.write("thing2-1\n")
    with (fresh.data / "solution.csv").open("a") as file:
        file.write("thing2-1,2,Public\n")
    end = fresh.submit()
    message = (
        f"1 images of {fresh.data}/test.csv are in train.csv, too, the first is 'thing2-1' (line "
        "10 of test.csv, line 11 of train.csv); an image is either a query or known: keep one "
        "of the rows"
    )
    assert (end.status, end.err) == (1, f"error: {message}\n")
    assert not (fresh.run / "model").exists()
    end = cairn("data", "check", fresh.data)
    assert end.status == 0
    assert f"to be mended before a run: {message}\n" in end.out
    rows = (fresh.data / "problems.csv").read_text().splitlines()
    listed = "thing2-1,train+test,thing2-1,train+test,the same id in test and train"
    assert f"across_split,{listed}" in rows


def test_what_is_wrong_with_a_recipe_and_with_tables_is_one_message(fresh: Tiny) -> None:
    rows = (fresh.data / "train.csv").read_text().replace(",0", ".jpg,0")
    (fresh.data / "train.csv").write_text(rows)
    solution = (fresh.data / "solution.csv").read_text().replace("q3,3,", "q3,nan,")
    (fresh.data / "solution.csv").write_text(solution)
    found = [
        f"{fresh.data}/solution.csv, line 5: landmarks 'nan' of id 'q3', expected whole-number "
        "labels, as in '12' or '12 40', or an empty cell",
        f"{fresh.data}/train.csv, column id, lines 2, 3, 4 and 1 more: 'thing0-0.jpg' has no "
        "file, but 'thing0-0' has one: ids carry no suffix; write the ids so",
    ]
    end = fresh.submit()
    listed = "".join(f"\n- {text}" for text in found)
    assert end.err == f"error: {fresh.data}: 2 things have to be mended{listed}\n"
    with (
        mock.patch("pipelines.runs.job.load_recipe", side_effect=InputError("a bad recipe")),
        pytest.raises(InputError) as caught,
    ):
        start_job(fresh.data, fresh.run, "demo", None, workers=0)
    listed = "".join(f"\n- {text}" for text in ["a bad recipe", *found])
    assert str(caught.value) == f"3 things have to be mended{listed}"
    assert not fresh.run.exists()


def test_tables_of_a_european_spreadsheet_give_the_same_answers(
    finished: Tiny, fresh: Tiny
) -> None:
    for path in fresh.data.glob("*.csv"):
        path.write_text(path.read_text().replace(",", ";").replace("id", "Id", 1), "utf-16")
    end = fresh.submit()
    assert end.status == 0, end.err
    assert answers(fresh.run) == answers(finished.run)


@pytest.mark.parametrize(("table", "images"), [("test", "q*"), ("non_landmark", "none*")])
def test_queries_or_distractors_without_a_file_are_told_before_training(
    table: str, images: str, fresh: Tiny
) -> None:
    paths = sorted((fresh.data / "images").glob(images))
    for path in paths:
        path.unlink()
    end = fresh.submit()
    assert (end.status, end.err) == (
        1,
        f"error: none of the {len(paths)} images of {fresh.data}/{table}.csv has a file, the first "
        f"would be {paths[0]}; put the files there, each called by its id\n",
    )
    assert not (fresh.run / "model").exists()


def make_database(tiny: Tiny) -> None:
    """Make the training table that of the database, and nothing else."""
    (tiny.data / "train.csv").rename(tiny.data / "index.csv")


def test_a_database_alone_is_enough_where_nothing_is_trained(fresh: Tiny) -> None:
    make_database(fresh)
    end = fresh.submit()
    assert end.status == 1
    assert end.err == (
        f"error: {fresh.data} has no train.csv (columns id,landmark_id), and the recipe trains a "
        "model; write one, or use a model as it is: --set train.epochs=0\n"
    )
    make_recipe_file(fresh.recipe, "[train]\nepochs = 0\n")
    end = cairn("run", *fresh.options)
    assert end.status == 0, end.err
    metrics = load_metrics(fresh.run)
    assert (metrics["top1"], metrics["unseen"]) == (1.0, None)
    assert cairn("data", "check", fresh.data).status == 0
    end = cairn("data", "report", fresh.data, "--no-plan")
    assert end.status == 0, end.err
    assert "What has to be mended" not in end.out


def test_a_trained_model_needs_its_training_table_no_more(tiny: Tiny) -> None:
    make_database(tiny)
    (tiny.data / "index.csv").write_text("id,landmark_id\nthing0-0,0\nthing1-0,1\n")
    model = (tiny.run / "model" / "manifest.json").read_bytes()
    end = tiny.submit()
    assert end.status == 0, end.err
    assert {answer.split(" ")[0] for answer in answers(tiny.run)} == {"0", "1"}
    assert (tiny.run / "model" / "manifest.json").read_bytes() == model
    end = cairn("train", *tiny.options, "--redo")
    assert end.status == 1
    assert "has no train.csv (columns id,landmark_id), and the recipe trains a model" in end.err
    assert (tiny.run / "model" / "manifest.json").read_bytes() == model
