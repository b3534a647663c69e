"""The data that a recipe chooses: made once, kept, found again, and refused where they differ."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import load_manifest
from pipelines.commands.start import start_job
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.selection.settings import Split, make_split
from pipelines.runs.job import Job
from pipelines.runs.recipe import load_recipe
from pipelines.stages.prepared_data import find_source, fit_split, prepare_data
from tests.datasets import write_photo, write_table

SIZES = {1: 20, 2: 12, 3: 4, 1000: 12}  # images by landmark
SHARES = ("data.split=shares", "data.validation=0.25", "data.test=0.25")


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    """Return a dataset with tables alone: no image is opened."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    rows = [f"{i}-{n},{i}" for n in range(20) for i in SIZES if n < SIZES[i]]
    write_table(folder / "train.csv", "id,landmark_id", rows)
    return Dataset(folder)


def add_queries(source: Dataset) -> None:
    write_table(source.folder / "test.csv", "id", ["q1", "q1000"])
    rows = ["q1,1,Public", "q1000,1000,Public"]
    write_table(source.folder / "solution.csv", "id,landmarks,Usage", rows)


def make_job(source: Dataset, *changes: str) -> Job:
    recipe = load_recipe("photos", changes=changes)
    return Job(source.folder, source.folder.with_name("run"), recipe, "photos")


def ids_of(job: Job, name: str) -> tuple[str, ...]:
    return job.dataset.load_split(name).ids


def test_a_recipe_that_asks_for_nothing_changes_nothing(source: Dataset) -> None:
    job = make_job(source)
    assert prepare_data(job) is job
    assert not job.run.exists()


