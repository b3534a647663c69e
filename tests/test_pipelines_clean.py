"""Cleaning finds planted wrong labels, loses no row, and goes on where it was interrupted."""

import csv
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import InputError
from embed.head_scores import HeadScores
from embed.parallel import run_parallel
from embed.shards import Embeddings
from pipelines.datasets import derive
from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import Job
from pipelines.stages import clean, order
from pipelines.stages.clean import CleaningResult, explain_rejected
from rerank.cleaning import CleaningSettings
from tests.conftest import Tiny
from tests.datasets import (
    LANDMARKS,
    PHOTOS,
    cairn,
    find_file,
    make_dataset,
    make_job,
    make_recipe_file,
    results,
    write_table,
)

PUBLISHED = CleaningSettings()
# Rows that lie, and what they say. Of landmark 5 only two photos keep their label: too few.
WRONG = {"thing0-0": 1, "thing5-2": 3, "thing5-3": 4}
UNREADABLE = "thing2-3"
LOST = {**dict.fromkeys(WRONG, 0), "thing5-0": 1, "thing5-1": 1}  # verified neighbours of each
KEPT = CleaningResult(images=18, of_images=24, landmarks=5, of_landmarks=6)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a dataset with wrong labels, and a run that has embedded and cleaned it."""
    folder = tmp_path_factory.mktemp("noisy")
    data, recipe = make_dataset(folder / "data"), make_recipe_file(folder / "tiny.toml")
    ids = [f"thing{label}-{number}" for label in range(LANDMARKS) for number in range(PHOTOS)]
    labels = {image_id: WRONG.get(image_id, int(image_id[5])) for image_id in ids}
    write_table(data / "train.csv", "id,landmark_id", [f"{i},{n}" for i, n in labels.items()])
    (data / "images" / f"{UNREADABLE}.jpg").write_bytes(b"nothing")
    tiny = Tiny(data, recipe, folder / "run")
    assert order.clean(job_of(tiny), folder / "clean", PUBLISHED) == KEPT
    return tiny


@pytest.fixture
def embedded(noisy: Tiny, tmp_path: Path) -> Tiny:
    """Return the same dataset with a run of its own that has not been cleaned."""
    shutil.copytree(noisy.run, tmp_path / "run", ignore=shutil.ignore_patterns("clean"))
    return Tiny(noisy.data, noisy.recipe, tmp_path / "run")


def job_of(tiny: Tiny) -> Job:
    return make_job(tiny.data, tiny.run, tiny.recipe)


def cleaned_of(tiny: Tiny) -> Path:
    return tiny.run.parent / "clean"


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def test_wrong_labels_are_found_and_no_right_one_is_lost(noisy: Tiny) -> None:
    rejected = {row[0]: row[2] for row in rows(cleaned_of(noisy) / "rejected.csv")}
    unread = rejected.pop(UNREADABLE)
    assert unread.startswith("cannot be read: ") and f"{UNREADABLE}.jpg" in unread
    assert rejected == {
        image_id: f"few verified neighbours: {verified} of 2 needed"
        for image_id, verified in LOST.items()
    }


def test_every_training_image_is_kept_or_rejected(noisy: Tiny) -> None:
    folder = cleaned_of(noisy)
    kept, rejected = rows(folder / "train.csv"), [r[:2] for r in rows(folder / "rejected.csv")]
    source = rows(noisy.data / "train.csv")
    assert sorted(kept + rejected) == sorted(source)
    assert kept == [row for row in source if row in kept]  # in the same order


def test_the_rest_of_the_dataset_is_the_same(noisy: Tiny) -> None:
    folder, source = cleaned_of(noisy), Dataset(noisy.data)
    dataset = Dataset(folder)
    dataset.check()
    for name in ("test.csv", "solution.csv", "non_landmark.csv", "labels.csv"):
        assert (folder / name).read_bytes() == (noisy.data / name).read_bytes()
    for split in ("train", "test", "non_landmark"):
        for image_id in dataset.load_split(split).ids:
            assert find_file(dataset, image_id).samefile(find_file(source, image_id))


def test_the_same_command_again_verifies_nothing(
    noisy: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(cleaned_of(noisy))
    monkeypatch.setattr(clean, "run_parallel", refuse)
    assert order.clean(job_of(noisy), cleaned_of(noisy), PUBLISHED) == KEPT
    assert results(cleaned_of(noisy)) == before


class Interrupted(Exception):
    """What stands for kill -9 here."""


def refuse(*_: object) -> Any:
    raise Interrupted


def test_verification_goes_on_after_the_last_whole_part(
    noisy: Tiny, embedded: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def interrupt(function: Any, items: Iterable[int]) -> list[Any]:
        part = list(items)
        if part[0] >= 14 and not done[2:]:
            done.append(-1)
            raise Interrupted
        done.append(part[0])
        return run_parallel(function, part)

    monkeypatch.setattr(clean, "PART_SIZE", 7)
    monkeypatch.setattr(clean, "run_parallel", interrupt)
    with pytest.raises(Interrupted):
        order.clean(job_of(embedded), tmp_path / "new", PUBLISHED)
    assert not (tmp_path / "new" / "train.csv").exists()
    assert order.clean(job_of(embedded), tmp_path / "new", PUBLISHED) == KEPT
    assert done == [0, 7, -1, 14, 21]
    assert results(tmp_path / "new") == results(cleaned_of(noisy))


def test_writing_goes_on_after_an_interrupt(
    noisy: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, step in ((derive, "share_images"), (shutil, "copyfile"), (derive, "write_rows")):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, refuse)
            with pytest.raises(Interrupted):
                order.clean(job_of(noisy), tmp_path / "new", PUBLISHED)
        assert not (tmp_path / "new" / "train.csv").exists()
    assert order.clean(job_of(noisy), tmp_path / "new", PUBLISHED) == KEPT
    assert results(tmp_path / "new") == results(cleaned_of(noisy))


@pytest.mark.parametrize("origin", ["tables", "source", "another"])
def test_a_folder_that_holds_something_else_is_left_alone(
    origin: str, noisy: Tiny, tmp_path: Path
) -> None:
    folder = noisy.data if origin == "source" else tmp_path
    if origin == "tables":
        (folder / "train.csv").write_text("mine")
    if origin == "another":
        (folder / "dataset.json").write_text('{"cleaned from": "/elsewhere"}')
        (folder / "rejected.csv").write_text("id\n")
    before = results(folder)
    with pytest.raises(InputError, match=r"holds .*; name another folder, or delete"):
        order.clean(job_of(noisy), folder, PUBLISHED)
    assert results(folder) == before


def test_a_recipe_without_local_features_is_refused(noisy: Tiny, tmp_path: Path) -> None:
    recipe = make_recipe_file(tmp_path / "plain.toml", '[rerank]\nmethod = "none"\n')
    with pytest.raises(ValueError, match=r"plain.toml has rerank.method = \"none\""):
        order.clean(make_job(noisy.data, noisy.run, recipe), tmp_path / "new", PUBLISHED)
    assert not (tmp_path / "new").exists()


def test_losing_most_is_a_warning_and_losing_all_an_error(
    embedded: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    advice = "inliers asked for; lower --min-verified or --min-inliers"
    with caplog.at_level(logging.WARNING, "pipelines.stages.clean"):
        strict = CleaningSettings(min_inliers=90)
        kept = order.clean(job_of(embedded), tmp_path / "new", strict)
    assert 0 < kept.images < kept.of_images / 2
    assert f"more than half of the training images are left out, with 2 images of 90 {advice}" in (
        caplog.text
    )
    before = results(tmp_path / "new")
    with pytest.raises(ValueError, match=f"none of the 24 images .* 2 images of 500 {advice}"):
        order.clean(job_of(embedded), tmp_path / "new", CleaningSettings(min_inliers=500))
    assert results(tmp_path / "new") == before


def test_other_settings_write_the_same_folder_again(embedded: Tiny, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert order.clean(job_of(embedded), new, CleaningSettings(min_images=3)).images < 18
    assert order.clean(job_of(embedded), new, PUBLISHED) == KEPT
    assert len(rows(new / "train.csv")) + len(rows(new / "rejected.csv")) == 24


def test_the_last_image_of_a_class_goes_for_being_alone() -> None:
    vectors = np.eye(4, dtype=np.float32)
    head = HeadScores.none(4)
    images = Embeddings(("a", "b", "c", "d"), np.array([1, 1, 2, 2]), vectors, head)
    inliers = np.array([[40, 40], [50, 60], [70, 30], [70, 29]], dtype=np.int32)
    assert explain_rejected(images, inliers, PUBLISHED) == {
        "c": "class of one image left",
        "d": "few verified neighbours: 1 of 2 needed",
    }


def test_the_command_says_what_was_kept(embedded: Tiny, tmp_path: Path) -> None:
    end = cairn("data", "clean", embedded.run, "--into", tmp_path / "new")
    assert end.status == 0, end.err
    assert end.out == (
        f"{tmp_path / 'new'}: 18 of 24 training images (75%) and 5 of 6 landmarks kept; "
        "rejected.csv says why not the others\n"
    )
    beside = embedded.data.with_name("data-clean")
    assert cairn("data", "clean", embedded.run, "--min-verified", 1).out.startswith(f"{beside}:")
    # The two photos that are left of landmark 5 confirm each other.
    assert {row[0] for row in rows(beside / "rejected.csv")} == {*WRONG, UNREADABLE}


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    end = cairn("data", "clean", tmp_path / "absent")
    assert end.status == 1
    assert "absent; make one of the dataset first: cairn embed" in end.err


def test_variants_that_confirm_their_photo_are_a_warning(
    noisy: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(noisy.data, tmp_path / "data")
    write_table(tmp_path / "data" / "variants.csv", "id,image_id", ["thing0-0~1,thing0-0"])
    shutil.copytree(noisy.run, tmp_path / "run")
    job = make_job(tmp_path / "data", tmp_path / "run", noisy.recipe)
    assert order.clean(job, tmp_path / "new", PUBLISHED) == KEPT
    assert "which confirm the photos they were made of" in caplog.text
