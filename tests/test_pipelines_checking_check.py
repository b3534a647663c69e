"""The check of a dataset as a whole: what is planted is found, and nothing else."""

import csv
import errno
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from embed.errors import InputError
from pipelines.commands.check import check
from pipelines.datasets.checking.check import check_dataset
from pipelines.datasets.checking.scan_parts import load_scan
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.selection.tables import load_groups
from pipelines.reports import problems_page
from tests.datasets import write_table
from tests.images import encode, photo
from tests.spoiled_dataset import PROBLEMS, make_spoiled_dataset, write_tables

WRITTEN = ("problems.csv", "problems.html", "groups.parquet")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_spoiled_dataset(tmp_path_factory.mktemp("checked") / "data")
    call(folder)
    return folder


@pytest.fixture
def copied(checked: Path, tmp_path: Path) -> Path:
    """Return a copy of the checked dataset that may be changed."""
    return Path(shutil.copytree(checked, tmp_path / "data"))


def problems_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "problems.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def listed(folder: Path) -> list[tuple[str, str, str, str]]:
    return [(p["kind"], p["id"], p["table"], p["other_id"]) for p in problems_of(folder)]


def written(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in WRITTEN]


def test_what_is_planted_is_found_and_nothing_else(checked: Path) -> None:
    assert listed(checked) == PROBLEMS


def test_each_problem_says_what_was_found(checked: Path) -> None:
    details = {(p["kind"], p["id"]): p["detail"] for p in problems_of(checked)}
    assert details["missing", "gone"] == "images/gone.jpg"
    assert details["corrupt", "cut"].startswith("truncated: ")
    assert details["corrupt", "page"].startswith("not_an_image: unknown file type")
    assert details["tiny", "tiny"] == "15 x 10 pixels"
    assert details["blank", "black"] == "contrast 0.0 of 127"
    assert details["exact_duplicate", "copy0"] == "the same bytes"
    assert details["near_duplicate", "half1"] == ("similarity 1.000, hashes differ in 0 of 64 bits")
    shares = "its group: landmark 2 (2), landmark 3 (1)"
    assert details["mixed_labels", "wrong2"] == f"landmark 3; {shares}"
    others = {(p["kind"], p["id"]): p["other_table"] for p in problems_of(checked)}
    assert others["mixed_labels", "wrong2"] == "train+index"
    assert others["missing", "gone"] == ""


def test_groups_hold_all_duplicates_and_no_one_else(checked: Path) -> None:
    groups = load_groups(checked)
    assert groups is not None
    assert groups.schema == pa.schema({"id": pa.string(), "group": pa.int64()})
    assert list(zip(*groups.to_pydict().values(), strict=True)) == [
        ("a0", 0),
        ("copy0", 0),
        ("a1", 1),
        ("half1", 1),
        ("a2", 2),
        ("right2", 2),
        ("wrong2", 2),
        ("leak", 3),
        ("t0", 3),
    ]


def test_the_order_of_rows_changes_nothing(checked: Path, tmp_path: Path) -> None:
    folder = make_spoiled_dataset(tmp_path / "data")
    write_tables(folder, backwards=True)
    check_dataset(Dataset(folder))
    for name in ("problems.csv", "groups.parquet"):
        assert (folder / name).read_bytes() == (checked / name).read_bytes()


def test_a_second_check_gives_the_same_bytes(copied: Path) -> None:
    before = written(copied)
    call(copied)
    assert listed(copied) == PROBLEMS
    # The page names the folder, which is another one.
    assert [written(copied)[place] for place in (0, 2)] == [before[place] for place in (0, 2)]


def test_tables_may_be_parquet(checked: Path, copied: Path) -> None:
    for name in ("train", "index", "test", "non_landmark"):
        path = copied / f"{name}.csv"
        pd.read_csv(path).to_parquet(path.with_suffix(".parquet"))
        path.unlink()
    check_dataset(Dataset(copied))
    assert (copied / "problems.csv").read_bytes() == (checked / "problems.csv").read_bytes()


def test_an_image_that_was_mended_is_no_problem_any_more(copied: Path) -> None:
    for name, seed in (("gone", 70), ("cut", 71)):
        (copied / "images" / f"{name}.jpg").write_bytes(encode(photo(90, 90, seed), "JPEG"))
    check_dataset(Dataset(copied))
    mended = {"gone", "cut"}
    assert listed(copied) == [problem for problem in PROBLEMS if problem[1] not in mended]


