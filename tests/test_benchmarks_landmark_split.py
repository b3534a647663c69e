"""Landmarks divided into those that are trained on and those of the database."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from embed.errors import InputError
from pipelines.datasets.dataset import Dataset
from tests.benchmarks.landmark_split import hold_out_landmarks, split_landmarks
from tests.datasets import write_table

COUNTS = {0: 12, 1: 3, 2: 12, 3: 5, 4: 12}  # photos by landmark


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    """Return tables without any image: none is opened."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    train = [f"t{label}-{n},{label}" for label, count in COUNTS.items() for n in range(count)]
    write_table(folder / "train.csv", "id,landmark_id", train)
    asked = {f"q{label}": str(label) for label in COUNTS} | {"none": "", "elsewhere": "99"}
    asked |= {"all": " ".join(map(str, COUNTS))}
    write_table(folder / "test.csv", "id", list(asked))
    solution = [f"{query},{truth},Public" for query, truth in asked.items()]
    write_table(folder / "solution.csv", "id,landmarks,Usage", solution)
    write_table(folder / "non_landmark.csv", "id", ["pool0", "pool1"])
    return Dataset(folder)


def landmarks_of(data: Dataset, name: str) -> set[int]:
    return set(data.load_split(name).landmark_ids.tolist())


def test_no_landmark_of_the_database_is_trained_on(source: Dataset, tmp_path: Path) -> None:
    data = Dataset(split_landmarks(source, tmp_path / "split", share=0.5))
    trained, known = landmarks_of(data, "train"), landmarks_of(data, "index")
    assert len(trained) == 2  # half of five, rounded down
    assert trained | known == set(COUNTS) and not trained & known
    assert len(data.load_split("train").ids) == sum(COUNTS[label] for label in trained)
    assert data.load_split("non_landmark").ids == ("pool0", "pool1")


def test_a_landmark_gets_so_many_photos_or_all_and_it_is_said(
    source: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        data = Dataset(split_landmarks(source, tmp_path / "split", share=0.4, photos=10))
    labels = pd.Series(data.load_split("index").landmark_ids)
    assert labels.value_counts().to_dict() == {x: min(COUNTS[x], 10) for x in set(labels)}
    few = [label for label in sorted(set(labels)) if COUNTS[label] < 10]
    assert all(f"{label} ({COUNTS[label]})" in caplog.text for label in few)
    assert bool(few) == ("fewer than 10" in caplog.text)


def test_asked_are_photos_of_the_database_and_distractors(source: Dataset, tmp_path: Path) -> None:
    data = Dataset(split_landmarks(source, tmp_path / "split"))
    wanted = {f"q{label}" for label in landmarks_of(data, "index")} | {"none", "all"}
    assert set(data.load_split("test").ids) == wanted
    assert set(pd.read_csv(data.folder / "solution.csv")["id"]) == wanted


def test_the_order_of_rows_changes_nothing_and_the_seed_does(
    source: Dataset, tmp_path: Path
) -> None:
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        data = Dataset(split_landmarks(source, tmp_path / f"split{number}", seed=seed))
        drawn.append(set(data.load_split("index").ids))
        rows = pd.read_csv(source.folder / "train.csv")
        rows[::-1].to_csv(source.folder / "train.csv", index=False)
    assert drawn[0] == drawn[1] != drawn[2]


def test_held_out_photos_are_of_trained_landmarks(source: Dataset, tmp_path: Path) -> None:
    held_out = [f"v{label},{label}" for label in COUNTS]
    write_table(source.folder / "validation.csv", "id,landmark_id", held_out)
    data = Dataset(split_landmarks(source, tmp_path / "split"))
    assert landmarks_of(data, "validation") == landmarks_of(data, "train")


def test_other_arguments_do_not_change_a_folder(source: Dataset, tmp_path: Path) -> None:
    split_landmarks(source, tmp_path / "split")
    before = (tmp_path / "split" / "index.csv").read_bytes()
    split_landmarks(source, tmp_path / "split")
    with pytest.raises(InputError, match="seed: 0"):
        split_landmarks(source, tmp_path / "split", seed=1)
    assert (tmp_path / "split" / "index.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("share", "photos", "said"), [(0.2, 10, "trains on 1"), (1.0, 10, "on 5"), (0.5, 0, "photos")]
)
def test_senseless_divisions_are_refused(
    source: Dataset, tmp_path: Path, share: float, photos: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        split_landmarks(source, tmp_path / "split", share=share, photos=photos)
    assert not (tmp_path / "split").exists()


def test_without_a_solution_nothing_is_made(source: Dataset, tmp_path: Path) -> None:
    (source.folder / "solution.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no solution\.csv"):
        split_landmarks(source, tmp_path / "split")


def test_landmarks_that_are_held_out_are_distractors(source: Dataset, tmp_path: Path) -> None:
    data = Dataset(hold_out_landmarks(source, tmp_path / "less", share=0.2))
    known = landmarks_of(data, "train")
    assert known < set(COUNTS) and len(known) == len(COUNTS) - 2  # two at least
    assert data.load_split("test").ids == source.load_split("test").ids
    solution = pd.read_csv(tmp_path / "less" / "solution.csv", index_col="id", dtype=str)
    truths = {
        query: set(str(text).split()) - {"nan"} for query, text in solution["landmarks"].items()
    }
    for label in COUNTS:
        assert truths[f"q{label}"] == ({str(label)} if label in known else set())
    assert truths["all"] == set(map(str, known))
    assert truths["none"] == truths["elsewhere"] == set()
    again = Dataset(hold_out_landmarks(source, tmp_path / "again", share=0.2))
    assert landmarks_of(again, "train") == known


def test_two_landmarks_must_be_left(source: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one must be left"):
        hold_out_landmarks(source, tmp_path / "less", share=1.0)
