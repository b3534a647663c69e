"""Removal of problems: which image of several goes, and what the new dataset holds."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from embed.errors import InputError
from pipelines.datasets.checking.catalogue import Catalogue
from pipelines.datasets.checking.check import check_dataset
from pipelines.datasets.checking.deduplication import reject_duplicates
from pipelines.datasets.checking.duplicates import Duplicates
from pipelines.datasets.checking.groups import number_groups
from pipelines.datasets.checking.problems import KINDS, Findings, Kind, Problems
from pipelines.datasets.checking.rejection import choose_rejected
from pipelines.datasets.checking.removal import RemainingCounts, parse_kinds, remove_problems
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.selection.tables import load_groups
from tests.datasets import find_file
from tests.spoiled_dataset import INDEX, POOL, TRAIN, make_spoiled_dataset

Checked = tuple[Dataset, Findings, Problems]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    dataset = Dataset(make_spoiled_dataset(tmp_path_factory.mktemp("checked") / "data"))
    return dataset, *check_dataset(dataset)


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def rejected_by(checked: Checked, folder: Path, *kinds: Kind) -> dict[str, str]:
    """Remove kinds of problems; return the reason by id."""
    remove_problems(*checked, kinds, folder)
    return {image_id: reason for image_id, _, reason in rows(folder / "rejected.csv")}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["missing"], {"gone": "missing: images/gone.jpg"}),
        (
            ["tiny", "blank"],
            {"tiny": "tiny: 15 x 10 pixels", "black": "blank: contrast 0.0 of 127"},
        ),
        (["exact_duplicate"], {"copy0": "exact_duplicate of a0"}),
        (
            ["near_duplicate"],
            {
                "copy0": "exact_duplicate of a0",
                "half1": "near_duplicate of a1",
                "leak": "near_duplicate of t0",
                "right2": "near_duplicate of a2",
                "wrong2": "near_duplicate of a2",
            },
        ),
        (["across_split"], {"leak": "across_split: with t0"}),
        (
            ["mixed_labels"],
            {
                "wrong2": "mixed_labels: landmark 3; its group: landmark 2 (2), landmark 3 (1)",
            },
        ),
    ],
)
def test_each_kind_takes_its_images(
    kinds: list[Kind], expected: dict[str, str], checked: Checked, tmp_path: Path
) -> None:
    assert rejected_by(checked, tmp_path / "new", *kinds) == expected


def test_no_row_of_test_goes(checked: Checked, tmp_path: Path) -> None:
    rejected = rejected_by(checked, tmp_path / "new", *KINDS)
    assert not {"t0", "t1", "page"} & rejected.keys()
    for name in ("test.csv", "solution.csv"):
        source = checked[0].folder / name
        assert (tmp_path / "new" / name).read_bytes() == source.read_bytes()


def test_every_row_is_kept_or_rejected(checked: Checked, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    left = remove_problems(*checked, KINDS, folder)
    kept = {row[0] for row in rows(folder / "train.csv")}
    rejected = {image_id: label for image_id, label, _ in rows(folder / "rejected.csv")}
    assert kept == {f"a{number}" for number in range(6)}
    assert kept | rejected.keys() == TRAIN.keys() | {"black"}
    assert rejected == {image_id: str(TRAIN.get(image_id, "")) for image_id in rejected}
    assert left == {
        "train": RemainingCounts(6, 14, 6, 6),
        "index": RemainingCounts(2, 2, 2, 2),
        "non_landmark": RemainingCounts(2, 3, 0, 0),
    }


def test_the_new_dataset_has_no_problem_but_those_of_test(checked: Checked, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    remove_problems(*checked, KINDS, folder)
    dataset = Dataset(folder)
    dataset.check()
    assert find_file(dataset, "a1").samefile(find_file(checked[0], "a1"))
    _, problems = check_dataset(dataset)
    assert problems.kind.tolist() == ["corrupt"]


def test_the_new_dataset_has_the_groups(checked: Checked, tmp_path: Path) -> None:
    remove_problems(*checked, ["exact_duplicate", "mixed_labels"], tmp_path / "new")
    groups = load_groups(tmp_path / "new")
    assert groups is not None
    together = groups.to_pandas().groupby("group")["id"].agg(list).to_list()
    for pair in (["a1", "half1"], ["a2", "right2"], ["leak", "t0"]):
        assert any(set(pair) <= set(group) for group in together)


def test_the_source_stays_as_it_is_and_two_removals_give_the_same_bytes(
    checked: Checked, tmp_path: Path
) -> None:
    def read(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    source = read(checked[0].folder)
    remove_problems(*checked, ["tiny"], tmp_path / "new")  # other kinds, before
    for name in ("new", "again"):
        remove_problems(*checked, KINDS, tmp_path / name)
    assert read(tmp_path / "new") == read(tmp_path / "again")
    assert read(checked[0].folder) == source
    origin = json.loads((tmp_path / "new" / "dataset.json").read_text())
    assert origin == {"checked from": str(checked[0].folder.resolve())}


def test_removing_all_of_a_table_is_an_error_or_takes_the_table_away(tmp_path: Path) -> None:
    folder = make_spoiled_dataset(tmp_path / "data")
    for image_id in (*POOL, *INDEX):
        (folder / "images" / f"{image_id}.jpg").unlink()
    dataset = Dataset(folder)
    findings, problems = check_dataset(dataset)
    with pytest.raises(ValueError, match=r"none of the 2 images of .*index.csv would be left"):
        remove_problems(dataset, findings, problems, ["missing"], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (folder / "index.csv").unlink()
    dataset = Dataset(folder)
    remove_problems(dataset, *check_dataset(dataset), ["missing"], tmp_path / "new")
    assert not (tmp_path / "new" / "non_landmark.csv").exists()


def test_a_folder_that_holds_something_else_is_left_alone(checked: Checked, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would be written over itself"):
        remove_problems(*checked, KINDS, checked[0].folder)
    shutil.copyfile(checked[0].folder / "train.csv", tmp_path / "train.csv")
    with pytest.raises(InputError, match="holds your own tables; name another folder"):
        remove_problems(*checked, KINDS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_kinds_are_named_by_commas() -> None:
    assert parse_kinds("tiny,missing, tiny") == ["missing", "tiny"]
    with pytest.raises(ValueError, match="no kind of problem is called 'small'; missing, corrupt"):
        parse_kinds("small")


def make_findings(
    tables: Sequence[tuple[str, str, int]], pairs: Sequence[tuple[str, str, bool]]
) -> Findings:
    """Return findings of made-up images: (table, id, landmark_id), and (id, id, same bytes).

    Ids are single letters; the smaller one is the one to be preferred.
    """
    ids = sorted({image_id for _, image_id, _ in tables})
    entries = pd.DataFrame(tables, columns=["table", "id", "landmark_id"])
    entries["row"] = entries["id"].map(ids.index)
    scan = pa.table({"id": ids, "reason": pa.nulls(len(ids), pa.string())})
    ends = np.array([[ids.index(one), ids.index(other)] for one, other, _ in pairs]).reshape(-1, 2)
    exact = np.array([same for _, _, same in pairs], dtype=bool)
    count = len(pairs)
    similarity = np.ones(count, dtype=np.float32)
    duplicates = Duplicates(
        ends[:, 0], ends[:, 1], exact, np.zeros(count, dtype=np.uint8), similarity
    )
    catalogue = Catalogue(scan, entries[["row", "table", "landmark_id"]])
    return Findings(catalogue, duplicates, number_groups(catalogue, duplicates))


def reject(found: Findings, *, near: bool = True, alive: Sequence[bool] | None = None) -> list[str]:
    """Return table:id of what goes."""
    entries = found.catalogue.entries
    living = np.ones(len(entries), dtype=bool) if alive is None else np.array(alive)
    gone = ~pd.isna(reject_duplicates(found, living, near=near))
    ids = found.catalogue.ids[entries["row"]]
    return [f"{t}:{i}" for t, i in zip(entries["table"][gone], ids[gone], strict=True)]


def test_of_a_chain_every_other_image_stays() -> None:
    train = [("train", image_id, 1) for image_id in "abcde"]
    found = make_findings(train, [(one, other, False) for one, other in ("ab", "bc", "cd", "de")])
    assert set(found.groups.tolist()) == {0}
    assert reject(found) == ["train:b", "train:d"]
    assert reject(found, near=False) == []


def test_a_copy_of_a_near_duplicate_goes_with_it() -> None:
    train = [("train", image_id, 1) for image_id in "abc"]
    found = make_findings(train, [("a", "b", False), ("b", "c", True)])
    assert reject(found) == ["train:b", "train:c"]
    assert reject(found, near=False) == ["train:c"]


def test_an_image_that_goes_for_another_reason_is_not_the_one_to_be_kept() -> None:
    train = [("train", image_id, 1) for image_id in "abc"]
    found = make_findings(train, [("a", "b", True), ("a", "c", True)])
    assert reject(found) == ["train:b", "train:c"]
    assert reject(found, alive=[False, True, True]) == ["train:c"]


def test_train_and_index_may_hold_the_same_photo() -> None:
    tables = [("train", "a", 1), ("index", "b", 1), ("index", "c", 1), ("non_landmark", "d", -1)]
    found = make_findings(tables, [("a", other, True) for other in "bcd"])
    assert reject(found) == ["index:c"]


def test_test_and_validation_come_before_the_others() -> None:
    tables = [("test", "a", -1), ("test", "b", -1), ("validation", "c", 1), ("train", "d", 1)]
    assert reject(make_findings(tables, [("a", other, True) for other in "bcd"])) == [
        "validation:c",
        "train:d",
    ]
    assert reject(make_findings(tables, [("c", "d", False)])) == ["train:d"]


@pytest.mark.parametrize(
    ("labels", "gone"),
    [
        ((1, 2), "ab"),  # no majority
        ((1, 1, 2), "c"),
        ((1, 1, 2, 3), "abcd"),  # half is no majority
        ((1, 1, 1), ""),
    ],
)
def test_the_landmark_of_more_than_half_of_a_group_stays(
    labels: tuple[int, ...], gone: str
) -> None:
    tables = [("train", "abcd"[place], label) for place, label in enumerate(labels)]
    found = make_findings(tables, [("a", image_id, False) for _, image_id, _ in tables[1:]])
    nothing = np.array([], dtype=object)
    problems = Problems(
        nothing, np.array([], dtype=np.int64), np.array([], dtype=np.int64), nothing
    )
    reasons = choose_rejected(found, problems, ["mixed_labels"])
    assert "".join(found.catalogue.ids[~pd.isna(reasons)]) == gone
