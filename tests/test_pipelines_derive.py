"""A dataset made of another one: its own tables, the same images, and the source is left alone."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.errors import InputError
from pipelines.datasets import derive
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import read_rows, separate_rows, write_derived, write_rows
from pipelines.datasets.linking import link_image
from pipelines.datasets.renewal import renewing
from tests.datasets import find_file, write_table

ORIGIN = {"made from": "source"}


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    """Return a dataset of a few files that are no images, one of them in GLDv2's folders."""
    folder = tmp_path / "source"
    for name in ("a.JPG", "b.png", "0/1/2/012.jpg", "q.jpg", "stray.jpg"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_text(name)
    rows = ['a,1,"http://x/?a,b"', "b,1,", "012,2,http://y", "absent,2,"]
    write_table(folder / "train.csv", "id,landmark_id,url", rows)
    write_table(folder / "test.csv", "id", ["q"])
    return Dataset(folder)


def reject(source: Dataset, folder: Path, reasons: dict[str, str]) -> None:
    path = source.find_table("train")
    assert path is not None
    kept, rejected = separate_rows(read_rows(path), reasons)
    write_derived(source, folder, {"train": kept, "rejected": rejected}, ORIGIN)


def test_rows_are_in_one_of_two_tables_with_all_they_say(source: Dataset, tmp_path: Path) -> None:
    reject(source, tmp_path / "new", {"b": 'a reason, with "quotes"', "no row": "has it"})
    assert (tmp_path / "new" / "train.csv").read_text() == (
        'id,landmark_id,url\na,1,"http://x/?a,b"\n012,2,http://y\nabsent,2,\n'
    )
    assert (tmp_path / "new" / "rejected.csv").read_text() == (
        'id,landmark_id,reason\nb,1,"a reason, with ""quotes"""\n'
    )


def test_images_are_those_of_the_source_wherever_both_are_moved(
    source: Dataset, tmp_path: Path
) -> None:
    reject(source, tmp_path / "there" / "new", {"b": "wrong"})
    dataset = Dataset(tmp_path / "there" / "new")
    for image_id in ("a", "012", "q"):
        assert find_file(dataset, image_id).samefile(find_file(source, image_id))
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")  # the link is relative
    shutil.move(tmp_path / "source", tmp_path / "elsewhere" / "source")
    gone = Dataset(tmp_path / "elsewhere" / "new")
    with pytest.raises(FileNotFoundError, match="which is gone: the images of the dataset that"):
        gone.locate("a")


def test_a_table_that_is_edited_leaves_that_of_the_source(source: Dataset, tmp_path: Path) -> None:
    reject(source, tmp_path / "new", {})
    with (tmp_path / "new" / "test.csv").open("a") as file:
        file.write("a\n")
    assert source.load_split("test").ids == ("q",)


def test_ids_and_labels_of_parquet_are_read_as_those_of_csv(
    source: Dataset, tmp_path: Path
) -> None:
    table = pd.DataFrame({"id": [12, 13], "landmark_id": [1, 2], "url": ["u", None]})
    (source.folder / "train.csv").unlink()
    table.to_parquet(source.folder / "train.parquet")
    reject(Dataset(source.folder), tmp_path / "new", {"13": "wrong"})
    assert (tmp_path / "new" / "train.csv").read_text() == "id,landmark_id,url\n12,1,u\n"
    assert (tmp_path / "new" / "rejected.csv").read_text().splitlines()[1] == "13,2,wrong"


def test_what_the_source_has_no_more_goes_when_it_is_written_again(
    source: Dataset, tmp_path: Path
) -> None:
    reject(source, tmp_path / "new", {"a": "wrong"})
    (source.folder / "test.csv").unlink()
    (source.folder / "images" / "b.png").rename(source.folder / "images" / "b.webp")
    reject(Dataset(source.folder), tmp_path / "new", {})
    new = Dataset(tmp_path / "new")
    assert new.find_table("test") is None
    assert new.load_split("train").ids == ("a", "b", "012", "absent")
    assert len(pd.read_csv(tmp_path / "new" / "rejected.csv")) == 0
    assert find_file(new, "b").name == "b.webp"


def test_a_table_can_be_taken_away(source: Dataset, tmp_path: Path) -> None:
    write_derived(source, tmp_path / "new", {"test": None}, ORIGIN)
    assert Dataset(tmp_path / "new").find_table("test") is None
    assert Dataset(tmp_path / "new").load_split("train").ids == source.load_split("train").ids


def test_it_stays_what_it_was_until_all_of_it_is_written(
    source: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reject(source, tmp_path / "new", {})
    before = {path: path.read_bytes() for path in (tmp_path / "new").glob("*.*")}
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(shutil, "copyfile", _interrupt)
        reject(source, tmp_path / "new", {"a": "wrong"})
    assert {path: path.read_bytes() for path in (tmp_path / "new").glob("*.*")} == before
    assert Dataset(tmp_path / "new").load_split("train").ids == source.load_split("train").ids


def _interrupt(*_: object) -> None:
    raise RuntimeError


def test_nothing_is_written_over_other_data(source: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="which stays as it is"):
        reject(source, tmp_path / "x" / ".." / "source", {})
    with pytest.raises(ValueError, match="which stays as it is"):
        reject(source, source.folder / "images" / "new", {})
    (tmp_path / "new" / "images").mkdir(parents=True)
    with pytest.raises(InputError, match="holds images of its own; name another folder"):
        reject(source, tmp_path / "new", {})


def test_a_large_table_is_written_as_parquet_in_place_of_the_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"id": ["007", "NA", ""], "landmark_id": [0, 1, 2]})
    write_rows(table, tmp_path / "train")
    assert read_rows(tmp_path / "train.csv").equals(table)
    monkeypatch.setattr(derive, "MAX_CSV_ROWS", 2)
    with renewing(tmp_path, ["train"]) as renewal:
        write_rows(table, renewal.waiting / "train")
    assert not (tmp_path / "train.csv").exists()
    assert pq.read_table(tmp_path / "train.parquet").equals(table)


def test_texts_with_any_line_break_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b", "c"], "landmark_id": [0, 1, 2], "name": ["\r", "\n", '",']})
    write_rows(table, tmp_path / "train")
    assert read_rows(tmp_path / "train.csv").equals(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,landmark_id\na,one\n", ", line 2: landmark_id 'one' is not an integer"),
        ("id,landmark_id\na,1,2\n", ", line 2 has 3 cells, the header 2"),
        ("", " is empty"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(InputError, match=rf"train\.csv{message}"):
        read_rows(tmp_path / "train.csv")


def test_a_symbolic_link_to_a_photo_is_followed(tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "a.jpg"
    photo.parent.mkdir()
    photo.write_text("a")
    (tmp_path / "photos" / "b.jpg").symlink_to("a.jpg")
    target = tmp_path / "data" / "images" / "b.jpg"
    with renewing(tmp_path / "data", []) as renewal:
        link_image(tmp_path / "photos" / "b.jpg", target, renewal)
    assert target.samefile(photo)
    assert not target.is_symlink()
