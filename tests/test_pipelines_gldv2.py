"""A mirror of GLDv2, whole or in part, becomes a dataset that reads its images in place."""

import csv
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from classify_head.submission import load_solution
from embed.decode import decode_image
from embed.errors import InputError
from pipelines.commands.gldv2 import gldv2
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.tars.index import TarIndex
from pipelines.sources.gldv2.catalog import BASE, SPLITS, TARS, list_files, parse_tars, tar_file
from pipelines.sources.gldv2.names import category_name, match_landmarks, name_landmarks
from pipelines.sources.gldv2.tables import import_gldv2
from tests.gldv2_mirror import (
    CLEAN,
    COMMONS,
    INDEX,
    NUMBERS,
    TEST,
    TRAIN,
    UNLABELLED,
    mirror_files,
    picture,
    serving,
    unpack,
    write_mirror,
)


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def labelled(landmarks: Mapping[int, list[str]]) -> list[list[str]]:
    return [[image_id, str(label)] for label, ids in landmarks.items() for image_id in ids]


def missing(folder: Path) -> set[tuple[str, ...]]:
    table = pq.read_table(folder / "missing.parquet")
    return {tuple(row.values()) for row in table.to_pylist()}


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(gldv2)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_clean_subset_becomes_a_dataset_that_checks(tmp_path: Path) -> None:
    mirror, data = write_mirror(tmp_path / "mirror"), tmp_path / "data"
    before = {path: path.stat().st_mtime_ns for path in mirror.rglob("*")}
    counts = import_gldv2(mirror, data)
    assert counts == {"train": 4, "test": 4, "missing": 0}
    dataset = Dataset(data)
    dataset.check()
    assert dataset.database_split == "train"
    assert sorted(rows(data / "train.csv")) == sorted(labelled(CLEAN))
    assert dataset.names == {1: "Café de Flore", 2: "Tower"}
    hierarchy = pq.read_table(data / "hierarchy.parquet").to_pylist()
    assert [row["supercategory"] for row in hierarchy] == ["cafe", "tower"]
    assert {path: path.stat().st_mtime_ns for path in mirror.rglob("*")} == before  # only read


def test_every_image_is_read_out_of_its_tar(tmp_path: Path) -> None:
    import_gldv2(write_mirror(tmp_path / "mirror"), tmp_path / "data", subset="full")
    index = TarIndex.load(tmp_path / "data/images/tars.parquet")
    for image_id, _ in rows(tmp_path / "data/train.csv") + [[i, ""] for i in TEST]:
        place = index.locate(image_id)
        assert place is not None
        expected = decode_image(picture(image_id)).pixels
        np.testing.assert_array_equal(decode_image(place).pixels, expected)


def test_all_landmarks_of_the_full_set_have_a_name(tmp_path: Path) -> None:
    import_gldv2(write_mirror(tmp_path / "mirror"), tmp_path / "data", subset="full")
    dataset = Dataset(tmp_path / "data")
    dataset.check()
    assert sorted(rows(tmp_path / "data/train.csv")) == sorted(labelled(TRAIN))
    assert dataset.names[3] == "Landmark 3"


def test_the_solution_is_one_for_the_queries_that_are_there(tmp_path: Path) -> None:
    import_gldv2(write_mirror(tmp_path / "mirror"), tmp_path / "data")
    solution = load_solution(tmp_path / "data/solution.csv")
    assert solution.query_ids == tuple(TEST)
    # The third shows no landmark; the fourth is not in GLDv2's solution, and not scored.
    assert solution.truths == (frozenset({1}), frozenset({2, 3}), frozenset(), frozenset())
    assert solution.usages == ("Public", "Private", "Private", "Ignored")


