"""Whether the images of a table are there is judged from names, and one image that is opened."""

from pathlib import Path

import numpy as np
import pytest

from embed.errors import InputError
from pipelines.datasets import image_problems
from pipelines.datasets.dataset import Dataset
from tests.datasets import write_photo, write_table

PIXELS = np.zeros((8, 8, 3), dtype=np.uint8)


def make(folder: Path, ids: list[str], files: list[str]) -> Dataset:
    """Write a dataset of one table and these images."""
    (folder / "images").mkdir()
    for name in files:
        write_photo(folder, name, PIXELS)
    write_table(folder / "train.csv", "id,landmark_id", [f"{image_id},1" for image_id in ids])
    return Dataset(folder)


def refusal(dataset: Dataset) -> str:
    with pytest.raises(InputError) as caught:
        dataset.check()
    return str(caught.value).replace(f"{dataset.folder}/", "")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            ["a.jpg", "b.jpg"],
            "lines 2 and 3: 'a.jpg' has no file, but 'a' has one: ids carry no suffix; write the "
            "ids so",
        ),
        (
            ["a", "b.PNG"],
            "line 3: 'b.PNG' has no file, but 'b' has one: ids carry no suffix; write the ids so",
        ),
        (
            ["a", "b "],
            "line 3: 'b ' has no file, but 'b' has one: ids have no blanks at their ends; write "
            "the ids so",
        ),
        (
            [" a.jpg", " b.jpg"],
            "lines 2 and 3: ' a.jpg' has no file, but 'a' has one: ids carry no suffix; write the "
            "ids so",
        ),
        (
            ["7", "12"],
            "lines 2 and 3: '7' has no file, but '007' has one: leading zeros are lost; write the "
            "ids so",
        ),
    ],
)
def test_ids_with_what_does_not_belong_are_told_by_the_files(
    ids: list[str], message: str, tmp_path: Path
) -> None:
    dataset = make(tmp_path, ids, ["a", "b", "007", "012"])
    assert refusal(dataset) == f"train.csv, column id, {message}"


def test_ids_that_are_the_names_of_their_files_are_right_whatever_they_end_in(
    tmp_path: Path,
) -> None:
    make(tmp_path, ["a.jpg", " b", "7"], ["a.jpg", "a", " b", "b", "7", "007"]).check()


def test_a_table_without_any_file_is_refused(tmp_path: Path) -> None:
    assert refusal(make(tmp_path, ["a", "b"], ["c"])) == (
        "none of the 2 images of train.csv has a file, the first would be images/a.jpg; put the "
        "files there, each called by its id"
    )


def test_some_missing_files_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, ["a", "b", "c", "d", "e"], ["c"]).check()
    assert caplog.messages == [
        f"4 of 5 images of {tmp_path}/train.csv have no file and are left out: 'a', 'b', 'd', ..."
    ]


def test_of_a_large_table_some_are_looked_for_and_all_before_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_problems, "LOOKED_AT", 2)  # the first and the last
    dataset = make(tmp_path, ["a", "b", "c"], ["b", "c"])
    dataset.check()
    assert caplog.messages == [
        f"1 of the 2 looked at of 3 images of {tmp_path}/train.csv have no file and are left out: "
        "'a'"
    ]
    (tmp_path / "images" / "c.jpg").unlink()
    Dataset(tmp_path).check()
    (tmp_path / "images" / "b.jpg").unlink()
    assert refusal(Dataset(tmp_path)).startswith("none of the 3 images of train.csv has a file")


def test_a_table_is_refused_if_none_of_its_images_can_be_read(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["a", "b", "c"], ["a", "b", "c"])
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"nothing")
    dataset.check()
    (tmp_path / "images" / "c.jpg").write_bytes(b"nothing")
    found = refusal(dataset)
    assert found.startswith("none of the 3 images of train.csv could be read, the first: images/a")
    assert "not_an_image" in found


def test_images_in_folders_are_found(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["0afe", "0bfe"], ["0afe", "0bfe"])
    for name in ("0afe", "0bfe"):
        nested = tmp_path / "images" / Path(*name[:3]) / f"{name}.jpg"
        nested.parent.mkdir(parents=True)
        (tmp_path / "images" / f"{name}.jpg").rename(nested)
    dataset.check()


def test_without_a_folder_of_images_tables_are_judged_all_the_same(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", "id,landmark_id", ["a,x"])
    assert refusal(Dataset(tmp_path)).splitlines()[1:] == [
        "- train.csv, line 2: landmark_id 'x' is not an integer of 0 or more; give each landmark a "
        "number, and photos of none a row in non_landmark.csv",
        f"- {tmp_path} has no folder images/ with the image files",
    ]


def test_what_a_model_was_trained_on_need_not_be_there_where_it_is_not_searched(
    tmp_path: Path,
) -> None:
    dataset = make(tmp_path, ["a"], ["b"])
    write_table(tmp_path / "index.csv", "id,landmark_id", ["b,1"])
    dataset.check()
    with pytest.raises(InputError, match=r"none of the 1 images of .*train\.csv has a file"):
        dataset.check(training=True)


def test_all_kinds_of_mistakes_are_told_at_once(tmp_path: Path) -> None:
    said = refusal(make(tmp_path, ["a.jpg", "b ", "c"], ["a", "b", "c"]))
    assert "line 2: 'a.jpg' has no file, but 'a' has one: ids carry no suffix" in said
    assert "line 3: 'b ' has no file, but 'b' has one: ids have no blanks at their ends" in said