def test_the_chosen_images_are_a_dataset_of_the_run(source: Dataset) -> None:
    job = prepare_data(make_job(source, "data.ids=1:1000", "data.min_count=5", *SHARES))
    assert job.data == job.run / "data"
    job.dataset.check_tables()
    parts = [ids_of(job, name) for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [16, 8, 8]
    assert {image_id.split("-")[0] for part in parts for image_id in part} == {"1", "2"}
    assert (job.data / "images").resolve() == source.folder / "images"


def test_data_that_are_there_are_not_made_again(source: Dataset) -> None:
    job = make_job(source, *SHARES)
    first = prepare_data(job)
    before = {path: path.stat().st_mtime_ns for path in first.data.iterdir()}
    again = prepare_data(job)
    assert ids_of(again, "train") == ids_of(first, "train")
    assert before == {path: path.stat().st_mtime_ns for path in first.data.iterdir()}


def test_a_job_of_the_runs_own_data_finds_them_and_where_they_came_from(source: Dataset) -> None:
    first = prepare_data(make_job(source, *SHARES))
    assert find_source(first) == source.folder
    before = (first.data / "manifest.json").read_bytes()
    assert prepare_data(first).data == first.data
    assert (first.data / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.ids=7:9", r"--ids 7:9 leaves none of 4 landmarks .* keys of \[data\]: --set data\."),
        ("data.min_count=30", r"--min-count 30 leaves none .* keys of \[data\]: --set data\."),
    ],
)
def test_advice_on_options_of_another_command_says_what_they_are_here(
    change: str, message: str, source: Dataset
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_data(make_job(source, change))


def test_other_settings_are_refused_and_named(source: Dataset) -> None:
    prepare_data(make_job(source, *SHARES))
    changed = make_job(source, *SHARES, "data.test=0.1", "data.seed=3")
    with pytest.raises(ValueError, match=r"other data\.test, data\.seed; name another --run"):
        prepare_data(changed)


def test_other_tables_are_refused_and_named(source: Dataset) -> None:
    prepare_data(make_job(source, *SHARES))
    write_table(source.folder / "train.csv", "id,landmark_id", ["a,1", "b,1", "c,2", "d,2"])
    add_queries(source)
    again = make_job(Dataset(source.folder), *SHARES)  # of another command, which reads them anew
    with pytest.raises(ValueError, match="other table solution, table test, table train; name"):
        prepare_data(again)


def test_interrupted_data_are_made_again(source: Dataset) -> None:
    job = make_job(source, *SHARES)
    first = prepare_data(job)
    ids = ids_of(first, "train")
    (first.data / "manifest.json").unlink()
    (first.data / "train.csv").unlink()
    assert ids_of(prepare_data(job), "train") == ids
    (first.data / "test.csv").unlink()  # with a manifest
    assert len(ids_of(prepare_data(job), "test")) == 12


def test_the_manifest_names_settings_tables_and_files(source: Dataset) -> None:
    manifest = load_manifest(prepare_data(make_job(source, *SHARES)).data)
    assert manifest is not None
    assert manifest.settings["test"] == 0.25
    assert set(manifest.inputs) == {"train"}
    names = {record.name for record in manifest.outputs}
    assert {"train.csv", "validation.csv", "test.csv", "solution.csv", "selection.json"} <= names


def test_a_test_set_that_is_there_is_kept(source: Dataset) -> None:
    add_queries(source)
    job = prepare_data(make_job(source, "data.split=by-size", "data.validation=0.25"))
    assert ids_of(job, "test") == ("q1", "q1000")
    assert len(ids_of(job, "validation")) == 12  # a quarter of 48
    assert len(ids_of(job, "train")) == 36


def test_a_validation_set_that_is_there_is_kept(source: Dataset) -> None:
    write_table(source.folder / "validation.csv", "id,landmark_id", ["v1,1", "v2,2"])
    job = prepare_data(make_job(source, "data.split=by-size"))
    assert ids_of(job, "validation") == ("v1", "v2")
    assert len(ids_of(job, "test")) > 0


def test_queries_of_dropped_landmarks_become_distractors_if_wanted(source: Dataset) -> None:
    add_queries(source)
    job = prepare_data(make_job(source, "data.ids=1:10", "data.unknown=blank"))
    solution = (job.data / "solution.csv").read_text().splitlines()
    assert solution[1:] == ["q1,1,Public", "q1000,,Public"]


def test_a_later_command_needs_the_run_alone(source: Dataset) -> None:
    for image_id in source.load_split("train").ids:
        write_photo(source.folder, image_id, np.zeros((8, 8, 3), dtype=np.uint8))
    job = make_job(source, *SHARES)
    prepare_data(job).record()
    for data in (None, source.folder):
        found = start_job(data, job.run, None, None, workers=0)
        assert found.data.resolve() == (job.run / "data").resolve()
        assert found.recipe.data == job.recipe.data
    assert json.loads((job.run / "run.json").read_text())["settings"]["data"]["test"] == 0.25


BY_SIZE, PER_CLASS = make_split("by-size"), make_split("per-class", 2, 1)


@pytest.mark.parametrize(
    ("requested", "test", "validation", "made"),
    [
        (BY_SIZE, False, False, BY_SIZE),
        (BY_SIZE, True, False, make_split("shares", 0.2, 0)),
        (BY_SIZE, False, True, make_split("by-size", 0)),
        (BY_SIZE, True, True, Split()),
        (PER_CLASS, False, False, PER_CLASS),
        (PER_CLASS, True, False, make_split("per-class", 2, 0)),
        (PER_CLASS, False, True, make_split("per-class", 0, 1)),
        (make_split("random", 0.1), False, True, Split()),
        (make_split("random", 0.1), True, False, make_split("random", 0.1)),
        (make_split("shares", 0, 0.1), True, False, Split()),
        (Split(), True, False, Split()),
        (Split(), False, False, Split()),
    ],
)
def test_a_split_makes_what_is_not_there(
    requested: Split, test: bool, validation: bool, made: Split, source: Dataset
) -> None:
    if test:
        write_table(source.folder / "test.csv", "id", ["q1"])
    if validation:
        write_table(source.folder / "validation.csv", "id,landmark_id", ["v1,1"])
    assert fit_split(requested, source) == made