def test_of_a_part_the_rest_is_told_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror, data = write_mirror(tmp_path / "mirror"), tmp_path / "data"
    (mirror / "train/images_001.tar").unlink()
    (mirror / "test/images_000.tar").write_bytes(b"cut off")
    with caplog.at_level(logging.INFO):
        counts = import_gldv2(mirror, data)
    every = [image_id for ids in CLEAN.values() for image_id in ids]
    there = [image_id for ids in TRAIN.values() for image_id in ids][::2]
    kept = [image_id for image_id in every if image_id in there]
    assert counts == {"train": len(kept), "test": 0, "missing": 8 - len(kept)}
    gone = [(i, "train", "no file in the mirror") for i in every if i not in there]
    assert missing(data) == {*gone, *((i, "test", "no file in the mirror") for i in TEST)}
    assert f"train: {len(kept)} of 4 images are there" in caplog.text
    assert "left out all images of test/images_000.tar" in caplog.text
    Dataset(data).check()
    assert not (data / "test.csv").exists() and not (data / "solution.csv").exists()


def test_a_part_that_has_grown_is_taken_in_by_the_same_import(tmp_path: Path) -> None:
    mirror, data = write_mirror(tmp_path / "mirror"), tmp_path / "data"
    second = mirror / "train/images_001.tar"
    content = second.read_bytes()
    second.unlink()
    import_gldv2(mirror, data)
    second.write_bytes(content)
    assert import_gldv2(mirror, data)["missing"] == 0
    import_gldv2(mirror, tmp_path / "at-once")
    for name in ("train.csv", "test.csv", "labels.csv", "missing.parquet"):
        assert (data / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes()


def test_what_is_used_for_training_and_asking_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        import_gldv2(write_mirror(tmp_path / "mirror"), tmp_path / "data")
    assert "train: 2 landmarks, 2 of them with the two images" in caplog.text
    assert "test: 3 queries, 2 of them with a landmark, 2 with one that is" in caplog.text


@pytest.mark.parametrize("splits", [("train",), ("test",), ("train", "test")])
def test_unpacked_images_are_linked_to_where_a_dataset_looks(
    tmp_path: Path, splits: tuple[str, ...]
) -> None:
    mirror, data = write_mirror(tmp_path / "mirror"), tmp_path / "data"
    for split in splits:
        unpack(mirror, split)
    for _ in range(2):  # and again: what is linked stays
        assert import_gldv2(mirror, data)["missing"] == 0
    train_id, test_id = CLEAN[1][0], TEST[0]
    for split, image_id in (("train", train_id), ("test", test_id)):
        nested = data / "images" / Path(*image_id[:3]) / f"{image_id}.jpg"
        assert nested.exists() == (split in splits)
        if split in splits:
            original = mirror / split / Path(*image_id[:3]) / nested.name
            assert nested.samefile(original)
    Dataset(data).check()


def test_images_unpacked_into_the_mirror_itself_are_found(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    for split in ("train", "test"):
        unpack(mirror, split)
        for path in (mirror / split).rglob("*.jpg"):
            target = mirror / path.relative_to(mirror / split)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    assert import_gldv2(mirror, tmp_path / "data")["missing"] == 0


def test_retrieval_searches_the_index_in_the_numbers_of_the_training_set(tmp_path: Path) -> None:
    data = tmp_path / "data"
    counts = import_gldv2(write_mirror(tmp_path / "mirror"), data, task="retrieval")
    assert counts == {"train": 4, "index": 3, "test": 4, "missing": 1}
    dataset = Dataset(data)
    dataset.check()
    assert dataset.database_split == "index"
    # The index calls the tower 1; the training set calls it 2. Its falls are in the index only.
    assert sorted(rows(data / "index.csv")) == sorted(labelled({2: INDEX[1], 3: INDEX[7]}))
    assert dataset.names == {1: "Café de Flore", 2: "Tower", 3: "Falls, Great"}
    assert (UNLABELLED, "index", "the index gives it no landmark") in missing(data)
    solution = load_solution(data / "solution.csv")
    assert solution.truths[:2] == (frozenset({2, 3}), frozenset({3}))
    assert solution.usages == ("Public", "Private", "Ignored", "Ignored")
    hierarchy = pq.read_table(data / "hierarchy.parquet").to_pylist()
    words = {row["landmark_id"]: row["supercategory"] for row in hierarchy}
    assert words == {1: "cafe", 2: "tower", 3: "waterfall"}
    numbers = pq.read_table(data / "index_landmarks.parquet").to_pylist()
    assert numbers == [
        {"index_landmark_id": 1, "landmark_id": 2},
        {"index_landmark_id": 7, "landmark_id": 3},
    ]


def test_tables_may_lie_beside_the_images(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    for path in [*mirror.glob("metadata/train*"), *mirror.glob("ground_truth/*")]:
        path.rename(mirror / "train" / path.name)
    for path in mirror.glob("metadata/*"):
        path.rename(mirror / path.name)
    assert import_gldv2(mirror, tmp_path / "data", task="retrieval")["train"] == 4


def test_older_mirrors_without_categories_will_do(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    for path in [*mirror.glob("metadata/*_label_to_*"), mirror / "metadata/index.csv"]:
        path.unlink()
    for task in ("recognition", "retrieval"):
        import_gldv2(mirror, tmp_path / task, task=task)
        dataset = Dataset(tmp_path / task)
        dataset.check()
        assert dataset.names[1] == "Landmark 1"
    # Without names nothing is known to be the same: all of the index follows the training set.
    assert sorted(rows(tmp_path / "retrieval/index.csv"))[0] == [INDEX[1][0], "3"]


def test_what_cannot_be_imported_is_told_with_what_to_do(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    with pytest.raises(ValueError, match="name another folder"):
        import_gldv2(mirror, mirror)
    import_gldv2(mirror, tmp_path / "data")
    with pytest.raises(InputError, match="'subset': 'clean'"):
        import_gldv2(mirror, tmp_path / "data", subset="full")
    with pytest.raises(FileNotFoundError, match=r"no metadata/train_clean\.csv; fetch it"):
        import_gldv2(tmp_path / "none", tmp_path / "other")
    for tar in mirror.glob("train/*.tar"):
        tar.unlink()
    with pytest.raises(FileNotFoundError, match="none of the 4 images of train is in"):
        import_gldv2(mirror, tmp_path / "data")
    assert len(Dataset(tmp_path / "data").load_split("train").ids)  # it stays what it was


@pytest.mark.parametrize(
    "text", ["id,landmark\nx,1\n", "landmark_id,images\none,a b\n", "", "landmark_id,images\n1\n"]
)
def test_a_damaged_table_is_named(tmp_path: Path, text: str) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    (mirror / "metadata/train_clean.csv").write_text(text)
    with pytest.raises(ValueError, match=r"train_clean\.csv is not GLDv2's table of landmark_id"):
        import_gldv2(mirror, tmp_path / "data")


def test_one_command_fetches_a_part_and_makes_the_dataset(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(mirror_files()) as server:
        command = ("--data", data, "--fetch", "--tars", "0", "--base", server.base)
        status, out = run(*command)
        assert status == 0
        assert out.endswith(f"{data}: 2 train, 4 test, 2 missing\n")
        assert (data / "images/train/images_000.tar").is_file()
        assert not (data / "images/train/images_001.tar").exists()
        assert not server.sent["metadata/train.csv"]  # the clean subset does without
        asked = len(server.asked)
        assert run(*command)[0] == 0
        assert len(server.asked) == asked
        assert run(*command, "--tars", "train:0-1")[1].endswith("4 train, 4 test, 0 missing\n")
        assert server.count("GET", "train/images_000.tar") == 1
    Dataset(data).check()


def test_without_fetch_what_is_not_there_is_told_with_its_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror, data = write_mirror(tmp_path / "mirror"), tmp_path / "data"
    (mirror / "metadata/train_label_to_hierarchical.csv").unlink()
    status, out = run("--data", data, "--from", mirror)
    assert (status, out) == (0, f"{data}: 4 train, 4 test, 0 missing\n")
    assert (
        "train_label_to_hierarchical.csv, 498 of 500 train tars (498 GB), 19 of 20 test tars "
        "(9.5 GB); --fetch fetches them"
    ) in caplog.text


def test_tars_of_an_unpacked_split_are_not_fetched(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    unpack(mirror, "train")
    with serving(mirror_files()) as server:
        options = ("--fetch", "--tars", 0, "--base", server.base, "--subset", "full")
        status, out = run("--data", tmp_path / "data", "--from", mirror, *options)
        assert not server.count("GET", "train/images_000.tar")
    assert (status, out) == (0, f"{tmp_path / 'data'}: 6 train, 4 test, 0 missing\n")


def test_a_folder_of_another_dataset_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,landmark_id\n")
    with serving({}) as server:
        with pytest.raises(InputError, match="your own tables"):
            run("--data", tmp_path, "--fetch", "--base", server.base)
        assert not server.asked


def test_the_catalog_names_the_published_files() -> None:
    # README.md of cvdfoundation/google-landmark
    assert f"{BASE}/{tar_file('train', 0).path}" == (
        "https://s3.amazonaws.com/google-landmark/train/images_000.tar"
    )
    assert f"{BASE}/{tar_file('index', 0).md5_path}" == (
        "https://s3.amazonaws.com/google-landmark/md5sum/index/md5.images_000.txt"
    )
    assert {split: TARS[split].count for split in SPLITS} == {
        "train": 500,
        "index": 100,
        "test": 20,
    }
    paths = {file.path for file in list_files("retrieval", "full", parse_tars([]))}
    assert len([path for path in paths if path.endswith(".tar")]) == 620
    served = {path for path in mirror_files() if path.endswith(".csv")}
    used = {
        file.path
        for task, subset in (("recognition", "clean"), ("retrieval", "full"))
        for file in list_files(task, subset, NUMBERS)  # type: ignore[arg-type]
    }
    assert {path for path in used if path.endswith(".csv")} == served


@pytest.mark.parametrize(
    ("texts", "train", "index", "test"),
    [
        ([], 500, 100, 20),
        (["0-9"], 10, 10, 10),
        (["0,3,7-9", "20"], 6, 6, 5),
        (["train:0-1"], 2, 100, 20),
        (["0", "test:0-19", "train:5", "train:6-7"], 3, 1, 20),
        (["450"], 1, 0, 0),
    ],
)
def test_tars_are_chosen_by_numbers(texts: list[str], train: int, index: int, test: int) -> None:
    chosen = parse_tars(texts)
    assert [len(chosen[split]) for split in SPLITS] == [train, index, test]


@pytest.mark.parametrize(
    "text",
    ["", "a", "-3", "5-2", "1-", "train", "train:", "query:1", "500", "test:20", "0-9999999"],
)
def test_wrong_numbers_of_tars_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="--tars"):
        parse_tars([text])


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (f"{COMMONS}Caf%C3%A9_de_Flore", "Café de Flore"),
        ("//commons.wikimedia.org/wiki/Category%3ANotre-Dame_(Paris)", "Notre-Dame (Paris)"),
        (f"{COMMONS}%D0%9A%D1%80%D0%B5%D0%BC%D0%BB%D1%8C", "Кремль"),
        (f"{COMMONS}100%25_house", "100% house"),
        (f"{COMMONS}bad%FFbyte__and%0Abreak", "bad\ufffdbyte and break"),
        ("Just a name", "Just a name"),
        ("", ""),
    ],
)
def test_names_come_out_of_addresses(address: str, name: str) -> None:
    assert category_name(address) == name


def categories(**addresses: str) -> pa.Table:
    numbers = [int(key[1:]) for key in addresses]
    return pa.table({"landmark_id": numbers, "category": list(addresses.values())})


def test_every_landmark_gets_one_name() -> None:
    tables = [categories(_5="Five", _2=""), categories(_5="Other", _2="Two", _9="")]
    names = name_landmarks(tables, [np.array([5, 7])]).to_pydict()
    assert names == {
        "landmark_id": [2, 5, 7, 9],
        "name": ["Two", "Five", "Landmark 7", "Landmark 9"],
    }
    assert name_landmarks([], []).num_rows == 0


def test_landmarks_of_the_index_are_matched_by_name_and_the_rest_is_new() -> None:
    train = [categories(_4="Twice", _3="Twice", _8="Once")]
    index = [categories(_0="Once", _1="Twice", _2="New"), categories(_5="")]
    numbers = match_landmarks(train, index, np.array([0, 6]), first=100)
    assert numbers.to_dict() == {0: 8, 1: 3, 2: 100, 6: 101}
    assert match_landmarks([], [], np.array([2, 1]), first=0).to_dict() == {1: 0, 2: 1}
