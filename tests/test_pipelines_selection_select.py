"""A whole selection: what is written, what is kept of the source, what the command prints."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from embed.errors import InputError
from pipelines.commands.select import select
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import read_rows
from pipelines.datasets.selection.select import PartCounts, Selection, select_dataset
from pipelines.datasets.selection.settings import Filters, Split, make_split
from tests.datasets import write_table

SIZES = {1: 20, 2: 12, 3: 4, 1000: 12}  # images by landmark


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    """Return a dataset with tables alone: no image is opened."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    rows = [f"{i}-{n},http://{i}/{n},{i}" for n in range(20) for i in SIZES if n < SIZES[i]]
    write_table(folder / "train.csv", "id,url,landmark_id", rows)
    return Dataset(folder)


def add_queries(source: Dataset) -> None:
    queries = {"q1": "1", "q2": "2", "q3": "3 1", "q4": "", "q5": "77"}
    write_table(source.folder / "test.csv", "id", list(queries))
    rows = [f"{query},{truth},Public" for query, truth in queries.items()]
    write_table(source.folder / "solution.csv", "id,landmarks,Usage", rows)


def read(folder: Path, name: str) -> dict[str, list[Any]]:
    path = Dataset(folder).find_table(name)
    assert path is not None, name
    columns: dict[str, list[Any]] = read_rows(path).to_pydict()
    return columns


def run(
    source: Dataset, filters: Filters | None = None, split: Split | None = None, **more: Any
) -> tuple[Selection, Path]:
    folder = source.folder.with_name("selected")
    done = select_dataset(source, folder, filters or Filters(), split or Split(), **more)
    return done, folder


def test_the_parts_are_tables_of_a_dataset_that_holds_together(source: Dataset) -> None:
    selection, folder = run(source, Filters(min_count=10), Split("shares", 0.2, 0.1))
    dataset = Dataset(folder)
    dataset.check_tables()
    parts = [read(folder, name) for name in ("train", "validation", "test")]
    assert sorted(i for part in parts for i in part["id"]) == sorted(
        i for i in read(source.folder, "train")["id"] if not i.startswith("3-")
    )
    assert [list(part) for part in parts] == [
        ["id", "url", "landmark_id"],
        ["id", "url", "landmark_id"],
        ["id", "url"],
    ]
    # Of 20 images 14, 4 and 2; of 12 they are 8.4, 2.4 and 1.2: one more goes to validation.
    assert Counter(parts[1]["landmark_id"]) == {1: 4, 2: 3, 1000: 3}
    solution = read(folder, "solution")
    assert solution["id"] == parts[2]["id"]
    assert [i.partition("-")[0] for i in solution["id"]] == solution["landmarks"]
    assert Counter(solution["landmarks"]) == {"1": 2, "2": 1, "1000": 1}
    assert (folder / "images").resolve() == source.folder / "images"
    assert selection.parts == {
        "train": PartCounts(30, 3, 30),
        "validation": PartCounts(10, 3, 10),
        "test": PartCounts(4, 3, 4),
    }


def test_the_record_says_what_was_asked_for_and_what_came_out(source: Dataset) -> None:
    selection, folder = run(source, Filters(ids=(0, 100), top=2), make_split("by-size"), seed=7)
    record = json.loads((folder / "selection.json").read_text())
    assert record["filters"] == {
        "ids": [0, 100],
        "min_count": None,
        "max_count": None,
        "top": 2,
        "cap": None,
    }
    assert record["split"]["sizes"] == {"9": 0.25, "100": 0.05, "rest": 0.01}
    assert record["seed"] == 7
    assert record["steps"] == [
        {"filter": "", "images": 48, "landmarks": 4},
        {"filter": "--ids 0:100", "images": 36, "landmarks": 3},
        {"filter": "--top 2", "images": 32, "landmarks": 2},
    ]
    assert record["parts"]["test"] == {"images": 2, "landmarks": 2, "quota": 2}
    assert record["notes"] == list(selection.notes)


def test_two_selections_of_one_seed_are_the_same_files(source: Dataset, tmp_path: Path) -> None:
    names = ("train.csv", "validation.csv", "test.csv", "solution.csv", "selection.json")
    split = make_split("shares", 0.2, 0.1)
    written = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        select_dataset(source, tmp_path / name, Filters(), split, seed=seed)
        written[name] = [(tmp_path / name / file).read_bytes() for file in names]
    assert written["a"] == written["b"] != written["c"]


