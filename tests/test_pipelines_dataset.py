"""Dataset folders: good tables stay what they are, bad ones are refused with advice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.datasets.dataset import Dataset

HEADER = b"id,landmark_id\n"


def make(folder: Path, train: bytes | str = "id,landmark_id\na,1\nb,2\n", **others: str) -> Dataset:
    """Write a dataset folder without images."""
    folder.mkdir(exist_ok=True)
    (folder / "train.csv").write_bytes(train.encode() if isinstance(train, str) else train)
    for name, text in others.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return Dataset(folder)


def test_a_table_is_read_in_its_order(tmp_path: Path) -> None:
    table = make(tmp_path, "id,landmark_id\nb,7\na,3\n").load_split("train")
    assert table.ids == ("b", "a")
    np.testing.assert_array_equal(table.landmark_ids, [7, 3])
    assert table.path == tmp_path / "train.csv"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; it needs a header id,landmark_id"),
        (HEADER, "has a header and no rows"),
        (b"id,label\na,1\n", "has no column landmark_id, only id, label"),
        (b"name,landmark_id\na,1\n", "has no column id, only name, landmark_id"),
        (b"id|landmark_id\na|1\n", "has no column id, only id|landmark_id"),
        (HEADER + b"a,1\nb,1\na,2\n", "has 1 repeated ids, the first is 'a'"),
        (HEADER + b"x/y,1\n", "'x/y' cannot be a file name"),
        (HEADER + b"x\\y,1\n", "cannot be a file name"),
        (HEADER + b",1\n", "line 2: no id; give it one, or take it out"),
        (HEADER + b".a,1\n", "'.a' cannot be a file name"),
        (HEADER + b"..,1\n", "'..' cannot be a file name"),
        (HEADER + b'"a\nb",1\n', "cannot be a file name"),
        (HEADER + b"a,1\nb,tower\n", "line 3: landmark_id 'tower' is not an integer"),
        (HEADER + b"a,100.0\nb,100.5\n", "line 3: landmark_id '100.5' is not an integer of 0"),
        (HEADER + b"a,x\nb,1\nc,y\nd,z\ne,w\n", "lines 2, 4, 5 and 1 more: landmark_id 'x'"),
        (HEADER + b"a,-1\n", "landmark_id '-1'"),
        (HEADER + b"a,\n", "landmark_id ''"),
        (HEADER + b"a,1 2\n", "landmark_id '1 2'"),
        (HEADER + b"a,99999999999999999999\n", "landmark_id '99999999999999999999'"),
        (HEADER + "a,\u0661\n".encode(), "is not an integer"),
        (HEADER + b"caf\xe9,1\n", "line 2 is not UTF-8 text; save the table as CSV in UTF-8"),
        (HEADER + b"a,1\nb,2,3,4\n", "line 3 has 4 cells, the header 2: b,2,3,4"),
        (HEADER + b"a\x1bb/,1\n", "id 'a b/' cannot be a file name"),
    ],
)
def test_a_bad_table_is_refused_with_its_place(
    content: bytes, message: str, tmp_path: Path
) -> None:
    dataset = make(tmp_path, content)
    with pytest.raises(ValueError) as caught:
        dataset.load_split("train")
    assert message in str(caught.value)
    assert str(tmp_path / "train.csv") in str(caught.value)


@pytest.mark.parametrize(
    "image_id", ["007", "NA", "null", "1e5", "True", "with space", " led", "Köln-写真", "a.b", "-"]
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ids_stay_text(image_id: str, suffix: str, tmp_path: Path) -> None:
    dataset = make(tmp_path, f"id,landmark_id\n{image_id},007\nother,1\n")
    if suffix == "parquet":
        (tmp_path / "train.csv").unlink()
        frame = pd.DataFrame({"id": [image_id, "other"], "landmark_id": [7, 1]})
        frame.to_parquet(tmp_path / "train.parquet")
    table = dataset.load_split("train")
    assert table.ids == (image_id, "other")
    np.testing.assert_array_equal(table.landmark_ids, [7, 1])


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    table = make(tmp_path, b"\xef\xbb\xbfid,landmark_id\r\na,1\r\nb,2\r\n").load_split("train")
    assert table.ids == ("a", "b")


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    table = make(tmp_path, 'url,landmark_id,id\n"http://x,y",5,a\n').load_split("train")
    assert (table.ids, table.landmark_ids.tolist()) == (("a",), [5])


def test_a_table_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    (tmp_path / "test.parquet").write_text("id\na\n")
    with pytest.raises(ValueError, match=r"test\.parquet is not a Parquet file"):
        dataset.load_split("test")


def test_missing_values_of_parquet_are_refused(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    pd.DataFrame({"id": ["a", None]}).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(ValueError, match="row 2: no id"):
        dataset.load_split("test")


def test_a_label_that_labels_does_not_name_is_refused(tmp_path: Path) -> None:
    dataset = make(tmp_path, labels="landmark_id,name\n1,Tower\n")
    with pytest.raises(ValueError, match=r"1 landmarks that labels.csv does not name \(2\)"):
        dataset.load_split("train")


def test_names_may_repeat_and_landmarks_may_not(tmp_path: Path) -> None:
    dataset = make(tmp_path, labels="landmark_id,name\n1,Tower\n2,Tower\n3,Spare\n")
    assert dataset.names == {1: "Tower", 2: "Tower", 3: "Spare"}
    again = make(tmp_path, labels="landmark_id,name\n1,Tower\n2,Gate\n01,Bridge\n")
    with pytest.raises(ValueError, match="line 4: landmark 1 is named twice"):
        again.load_split("train")


def test_a_missing_folder_or_train_table_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no dataset folder at .*cairn data"):
        Dataset(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"has no train\.csv .*cairn data folders"):
        Dataset(tmp_path)


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no test\.csv; this stage needs it"):
        make(tmp_path).load_split("test")


def test_the_index_table_wins_as_database(tmp_path: Path) -> None:
    assert make(tmp_path).database_split == "train"
    assert make(tmp_path, index="id,landmark_id\nc,9\n").database_split == "index"


def test_splits_without_labels_have_minus_one(tmp_path: Path) -> None:
    table = make(tmp_path, test="id\na\nb\n").load_split("test")
    np.testing.assert_array_equal(table.landmark_ids, [-1, -1])


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".Jpeg", ".png", ".PNG", ".webp"])
def test_images_are_found_by_id(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / f"my tower.1{suffix}"
    path.touch()
    assert make(tmp_path).locate("my tower.1") == path


def test_images_are_found_in_nested_folders(tmp_path: Path) -> None:
    path = tmp_path / "images" / "0" / "a" / "f" / "0afe.jpg"
    path.parent.mkdir(parents=True)
    path.touch()
    assert make(tmp_path).locate("0afe") == path


def test_jpeg_wins_over_other_suffixes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for suffix in (".webp", ".png", ".jpg"):
        (tmp_path / "images" / f"a{suffix}").touch()
    assert make(tmp_path).locate("a") == tmp_path / "images" / "a.jpg"


@pytest.mark.parametrize("image_id", ["absent", "a", "ab"])
def test_a_missing_image_is_expected_in_images(image_id: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    expected = tmp_path / "images" / f"{image_id}.jpg"
    assert make(tmp_path).locate(image_id) == expected


def test_a_missing_images_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no folder images/"):
        make(tmp_path).locate("a")
