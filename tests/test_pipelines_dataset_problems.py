"""All that is wrong with the tables of a dataset is listed at once, with its place."""

from pathlib import Path

import pytest

from embed.errors import InputError
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.dataset_problems import APART
from tests.datasets import write_table

SPLITS = ("train", "index", "validation", "test", "non_landmark")


def make(folder: Path, **tables: list[str]) -> Dataset:
    """Write tables without images: the rows of each, of labels, solution or ids."""
    headers = {"labels": "landmark_id,name", "solution": "id,landmarks"}
    for name, rows in {"train": ["a,1", "b,2"], **tables}.items():
        columns = "id,landmark_id" if name in ("train", "index", "validation") else "id"
        write_table(folder / f"{name}.csv", headers.get(name, columns), rows)
    return Dataset(folder)


def refusal(dataset: Dataset) -> list[str]:
    """Return the lines of the error, without the folder."""
    with pytest.raises(InputError) as caught:
        dataset.check_tables()
    return str(caught.value).replace(f"{dataset.folder}/", "").splitlines()


@pytest.mark.parametrize("pair", [(a, b) for a in SPLITS for b in SPLITS if a < b])
def test_no_two_tables_share_an_image_that_may_not(pair: tuple[str, str], tmp_path: Path) -> None:
    tables = {"train": ["a,1"]} | {name: [f"own-{name},1", "both,1"] for name in pair}
    for name in {"test", "non_landmark"} & tables.keys():
        tables[name] = [row.split(",")[0] for row in tables[name]]
    dataset = make(tmp_path, **tables)
    if pair in APART or pair[::-1] in APART:
        lines = refusal(dataset)
        assert len(lines) == 1
        assert "are in" in lines[0] and "the first is 'both' (line 3 of" in lines[0]
    else:
        assert set(pair) in ({"train", "index"}, {"index", "validation"})
        dataset.check_tables()


def test_an_image_in_two_tables_is_named_with_both_lines(tmp_path: Path) -> None:
    dataset = make(tmp_path, test=["q", "r", "b", "a"])
    assert refusal(dataset) == [
        "2 images of test.csv are in train.csv, too, the first is 'b' (line 4 of test.csv, line 3 "
        "of train.csv); an image is either a query or known: keep one of the rows"
    ]


def test_ids_of_two_tables_are_compared_as_they_look(tmp_path: Path) -> None:
    dataset = make(tmp_path, train=["Caf\u00e9,1"], test=["Cafe\u0301"])
    assert "'Caf\u00e9' (line 2 of test.csv, line 2 of train.csv)" in refusal(dataset)[0]


def test_all_tables_are_judged_in_one_list(tmp_path: Path) -> None:
    dataset = make(
        tmp_path,
        train=["a,1", "b,100.5", "c,2", "a,1"],
        index=["x/y,3", "d,"],
        validation=["c,2"],
        test=["q", "r", "d", "s"],
        non_landmark=["q"],
        solution=["q,None", "r,nan", "t,1"],
        labels=["1,Tower", "2,Bridge", "1,Gate"],
    )
    assert refusal(dataset) == [
        f"{tmp_path}: 10 things have to be mended",
        "- labels.csv, line 4: landmark 1 is named twice; keep one of the rows",
        "- train.csv has 1 repeated ids, the first is 'a' (lines 2 and 5); keep one row for each "
        "image",
        "- train.csv, line 3: landmark_id '100.5' is not an integer of 0 or more; give each "
        "landmark a number, and photos of none a row in non_landmark.csv",
        "- index.csv, line 2: id 'x/y' cannot be a file name; use ids without slashes, line breaks "
        "or a leading dot, and no folder or suffix: 'photo1' for images/photo1.jpg",
        "- index.csv, line 3: landmark_id '' is not an integer of 0 or more; give each landmark a "
        "number, and photos of none a row in non_landmark.csv",
        "- index.csv has 1 landmarks that labels.csv does not name (3); add them, or delete "
        "labels.csv: names are optional",
        "- solution.csv, lines 2 and 3: landmarks 'None' of id 'q', expected whole-number labels, "
        "as in '12' or '12 40', or an empty cell",
        "- 1 images of test.csv are in index.csv, too, the first is 'd' (line 4 of test.csv, line "
        "3 of index.csv); an image is either a query or known: keep one of the rows",
        "- 1 images of test.csv are in non_landmark.csv, too, the first is 'q' (line 2 of "
        "test.csv, line 2 of non_landmark.csv); an image is either a query or known: keep one "
        "of the rows",
        "- 1 images of validation.csv are in train.csv, too, the first is 'c' (line 2 of "
        "validation.csv, line 4 of train.csv); a model is not validated by what it was trained "
        "on: keep one of the rows",
    ]


def test_a_solution_has_the_ids_of_the_test(tmp_path: Path) -> None:
    dataset = make(tmp_path, test=["q", "r", "s"], solution=["r,1", "t,", "u,2"])
    assert refusal(dataset) == [
        f"{tmp_path}: 2 things have to be mended",
        "- solution.csv lacks 2 ids of test.csv, the first is 'q' (lines 2 and 4 of test.csv); add "
        "a row for each, with empty landmarks for a photo of none",
        "- solution.csv, lines 3 and 4: 2 ids are not in test.csv, the first is 't'; add them "
        "there, take the rows out, or set their Usage to Ignored",
    ]


def test_ignored_rows_of_a_solution_may_be_of_no_query(tmp_path: Path) -> None:
    dataset = make(tmp_path, test=["q"])
    write_table(tmp_path / "solution.csv", "id,landmarks,Usage", ["q,1,Public", "t,,Ignored"])
    dataset.check_tables()


def test_labels_may_name_a_landmark_without_a_photo(tmp_path: Path) -> None:
    dataset = make(tmp_path, labels=["1,Tower", "2,Cafe\u0301", "9,Nothing"])
    dataset.check_tables()
    assert dataset.names == {1: "Tower", 2: "Caf\u00e9", 9: "Nothing"}


def test_whole_numbers_with_a_point_are_landmarks(tmp_path: Path) -> None:
    table = make(tmp_path, train=["a,100.0", "b,7.0"]).load_split("train")
    assert table.landmark_ids.tolist() == [100, 7]
