"""The command run: a recipe, at its small scale and changed, from the data to the report."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.commands.run import pick_folder
from pipelines.commands.run import run as run_command
from pipelines.commands.start import start_job
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.class_sizes import describe_sizes
from pipelines.reports.run_figures import draw_class_histogram, write_class_histogram
from pipelines.runs.recipe import make_recipe
from tests.datasets import LANDMARKS, QUERIES, make_dataset, make_recipe_file, write_table

CHANGES = """
[data]
split = "per-class"
validation = 1

[decide]
policy = "head"

[small.train]
epochs = 1
"""


@dataclass(frozen=True)
class Done:
    """A run of the command."""

    data: Path
    run: Path
    recipe: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("run_command")
    recipe = make_recipe_file(folder / "tiny.toml", CHANGES)
    made = Done(make_dataset(folder / "data"), folder / "run", recipe)
    run_command(made.data, made.run, str(recipe), scale="small", changes=["train.dim=8"], workers=0)
    return made


def test_all_that_a_report_has_is_there(done: Done) -> None:
    names = {path.name for path in done.run.iterdir()}
    assert {"submission.csv", "metrics.json", "report.html"} <= names
    assert {"predictions.csv", "class_histogram.png", "matches", "data"} <= names
    assert {"confusions.csv", "confusion_matrix.png"} <= names
    assert json.loads((done.run / "metrics.json").read_text())["n_queries"] == len(QUERIES)


def test_predictions_are_those_of_the_head(done: Done) -> None:
    with (done.run / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image_id", "landmark_id", "probability"]
    assert [row[0] for row in rows] == sorted(QUERIES)
    assert all(0 <= int(row[1]) < LANDMARKS and 0 < float(row[2]) <= 1 for row in rows)


def test_the_scale_and_the_changes_are_recorded(done: Done) -> None:
    recorded = json.loads((done.run / "run.json").read_text())
    train = make_recipe(recorded["settings"], "run.json").train
    assert (train.epochs, train.dim) == (1, 8)
    assert recorded["data"] == "data"  # from there: the run may move


def test_the_test_set_is_kept_and_one_photo_of_each_landmark_validates(done: Done) -> None:
    dataset = Dataset(done.run / "data")
    assert dataset.load_split("test").ids == QUERIES
    assert sorted(dataset.load_split("validation").landmark_ids) == list(range(LANDMARKS))


def test_done_again_nothing_is_trained_and_everything_is_printed(
    done: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    model = done.run / "model" / "manifest.json"
    before = model.stat().st_mtime_ns
    run_command(run=done.run, workers=0)
    assert model.stat().st_mtime_ns == before
    shown = capsys.readouterr().out
    assert "GAP, with distractors" in shown
    for name in ("submission.csv", "predictions.csv", "report.html", "class_histogram.png"):
        assert f"wrote {done.run / name}\n" in shown


def test_another_scale_in_the_same_folder_is_refused(done: Done) -> None:
    with pytest.raises(ValueError, match=r"trained with other train\.(dim|epochs)"):
        run_command(done.data, done.run, str(done.recipe), scale="full", workers=0)
    recorded = json.loads((done.run / "run.json").read_text())
    assert recorded["settings"]["train"]["epochs"] == 1


def test_changes_without_a_recipe_are_made_to_what_is_recorded(done: Done) -> None:
    job = start_job(None, done.run, None, None, workers=0, changes=["decide.policy=top1"])
    assert (job.recipe.train.epochs, job.recipe.train.dim) == (1, 8)
    assert job.recipe.decide.policy == "top1"


@pytest.mark.parametrize(
    ("data", "run", "recipe", "scale", "folder"),
    [
        ("data/own", None, "torino", None, "runs/own-torino"),
        ("data/own/", None, "torino", "full", "runs/own-torino"),
        ("data/own", None, "torino", "small", "runs/own-torino-small"),
        (None, None, "folder/mine.toml", "small", "runs/demo-mine-small"),
        ("data/own", "runs/x", "torino", "small", "runs/x"),
        ("data/own", None, None, "small", None),
        (None, None, None, None, None),
    ],
)
def test_each_recipe_has_a_folder_of_its_own(
    data: str | None, run: str | None, recipe: str | None, scale: str | None, folder: str | None
) -> None:
    data_path, run_path, expected = (Path(text) if text else None for text in (data, run, folder))
    assert pick_folder(data_path, run_path, recipe, scale) == expected


def test_the_histogram_shows_both_datasets_side_by_side(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, count in zip(folders, (30, 3), strict=True):
        folder.mkdir()
        rows = [f"{label}-{n},{label}" for label in range(1, 4) for n in range(count * label)]
        write_table(folder / "train.csv", "id,landmark_id", rows)
    before, after = map(Dataset, folders)
    sizes = []
    for pair in ((before, after), (after, after)):
        with Image.open(write_class_histogram(*pair, tmp_path / "figure.png")) as image:
            sizes.append(image.width)
    assert sizes == [1080, 540]


def test_equal_sizes_give_equal_bytes(tmp_path: Path) -> None:
    sizes = {"all": describe_sizes(np.array([1, 1, 5, 90]))}
    for name in ("a", "b"):
        draw_class_histogram(sizes, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
