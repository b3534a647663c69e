"""Known queries: photos that the model was not trained on, each with its truth and features."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.sampling import split_validation
from pipelines.answers.open_run import load_split_embeddings, split_pool
from pipelines.runs.job import Job
from pipelines.stages import order
from pipelines.stages.known_queries import (
    KnownQueries,
    load_known_queries,
)
from pipelines.stages.training_set import HELD_OUT
from tests.conftest import Tiny
from tests.datasets import (
    LANDMARKS,
    PHOTOS,
    POOL,
    QUERIES,
    make_job,
    make_recipe_file,
    view,
    write_photo,
    write_table,
)

UNTRAINED = LANDMARKS  # a landmark of the database that the training set lacks


def job_of(tiny: Tiny) -> Job:
    return make_job(tiny.data, tiny.run, tiny.recipe)


def trained_ids(job: Job) -> set[str]:
    """Return the images trained on, counted anew."""
    table, settings = job.dataset.load_split("train"), job.recipe.train
    rows, _ = split_validation(table.landmark_ids, settings.validation_share, settings.seed)
    return {table.ids[row] for row in rows}


def landmark_photos(known: KnownQueries) -> set[str]:
    return {i for i, truth in zip(known.ids, known.truths, strict=True) if truth >= 0}


def check_truths(job: Job, known: KnownQueries) -> None:
    """Every query has the label of its table, its own descriptor, and its own features."""
    labels: dict[str, int] = {}
    for name in ("train", "index", "non_landmark"):
        if job.dataset.find_table(name):
            table = job.dataset.load_split(name)
            labels |= dict(zip(table.ids, table.landmark_ids.tolist(), strict=True))
    assert [labels[image_id] for image_id in known.ids] == known.truths.tolist()
    stored: dict[str, NDArray[np.float32]] = {}
    for folder in (job.run / "embeddings").iterdir():
        part = load_split_embeddings(job.run, folder.name)
        stored |= dict(zip(part.ids, part.vectors, strict=True))
    # In another batch the last digits are others.
    own = np.array([stored[image_id] for image_id in known.ids])
    np.testing.assert_allclose(known.embeddings.vectors, own, atol=1e-6)
    found = [known.find_features(row) for row in range(len(known.ids))]
    sizes = [len(features) for features in found if features is not None]
    assert len(sizes) == len(known.ids)
    assert len(set(sizes)) > 1 or len(sizes) < 5  # not the same image's for all


@pytest.fixture(scope="module")
def two_tables(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return an indexed run whose database is not its training set.

    It has a photo of each landmark, some of which were trained on, and two of one that was not.
    """
    folder = tmp_path_factory.mktemp("two_tables")
    shutil.copytree(finished.data, folder / "data")
    shutil.copytree(finished.run, folder / "run")
    rows = [f"thing{label}-0,{label}" for label in range(LANDMARKS)]
    for number in range(2):
        write_photo(folder / "data", f"new-{number}", view(UNTRAINED, number))
        rows.append(f"new-{number},{UNTRAINED}")
    write_table(folder / "data" / "index.csv", "id,landmark_id", rows)
    (folder / "data" / "labels.csv").unlink()
    tiny = Tiny(folder / "data", make_recipe_file(folder / "tiny.toml"), folder / "run")
    order.index(job_of(tiny))
    return tiny


def test_photos_held_out_of_the_training_are_asked(finished: Tiny) -> None:
    job = job_of(finished)
    known = load_known_queries(job)
    assert len(trained_ids(job)) == LANDMARKS * (PHOTOS - 1)
    assert landmark_photos(known) == set(job.dataset.load_split("train").ids) - trained_ids(job)
    check_truths(job, known)


def test_the_database_and_what_was_held_out_are_asked(two_tables: Tiny) -> None:
    job = job_of(two_tables)
    known = load_known_queries(job)
    trained, database = trained_ids(job), set(job.dataset.load_split("index").ids)
    held_out = set(job.dataset.load_split("train").ids) - trained
    landmarks = landmark_photos(known)
    assert landmarks == held_out | (database - trained)
    assert {"new-0", "new-1"} <= landmarks
    assert trained & database  # else the test would show nothing
    assert held_out & database != held_out
    check_truths(job, known)


def test_held_out_photos_are_embedded_only_where_the_database_lacks_them(
    finished: Tiny, two_tables: Tiny
) -> None:
    assert not (finished.run / "embeddings" / HELD_OUT).exists()
    made = load_split_embeddings(two_tables.run, HELD_OUT).ids
    database = job_of(two_tables).dataset.load_split("index").ids
    assert made
    assert set(made).isdisjoint(database)


def test_held_out_photos_of_landmarks_that_the_database_lacks_are_not_asked(
    tiny: Tiny,
) -> None:
    (tiny.data / "labels.csv").unlink()
    write_table(tiny.data / "index.csv", "id,landmark_id", [f"q0,{UNTRAINED}", f"q1,{UNTRAINED}"])
    order.Order(job_of(tiny)).held_out()
    assert not (tiny.run / "embeddings" / HELD_OUT).exists()


def test_without_training_the_whole_database_is_known(calibrated: Tiny) -> None:
    job = job_of(calibrated)
    known = load_known_queries(job)
    assert set(known.ids) == {*job.dataset.load_split("train").ids, *split_pool(job.run)[1].ids}
    check_truths(job, known)


@pytest.mark.parametrize("run", ["finished", "calibrated", "two_tables"])
def test_what_is_known_is_neither_asked_about_nor_the_pool_of_penalties(
    run: str, request: pytest.FixtureRequest
) -> None:
    tiny: Tiny = request.getfixturevalue(run)
    known = set(load_known_queries(job_of(tiny)).ids)
    penalties, decision = (set(half.ids) for half in split_pool(tiny.run))
    assert known.isdisjoint(QUERIES)
    assert known & set(POOL) == decision
    assert penalties.isdisjoint(decision)
    assert (penalties | decision).isdisjoint(QUERIES)


@pytest.mark.parametrize("most", [1, 5, 23, 24, 1000])
def test_no_more_photos_of_landmarks_than_asked_for(
    most: int, calibrated: Tiny, tmp_path: Path
) -> None:
    changes = f"[train]\nepochs = 0\n[decide]\ncalibration_queries = {most}\n"
    recipe = make_recipe_file(tmp_path / "few.toml", changes)
    job = make_job(calibrated.data, calibrated.run, recipe)
    first, second = load_known_queries(job), load_known_queries(job)
    assert first.ids == second.ids
    assert (first.truths >= 0).sum() == min(most, LANDMARKS * PHOTOS)
    assert (first.truths < 0).sum() == len(POOL) // 2
    check_truths(job, first)