def test_a_selection_done_again_replaces_its_own_tables(source: Dataset) -> None:
    _, folder = run(source, None, make_split("shares", 0.2, 0.1))
    assert (folder / "test.csv").is_file()
    run(source, Filters(top=1), Split("per-class", 3))
    assert not (folder / "test.csv").exists() and not (folder / "solution.csv").exists()
    assert read(folder, "validation")["landmark_id"] == [1] * 3
    assert set(read(folder, "train")["landmark_id"]) == {1}


def test_another_dataset_is_not_written_over(source: Dataset, tmp_path: Path) -> None:
    (tmp_path / "selected").mkdir()
    (tmp_path / "selected" / "train.csv").write_text("id,landmark_id\nmine,1\n")
    with pytest.raises(InputError, match="holds your own tables"):
        run(source)
    assert (tmp_path / "selected" / "train.csv").read_text().endswith("mine,1\n")


def test_near_duplicates_stay_together_and_their_groups_are_handed_on(source: Dataset) -> None:
    pairs = [f"1-{n}" for n in range(20)] + ["2-0", "1000-0"]
    groups = pa.table({"id": pairs, "group": [n // 2 for n in range(len(pairs))]})
    pq.write_table(groups, source.folder / "groups.parquet")
    selection, folder = run(source, None, Split("shares", 0.25, 0.25))
    for name in ("validation", "test"):
        numbers = [int(i[2:]) // 2 for i in read(folder, name)["id"] if i.startswith("1-")]
        assert set(Counter(numbers).values()) == {2}
    assert {"2-0", "1000-0"} <= set(read(folder, "train")["id"])
    assert selection.notes == ("1 groups of near-duplicates with several labels: in train",)
    assert pq.read_table(folder / "groups.parquet") == groups
    # of 5 images asked for in class 1 four can be taken
    assert selection.parts["test"] == PartCounts(11, 4, 12)


def test_without_groups_a_split_says_that_nothing_keeps_near_duplicates_together(
    source: Dataset,
) -> None:
    selection, _ = run(source, None, make_split("shares"))
    assert selection.notes[0].startswith("near-duplicates were not looked for")
    assert run(source)[0].notes == ()


def test_the_index_loses_what_is_filtered_and_what_is_held_out(source: Dataset) -> None:
    rows = [f"1-{n},1" for n in range(20)] + ["other,1", "copy,1", "more,3", "unseen,55"]
    write_table(source.folder / "index.csv", "id,landmark_id", rows)
    split, filters = Split("per-class", 0, 6), Filters(ids=(1, 2))
    _, folder = run(source, filters, split)
    test = set(read(folder, "test")["id"])
    left = {f"1-{n}" for n in range(20)} - test | {"other", "copy", "unseen"}  # 55 was in no train
    assert set(read(folder, "index")["id"]) == left
    groups = pa.table({"id": ["copy", *sorted(test)[:1]], "group": [0, 0]})
    pq.write_table(groups, source.folder / "groups.parquet")
    selection, _ = run(source, filters, split)
    assert set(read(folder, "test")["id"]) == test and "copy" not in read(folder, "index")["id"]
    assert selection.notes == ("16 of 24 images of index.csv kept",)
    _, folder = run(source)
    assert "unseen" in read(folder, "index")["id"]


def test_an_index_of_which_nothing_is_left_goes(source: Dataset) -> None:
    write_table(source.folder / "index.csv", "id,landmark_id", ["other,3"])
    selection, folder = run(source, Filters(ids=(1, 2)))
    assert selection.notes == ("0 of 1 images of index.csv kept, so the table is gone",)
    assert Dataset(folder).find_table("index") is None


def test_a_validation_set_there_is_filtered(source: Dataset) -> None:
    write_table(source.folder / "validation.csv", "id,landmark_id", ["v1,1", "v3,3"])
    selection, folder = run(source, Filters(min_count=10), Split("random", 0, 0.1))
    assert read(folder, "validation")["id"] == ["v1"]
    assert "1 of 2 images of validation.csv kept" in selection.notes


def test_sets_there_are_given_up_only_when_asked(source: Dataset) -> None:
    add_queries(source)
    split = make_split("shares", 0.2, 0.1)
    with pytest.raises(InputError, match=r"has test.csv and solution.csv, and the split"):
        run(source, None, split)
    _, folder = run(source, None, split, replace=True)
    assert "q1" not in read(folder, "test")["id"]
    _, folder = run(source, None, Split("shares", 0.2))
    assert read(folder, "test")["id"] == ["q1", "q2", "q3", "q4", "q5"]


@pytest.mark.parametrize(
    ("unknown", "truths"),
    [
        ("keep", {"q1": "1", "q2": "2", "q3": "3 1", "q4": "", "q5": "77"}),
        ("blank", {"q1": "1", "q2": "", "q3": "3 1", "q4": "", "q5": ""}),
        ("drop", {"q1": "1", "q3": "3 1", "q4": ""}),
    ],
)
def test_queries_of_dropped_landmarks_are_counted_and_treated_as_asked(
    source: Dataset, unknown: Any, truths: dict[str, str]
) -> None:
    add_queries(source)
    selection, folder = run(source, Filters(top=1), unknown=unknown)
    solution = read(folder, "solution")
    assert dict(zip(solution["id"], solution["landmarks"], strict=True)) == truths
    assert read(folder, "test")["id"] == list(truths)
    assert selection.notes[0].startswith("2 of 5 queries show only landmarks that are not in")


def test_a_part_without_images_is_an_error_with_the_numbers(source: Dataset) -> None:
    with pytest.raises(ValueError, match=r"no image is left for test: 0 .* 4 to 20 images"):
        run(source, None, Split("shares", 0.2, 0.01))
    assert not source.folder.with_name("selected").exists()


def call(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(select)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_the_filters_and_the_parts(source: Dataset, tmp_path: Path) -> None:
    into = tmp_path / "into"
    options = "--ids 1:1001 --min-count 5 --top 2 --cap 10 --split per-class --test 1".split()
    done = call(source.folder, "--into", into, *options)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["--top", "2", "32", "2"] in lines and ["--cap", "10", "20", "2"] in lines
    assert ["train", "14", "2", "14"] in lines and ["test", "2", "2", "2"] in lines
    assert ["validation", "4", "2", "4"] in lines
    assert set(read(into, "train")["landmark_id"]) == {1, 2}


def test_the_command_takes_the_sizes_of_the_report(source: Dataset, tmp_path: Path) -> None:
    into = tmp_path / "into"
    options = ["--split", "by-size", "--sizes", "5:0.5,rest:0.1", "--validation", "0"]
    done = call(source.folder, "--into", into, *options)
    assert done.exit_code == 0, done.output
    assert Counter(read(into, "solution")["landmarks"]) == {"1": 2, "2": 1, "3": 2, "1000": 1}


def test_the_command_refuses_what_makes_no_sense(source: Dataset, tmp_path: Path) -> None:
    done = call(source.folder, "--into", tmp_path / "into", "--ids", "1300")
    assert isinstance(done.exception, ValueError) and "1000:1300" in str(done.exception)
    assert not (tmp_path / "into").exists()


def test_a_selection_of_a_selection_is_one(source: Dataset, tmp_path: Path) -> None:
    _, folder = run(source, Filters(min_count=10))
    second: Selection = select_dataset(
        Dataset(folder), tmp_path / "second", Filters(), make_split("shares", 0.1, 0.1)
    )
    assert second.parts["train"].landmarks == 3
    assert (tmp_path / "second" / "images").resolve() == source.folder / "images"


def test_near_duplicates_of_a_kept_test_are_counted(source: Dataset) -> None:
    add_queries(source)
    groups = pa.table({"id": ["1-0", "q1"], "group": [0, 0]})
    pq.write_table(groups, source.folder / "groups.parquet")
    selection, _ = run(source, None, Split("per-class", 1, 0))
    assert any("1 images are near-duplicates of some in test.csv" in n for n in selection.notes)


def test_a_test_that_loses_all_queries_goes(source: Dataset) -> None:
    write_table(source.folder / "test.csv", "id", ["q1"])
    write_table(source.folder / "solution.csv", "id,landmarks,Usage", ["q1,3,Public"])
    _, folder = run(source, Filters(ids=(1, 2)), unknown="drop")
    assert Dataset(folder).find_table("test") is None
    assert Dataset(folder).find_table("solution") is None