def test_min_side_says_what_is_tiny(copied: Path) -> None:
    check_dataset(Dataset(copied), min_side=10)
    assert ("tiny", "tiny", "train", "") not in listed(copied)
    check_dataset(Dataset(copied), min_side=61)  # half1 is 80 x 60
    assert [p["id"] for p in problems_of(copied) if p["kind"] == "tiny"] == ["half1", "tiny"]


def test_the_same_photo_in_train_and_in_the_pool_is_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for image_id in ("a", "b"):
        (folder / "images" / f"{image_id}.jpg").write_bytes(encode(photo(64, 64, 1), "JPEG"))
    write_table(folder / "train.csv", "id,landmark_id", ["a,4"])
    write_table(folder / "non_landmark.csv", "id", ["b"])
    check_dataset(Dataset(folder))
    assert listed(folder) == [
        ("exact_duplicate", "b", "non_landmark", "a"),
        ("mixed_labels", "a", "train", "b"),
        ("mixed_labels", "b", "non_landmark", "a"),
    ]


def test_two_tables_that_disagree_on_an_image_are_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.jpg").write_bytes(encode(photo(64, 64, 1), "JPEG"))
    write_table(folder / "train.csv", "id,landmark_id", ["a,4"])
    write_table(folder / "index.csv", "id,landmark_id", ["a,5"])
    check_dataset(Dataset(folder))
    assert set(listed(folder)) == {("mixed_labels", "a", "train+index", "a")}


def make_shared(folder: Path) -> Path:
    """Write a dataset of five tables; an image's id names those that list it."""
    listed = {
        "train": ["train", "train-test", "train-validation", "train-pool"],
        "index": ["train", "index-pool"],
        "validation": ["train-validation"],
        "test": ["train-test"],
        "non_landmark": ["train-pool", "index-pool"],
    }
    (folder / "images").mkdir(parents=True)
    for seed, image_id in enumerate(sorted({i for ids in listed.values() for i in ids})):
        (folder / "images" / f"{image_id}.jpg").write_bytes(encode(photo(64, 64, seed), "JPEG"))
    for name, ids in listed.items():
        labelled = name in ("train", "index", "validation")
        header = "id,landmark_id" if labelled else "id"
        write_table(folder / f"{name}.csv", header, [f"{i},4" if labelled else i for i in ids])
    return folder


def test_an_id_of_two_tables_that_may_not_share_it_is_across_the_split(tmp_path: Path) -> None:
    folder = make_shared(tmp_path / "data")
    check_dataset(Dataset(folder))
    found = [(p["id"], p["detail"]) for p in problems_of(folder) if p["kind"] == "across_split"]
    assert found == [
        ("index-pool", "the same id in non_landmark and index"),
        ("train-pool", "the same id in non_landmark and train"),
        ("train-test", "the same id in test and train"),
        ("train-validation", "the same id in validation and train"),
    ]
    counts = {line.split()[0]: line.split()[1:4] for line in call(folder).splitlines()}
    assert counts["across_split"] == ["4", "4", "100.0%"]


def test_of_an_id_across_the_split_one_row_stays(tmp_path: Path) -> None:
    folder = make_shared(tmp_path / "data")
    call(folder, "--remove", "across_split", "--into", tmp_path / "new")
    left = {
        path.stem: pd.read_csv(path)["id"].tolist()
        for path in (tmp_path / "new").glob("*.csv")
        if path.stem != "rejected"
    }
    assert left == {
        "train": ["train", "train-pool"],
        "index": ["train", "index-pool"],
        "validation": ["train-validation"],
        "test": ["train-test"],
    }
    reasons = pd.read_csv(tmp_path / "new" / "rejected.csv")[["id", "reason"]].to_numpy().tolist()
    assert ["train-test", "across_split: in test, too"] in reasons
    Dataset(tmp_path / "new").check()


def test_tables_that_cannot_be_read_are_listed_before_an_image_is(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", "id,landmark_id", ["a,x"])
    write_table(tmp_path / "test.csv", "id", ["b", "b"])
    with pytest.raises(InputError) as caught:
        check_dataset(Dataset(tmp_path))
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: 2 things have to be mended",
        f"- {tmp_path}/train.csv, line 2: landmark_id 'x' is not an integer of 0 or more; give "
        "each landmark a number, and photos of none a row in non_landmark.csv",
        f"- {tmp_path}/test.csv has 1 repeated ids, the first is 'b' (lines 2 and 3); keep one row "
        "for each image",
    ]


