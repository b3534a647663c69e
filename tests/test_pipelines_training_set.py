"""Which images are trained on and held out, by recipe and tables; and a run that uses it all."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest

from embed.sampling import split_validation
from embed.shards import read_failures
from embed.train_settings import TrainSettings
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import Dataset
from pipelines.stages.known_queries import load_known_queries
from pipelines.stages.training_set import HELD_OUT, TrainingSet, load_training_set
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, make_dataset, make_job, make_recipe_file, write_table

SIZES = (2, 5, 9, 20)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Write tables alone: landmarks 10, 20, ... of SIZES photos, rows mixed."""
    rows = [f"p{n}-{place},{10 * n}" for n, size in enumerate(SIZES, 1) for place in range(size)]
    mixed = [str(row) for row in np.random.default_rng(0).permutation(rows)]
    write_table(tmp_path / "train.csv", "id,landmark_id", mixed)
    return Dataset(tmp_path)


def load(dataset: Dataset, **settings: object) -> TrainingSet:
    return load_training_set(dataset, TrainSettings.model_validate(settings))


def test_by_default_a_share_is_held_out_and_nothing_else_is_done(dataset: Dataset) -> None:
    made = load(dataset, validation_share=0.3, seed=4)
    labels = dataset.load_split("train").landmark_ids
    kept, held_out = split_validation(labels, 0.3, 4)
    np.testing.assert_array_equal(made.rows, kept)
    np.testing.assert_array_equal(made.landmarks[made.classes], labels[kept])
    assert made.landmarks.tolist() == [10, 20, 30, 40] and made.examples is None
    assert set(made.held_out.ids) == {made.table.ids[row] for row in held_out}
    np.testing.assert_array_equal(made.held_out.landmark_ids, labels[held_out])


@pytest.mark.parametrize(
    ("landmarks", "share", "count"), [(10, 0.1, 3), (60, 0.1, 6), (10, 0.9, 9)]
)
def test_landmarks_are_left_out_of_the_training(
    tmp_path: Path, landmarks: int, share: float, count: int
) -> None:
    rows = [f"p{n}-{place},{n}" for n in range(landmarks) for place in range(3)]
    write_table(tmp_path / "train.csv", "id,landmark_id", [*rows, f"alone,{landmarks}"])
    whole = Dataset(tmp_path)
    made = load(whole, unseen_share=share)
    unseen = np.unique(made.unseen.landmark_ids)
    assert landmarks not in unseen  # of one photo: it is searched, and none is left to ask
    assert len(unseen) == count and len(made.landmarks) == landmarks + 1 - count
    assert not np.isin(made.table.landmark_ids[made.rows], unseen).any()
    assert not np.isin(made.held_out.landmark_ids, unseen).any()
    assert len(made.unseen.ids) == 3 * count
    for others in ({"seed": 0}, {"epochs": 0}):
        again = load(whole, unseen_share=share, **others)
        assert again.unseen.ids == (() if "epochs" in others else made.unseen.ids)


def test_of_few_landmarks_none_is_left_out(dataset: Dataset) -> None:
    assert load(dataset, unseen_share=0.5).unseen.ids == ()


def test_small_landmarks_are_neither_trained_on_nor_held_out(dataset: Dataset) -> None:
    made = load(dataset, balance={"min_count": 9}, validation_share=0.3)
    assert made.landmarks.tolist() == [30, 40]
    assert set(np.unique(made.held_out.landmark_ids)) == {30, 40}
    assert len(made.ids) + len(made.held_out.ids) == 29
    assert np.unique(made.classes).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"train.balance.min_count = 21 photos, .* has 20; lower"):
        load(dataset, balance={"min_count": 21})


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_balanced_set_has_no_held_out_image(dataset: Dataset, number: int) -> None:
    balance = {"cap": 8, "upsample_to": 6, "set_number": number}
    made = load(dataset, balance=balance, validation_share=0.2)
    assert made.examples is not None
    counts = np.bincount(made.classes[made.examples.rows])
    assert counts.tolist() == [6, 6, 7, 8]
    assert np.unique(made.examples.rows).tolist() == list(range(len(made.rows)))
    assert not set(made.ids) & set(made.held_out.ids)
    assert (np.diff(made.rows) > 0).all()


