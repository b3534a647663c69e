"""cairn discover: a heap of photos to folders of groups, which people name."""

import csv
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.datasets import cairn, make_recipe_file, view, write_photo

THINGS, PHOTOS = 4, 5


def make_heap(folder: Path, things: int = THINGS, photos: int = PHOTOS) -> Path:
    """Write photos of things, two photos of nothing else, and one that is no photo."""
    for thing in range(things):
        for number in range(photos):
            path = write_photo(folder.with_name("made"), f"{thing}-{number}", view(thing, number))
            (folder / "trip").mkdir(parents=True, exist_ok=True)
            path.rename(folder / "trip" / f"{thing}-{number}.jpg")
    for number in range(2):
        path = write_photo(folder.with_name("made"), f"other-{number}", view(50 + number, 0))
        path.rename(folder / f"other-{number}.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return folder


def recipe(folder: Path) -> Path:
    return make_recipe_file(folder / "tiny.toml", "[train]\nepochs = 0\n")


def read_rows(into: Path) -> dict[str, dict[str, str]]:
    with (into / "groups.csv").open(encoding="utf-8", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def list_folders(into: Path) -> dict[str, set[str]]:
    folders = (path for path in into.iterdir() if path.is_dir() and path.name[0] != ".")
    return {path.name: {file.name for file in path.iterdir()} for path in folders}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a heap in photos/, and what was found in groups/."""
    folder = tmp_path_factory.mktemp("discover")
    heap = make_heap(folder / "photos")
    Image.open(heap / "trip" / "0-0.jpg").save(heap / "saved anew.jpg", quality=60)
    end = cairn(
        *("discover", heap, "--into", folder / "groups", "--recipe", recipe(folder)),
        *("--workers", 0, "--min-inliers", 10),
    )
    assert end.status == 0, end.err
    assert (
        f"groups: 4 groups of {THINGS * PHOTOS + 1} photos, 2 photos apart, 1 could not" in end.out
    )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made / "photos", tmp_path / "photos")
    shutil.copytree(made / "groups", tmp_path / "groups")
    recipe(tmp_path)
    return tmp_path


def test_each_thing_has_a_folder_of_links_and_other_photos_stay_apart(made: Path) -> None:
    folders = list_folders(made / "groups")
    assert {frozenset(name[:6] for name in files) for files in folders.values()} == {
        frozenset({f"trip_{thing}"} | ({"saved "} if thing == 0 else set()))
        for thing in range(THINGS)
    }
    assert sorted(folders) == [
        "group-000-6-photos",
        *(f"group-00{number}-5-photos" for number in (1, 2, 3)),
    ]
    link = made / "groups" / "group-000-6-photos" / "trip_0-1.jpg"
    assert os.path.samefile(link, made / "photos" / "trip" / "0-1.jpg")


def test_the_table_says_why_each_photo_is_where_it_is(made: Path) -> None:
    rows = read_rows(made / "groups")
    assert len(rows) == THINGS * PHOTOS + 3
    assert rows["other-0.jpg"] == {
        "image": "other-0.jpg",
        "group": "",
        "by": "",
        "inliers": "",
        "joined_to": "",
    }
    pair = [rows["saved anew.jpg"], rows["trip/0-0.jpg"]]
    assert [row["by"] for row in pair].count("near-duplicate") == 1
    assert rows["trip/2-1.jpg"]["by"] == "verified"
    assert int(rows["trip/2-1.jpg"]["inliers"]) > 6
    assert rows["trip/2-1.jpg"]["joined_to"].startswith("trip/2-")
    failures = (made / "groups" / "failures.csv").read_text(encoding="utf-8")
    assert "broken.jpg" in failures


def test_the_page_shows_the_groups_with_a_field_for_each_and_needs_no_other_file(
    made: Path,
) -> None:
    page = (made / "groups" / "groups.html").read_text(encoding="utf-8")
    assert page.count("<input type") == THINGS
    assert 'data-group="group-000-6-photos"' in page
    assert page.count('<img src="data:image/jpeg;base64,') == THINGS * PHOTOS + 3
    assert "other-1.jpg" in page
    assert "script-src 'sha256-" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_same_command_again_does_nothing(folder: Path) -> None:
    into = folder / "groups"
    (into / "group-001-5-photos").rename(into / "Tower")
    before = {path: path.stat().st_mtime_ns for path in into.rglob("*") if path.suffix == ".jpg"}
    # Of the moved photos, too: a copy of the work folder knows them by their old place.
    end = cairn("discover", folder / "photos", "--into", into)
    assert end.status == 1
    assert "name another folder" in end.err
    assert before == {
        path: path.stat().st_mtime_ns for path in into.rglob("*") if path.suffix == ".jpg"
    }


def test_names_of_the_table_become_those_of_the_folders(folder: Path) -> None:
    into, names = folder / "groups", folder / "names.csv"
    names.write_text(
        "group,name\ngroup-000-6-photos,Tower\ngroup-001-5-photos,Tower\ngroup-002-5-photos,\n"
        "group-003-5-photos,_none\n"
    )
    for renamed in (3, 0):  # what is renamed is not renamed again
        end = cairn("discover", folder / "photos", "--into", into, "--names", names)
        assert (end.status, end.out) == (0, f"{into}: {renamed} folders renamed\n")
        folders = list_folders(into)
        assert {name: len(files) for name, files in folders.items()} == {
            "Tower": 11,
            "group-002-5-photos": 5,
            "_none": 5,
        }
    end = cairn("data", "folders", into, "--data", folder / "data", "--test-every", 0)
    assert end.out == f"{folder / 'data'}: 2 landmarks, 16 train, 0 test, 5 non_landmark\n"
    assert "left out" not in end.err


@pytest.mark.parametrize(
    ("photos", "into", "said"),
    [
        ("nowhere", "new", "no folder at"),
        ("empty", "new", "holds no image"),
        ("photos", "photos/groups", "among the photos"),
        ("photos", "mine", "holds something else"),
        ("photos", "mine/notes.txt", "is no folder"),
    ],
)
def test_what_cannot_be_grouped_is_refused_and_nothing_is_written(
    photos: str, into: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    write_photo(tmp_path, "a", view(0, 0))
    (tmp_path / "images").rename(tmp_path / "photos")
    before = sorted(tmp_path.rglob("*"))
    end = cairn("discover", tmp_path / photos, "--into", tmp_path / into)
    assert (end.status, end.out) == (1, "")
    assert said in end.err
    assert sorted(tmp_path.rglob("*")) == before


def test_one_photo_is_apart(tmp_path: Path) -> None:
    write_photo(tmp_path, "a", view(0, 0))
    options = ("--recipe", recipe(tmp_path), "--workers", 0)
    end = cairn("discover", tmp_path / "images", "--into", tmp_path / "groups", *options)
    assert "0 groups of 0 photos, 1 photos apart" in end.out