def test_what_is_written_may_go_elsewhere(checked: Path, copied: Path, tmp_path: Path) -> None:
    for name in (*WRITTEN, "scan"):
        path = copied / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = sorted(copied.iterdir())
    out = call(copied, "--out", tmp_path / "out")
    assert f"wrote {tmp_path / 'out' / 'problems.csv'} and problems.html" in out
    assert sorted(copied.iterdir()) == before
    for name in ("problems.csv", "groups.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (checked / name).read_bytes()
    call(copied, "--out", tmp_path / "out", "--remove", "tiny", "--into", tmp_path / "new")
    assert load_groups(tmp_path / "new") == load_groups(checked)


def test_a_dataset_that_cannot_be_written_asks_for_another_folder(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(InputError) as caught:
        call(copied)
    assert str(caught.value) == (
        f"cannot write to {copied} (Read-only file system); name a folder that can be written to: "
        "--out FOLDER"
    )


def test_a_sound_dataset_has_no_problems_and_no_groups(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.jpg").write_bytes(encode(photo(64, 64, 1), "JPEG"))
    write_table(folder / "train.csv", "id,landmark_id", ["a,4"])
    assert call(folder).startswith("nothing is wrong with any of the 1 images\n")
    groups = load_groups(folder)
    assert listed(folder) == [] and groups is not None and groups.num_rows == 0
    assert "Nothing is wrong with any of the images" in page_of(folder)


def test_without_a_check_there_are_no_groups_and_no_scan(tmp_path: Path) -> None:
    assert load_groups(tmp_path) is None
    assert load_scan(tmp_path) is None


def test_the_page_shows_each_kind_and_escapes_ids(copied: Path) -> None:
    (copied / "images" / "<b>.jpg").write_bytes((copied / "images" / "a5.jpg").read_bytes())
    with (copied / "train.csv").open("a") as file:
        file.write("<b>,5\n")
    call(copied)
    page = page_of(copied)
    for kind in {problem[0] for problem in PROBLEMS}:
        assert f"<h2>{kind}</h2>" in page
    assert "&lt;b&gt; (train)" in page and "<b> (train)" not in page
    assert page.count("<figure>") == len(PROBLEMS) + 1


def test_the_page_shows_some_of_many(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems_page, "SHOWN", 2)
    call(copied)
    assert "2 of 4 are shown; problems.csv has all" in page_of(copied)


def page_of(folder: Path) -> str:
    return (folder / "problems.html").read_text(encoding="utf-8")


def call(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(check)
    end = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if end.exception is not None:
        raise end.exception
    return end.stdout


def test_the_command_prints_how_many_images_have_which_problem(copied: Path) -> None:
    lines = [line.split() for line in call(copied).splitlines()]
    assert lines[0][:4] == ["problem", "images", "of", "share"]
    counts = {line[0]: line[1:4] for line in lines[1:9]}
    assert counts["missing"] == ["1", "20", "5.0%"]
    assert counts["near_duplicate"] == ["4", "20", "20.0%"]
    assert counts["across_split"] == ["1", "3", "33.3%"]  # of the images that are asked about
    assert counts["mixed_labels"] == ["3", "17", "17.6%"]


def test_remove_and_into_go_together(copied: Path, tmp_path: Path) -> None:
    for options in (["--remove", "tiny"], ["--into", tmp_path / "new"]):
        with pytest.raises(ValueError, match="--remove KIND and --into FOLDER go together"):
            call(copied, *options)
    with pytest.raises(ValueError, match="no kind of problem is called 'ugly'; missing, corrupt"):
        call(copied, "--remove", "tiny,ugly", "--into", tmp_path / "new")


def test_the_command_says_what_is_left(copied: Path, tmp_path: Path) -> None:
    out = call(copied, "--remove", "tiny, missing", "--into", tmp_path / "new")
    left = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert left["train"] == ["12", "14", "6", "6"]
    assert left["non_landmark"] == ["3", "3"]
    assert pq.read_table(tmp_path / "new" / "groups.parquet").num_rows == 9