def test_a_validation_table_is_held_out_instead_of_a_share(dataset: Dataset) -> None:
    write_table(dataset.folder / "validation.csv", "id,landmark_id", ["v1,40", "v2,99", "v3,10"])
    made = load(dataset)
    assert len(made.rows) == sum(SIZES)
    assert (made.held_out.ids, made.unknown) == (("v1", "v3"), 1)
    small = load(dataset, balance={"min_count": 5})
    assert (small.held_out.ids, small.unknown) == (("v1",), 2)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, list[str]]:
    """Return a finished run with a validation table and a balanced training set, and its log.

    Landmark 0 is too small to be trained on; one of the validation photos cannot be read.
    """
    folder = tmp_path_factory.mktemp("balanced")
    data = make_dataset(folder / "data")
    lines = (data / "train.csv").read_text().splitlines()[1:]
    held_out = [line for line in lines if line.split(",")[0].endswith("-3")] + ["gone,1"]
    rows = [line for line in lines if line not in held_out and not line.startswith("thing0-2")]
    write_table(data / "train.csv", "id,landmark_id", rows)
    write_table(data / "validation.csv", "id,landmark_id", held_out)
    recipe = make_recipe_file(
        folder / "tiny.toml",
        """[train]
sampler = "square-root"
[train.balance]
min_count = 3
upsample_to = 5
cap = 5
[train.augment]
preset = "torino"
mirror = 0.5
""",
    )
    log: list[str] = []
    handler, logger = logging.Handler(), logging.getLogger("pipelines.stages")
    handler.emit = lambda record: log.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    tiny = Tiny(data, recipe, folder / "run")
    end = tiny.submit()
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    assert end.status == 0, end.err
    return tiny, log


def test_a_balanced_run_says_what_it_leaves_out(balanced: tuple[Tiny, list[str]]) -> None:
    _, log = balanced
    said = "1 of 7 images of"
    assert any(
        line.startswith(said) and "not trained on; they are not queried" in line for line in log
    )
    assert "1 of 6 landmarks have fewer than 3 photos and are not trained on" in log


def test_a_balanced_model_counts_images_and_not_variants(balanced: tuple[Tiny, list[str]]) -> None:
    tiny, _ = balanced
    manifest = load_manifest(tiny.run / "model")
    assert manifest is not None
    assert manifest.counts == {"requested": 15, "written": 15, "failed": 0}
    assert manifest.settings["train"]["augment"]["rotation"] == 20.0
    assert {"train", "validation"} <= manifest.inputs.keys()
    with (tiny.run / "model" / "history.csv").open(encoding="utf-8") as file:
        assert all(float(row["gap"]) >= 0 for row in csv.DictReader(file))


def test_validation_photos_are_known_queries_and_their_failures_recorded(
    balanced: tuple[Tiny, list[str]],
) -> None:
    tiny, _ = balanced
    known = load_known_queries(make_job(tiny.data, tiny.run, tiny.recipe))
    landmarks = {i: t for i, t in zip(known.ids, known.truths.tolist(), strict=True) if t >= 0}
    held_out = {f"thing{label}-3": label for label in range(1, LANDMARKS)}
    # Photos of the database that were never trained on are asked, too.
    assert landmarks == held_out | {"thing0-0": 0, "thing0-1": 0}
    failures = read_failures(tiny.run / "embeddings" / HELD_OUT / "failures.parquet")
    assert list(failures) == ["gone"] and failures["gone"][0] == "missing"


def test_another_validation_table_is_another_training(
    balanced: tuple[Tiny, list[str]], tmp_path: Path
) -> None:
    tiny, _ = balanced
    table = tiny.data / "validation.csv"
    before = table.read_text()
    try:
        write_table(table, "id,landmark_id", ["thing1-3,1"])
        end = tiny.submit()
    finally:
        table.write_text(before)
    assert end.status == 1 and "trained with other validation;" in end.err
