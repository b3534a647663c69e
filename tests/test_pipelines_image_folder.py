"""Where images are found: in files, in tars; a run does not tell the difference."""

import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from embed.image_file import FileSlice, read_image_file
from pipelines.datasets.image_folder import ImageFolder
from pipelines.datasets.tars.build import build_tar_index
from tests.conftest import Tiny
from tests.datasets import results


def put_into_tar(images: Path, names: list[str]) -> None:
    """Move files of a folder into a tar there."""
    with tarfile.open(images / "images_000.tar", "w") as tar:
        for name in names:
            tar.add(images / name, name)
            (images / name).unlink()
    build_tar_index(images)


@pytest.fixture
def images(tmp_path: Path) -> ImageFolder:
    """Return a folder of an image in a tar, one in both, one in folders, and two files."""
    for name in ("in.jpg", "both.jpg", "a.PNG", "b.jpg", "0/1/2/012.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    put_into_tar(tmp_path, ["in.jpg", "both.jpg"])
    (tmp_path / "both.jpg").write_text("a file of its own")
    return ImageFolder(tmp_path)


WHERE = {"in": "in.jpg", "a": "a.PNG", "b": "b.jpg", "012": "0/1/2/012.jpg"}


@pytest.mark.parametrize("image_id", WHERE)
def test_an_image_is_found_wherever_it_is(image_id: str, images: ImageFolder) -> None:
    file = images.locate(image_id)
    assert isinstance(file, FileSlice) == (image_id == "in")
    assert read_image_file(file, 100).decode() == WHERE[image_id]


def test_a_file_of_its_own_comes_before_a_tar(images: ImageFolder) -> None:
    assert read_image_file(images.locate("both"), 100) == b"a file of its own"


def test_many_are_where_each_one_is(images: ImageFolder) -> None:
    ids = [*WHERE, "both", "nowhere", "in"]
    found = images.locate_all(ids)
    assert list(found) == [images.locate(image_id) for image_id in ids]
    assert found[-1] == found[0]
    assert list(found[1:3]) == list(found)[1:3]
    assert list(found.take(np.array([5, 0]))) == [found[5], found[0]]
    assert list(pickle.loads(pickle.dumps(found))) == list(found)  # workers that are spawned


def test_without_tars_and_without_images(tmp_path: Path) -> None:
    assert ImageFolder(tmp_path).locate_all(["a"])[0] == tmp_path / "a.jpg"
    assert len(ImageFolder(tmp_path).locate_all([])) == 0


def test_a_run_on_tars_is_that_on_files(finished: Tiny, tmp_path: Path) -> None:
    shutil.copytree(finished.data, tmp_path / "data")
    images = tmp_path / "data" / "images"
    put_into_tar(images, [path.name for path in images.iterdir()])
    packed = Tiny(tmp_path / "data", finished.recipe, tmp_path / "run")
    end = packed.submit()
    assert end.status == 0, end.err
    result, other = results(finished.run), results(packed.run)
    # Messages of failures name files.
    named = {name for name in result if "failures" in name or "part-" in name}
    assert {n: h for n, h in result.items() if n not in named} == {
        n: h for n, h in other.items() if n not in named
    }


COMPOSED, DECOMPOSED = "Caf\xe9", "Cafe\u0301"


@pytest.mark.parametrize("asked", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("there", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("place", ["flat", "nested", "tar"])
def test_an_image_is_found_in_any_spelling_of_its_id(
    asked: str, there: str, place: str, tmp_path: Path
) -> None:
    name = "/".join((*there[:3], f"{there}.jpg")) if place == "nested" else f"{there}.jpg"
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("it")
    if place == "tar":
        put_into_tar(tmp_path, [name])
    images = ImageFolder(tmp_path)
    assert read_image_file(images.locate(asked), 100) == b"it"
    assert read_image_file(images.locate_all(["other", asked])[1], 100) == b"it"


def test_of_two_spellings_the_one_that_is_asked_for_is_found(tmp_path: Path) -> None:
    for name in (COMPOSED, DECOMPOSED):
        (tmp_path / f"{name}.jpg").write_text(name)
    images = ImageFolder(tmp_path)
    for name in (COMPOSED, DECOMPOSED):
        assert read_image_file(images.locate(name), 100) == name.encode()


@pytest.mark.parametrize("suffix", ["", ".jfif", ".jpe", ".JPG", ".JPEG", ".JFIF"])
def test_an_image_is_found_with_any_suffix_of_jpeg_or_none(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"v1.5{suffix}").write_text("it")
    assert read_image_file(ImageFolder(tmp_path).locate("v1.5"), 100) == b"it"


def test_a_suffix_counts_before_none_and_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("bare")
    (tmp_path / "a.png").write_text("png")
    (tmp_path / "b").mkdir()
    assert ImageFolder(tmp_path).locate("a") == tmp_path / "a.png"
    assert ImageFolder(tmp_path).locate("b") == tmp_path / "b.jpg"


def test_where_images_are_nested_otherwise_the_error_says_where(tmp_path: Path) -> None:
    images = ImageFolder(tmp_path / "images")
    for name in ("0/1/012.jpg", "a/345"):
        (images.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (images.folder / name).touch()
    assert "images/0/1/012.jpg has its name: move all" in images.explain_missing("012")
    assert "images/a/345 has its name: move all" in images.explain_missing("345")
    assert images.explain_missing("678") == ""


def test_a_run_on_images_nested_otherwise_says_where_they_are(
    finished: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(finished.data, tmp_path / "data")
    images = tmp_path / "data" / "images"
    (images / "below").mkdir()
    for path in images.glob("*.jpg"):
        path.rename(images / "below" / path.name)
    end = Tiny(tmp_path / "data", finished.recipe, tmp_path / "run").submit()
    assert end.status == 1
    assert "images/below/thing" in end.err and "move all such files into" in end.err
