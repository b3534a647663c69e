"""A dataset without some of its training images: the rest is the same, the source is left alone."""

from pathlib import Path

import pandas as pd
import pytest

from pipelines.dataset import Dataset
from pipelines.linking import link_image
from pipelines.subset import write_subset
from tests.datasets import write_table


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


def test_rows_are_in_one_of_two_tables_with_all_they_say(source: Dataset, tmp_path: Path) -> None:
    write_subset(source, tmp_path / "new", {"b": 'a reason, with "quotes"'})
    assert (tmp_path / "new" / "train.csv").read_text() == (
        'id,landmark_id,url\na,1,"http://x/?a,b"\n012,2,http://y\nabsent,2,\n'
    )
    assert (tmp_path / "new" / "rejected.csv").read_text() == (
        'id,landmark_id,reason\nb,1,"a reason, with ""quotes"""\n'
    )


def test_images_of_all_tables_are_links_at_the_same_place(source: Dataset, tmp_path: Path) -> None:
    write_subset(source, tmp_path / "new", {"b": "wrong"})
    dataset = Dataset(tmp_path / "new")
    for image_id in ("a", "012", "q"):
        path = source.image_path(image_id)
        assert dataset.image_path(image_id).samefile(path)
        assert (tmp_path / "new" / path.relative_to(source.folder)).samefile(path)
    files = [path for path in (tmp_path / "new" / "images").rglob("*") if path.is_file()]
    assert len(files) == 3


def test_a_table_that_is_edited_leaves_that_of_the_source(source: Dataset, tmp_path: Path) -> None:
    write_subset(source, tmp_path / "new", {})
    with (tmp_path / "new" / "test.csv").open("a") as file:
        file.write("a\n")
    assert source.load_split("test").ids == ("q",)


def test_parquet_becomes_csv_with_the_same_columns(source: Dataset, tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [12, 13], "landmark_id": [1, 2], "url": ["u", None]})
    (source.folder / "train.csv").unlink()
    table.to_parquet(source.folder / "train.parquet")
    write_subset(Dataset(source.folder), tmp_path / "new", {"13": "wrong"})
    assert (tmp_path / "new" / "train.csv").read_text() == "id,landmark_id,url\n12,1,u\n"
    assert (tmp_path / "new" / "rejected.csv").read_text().splitlines()[1] == "13,2,wrong"


def test_what_the_source_has_no_more_goes_when_it_is_written_again(
    source: Dataset, tmp_path: Path
) -> None:
    write_subset(source, tmp_path / "new", {"a": "wrong"})
    (source.folder / "test.csv").unlink()
    (source.folder / "images" / "b.png").rename(source.folder / "images" / "b.webp")
    write_subset(Dataset(source.folder), tmp_path / "new", {})
    new = Dataset(tmp_path / "new")
    assert new.find_table("test") is None
    assert new.load_split("train").ids == ("a", "b", "012", "absent")
    assert len(pd.read_csv(tmp_path / "new" / "rejected.csv")) == 0
    assert new.image_path("b").name == "b.webp"


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "a.jpg"
    photo.parent.mkdir()
    photo.write_text("a")
    (tmp_path / "photos" / "b.jpg").symlink_to("a.jpg")
    link_image(tmp_path / "photos" / "b.jpg", tmp_path / "data" / "b.jpg")
    assert (tmp_path / "data" / "b.jpg").samefile(photo)
    assert not (tmp_path / "data" / "b.jpg").is_symlink()
