"""cairn discover: a heap of photos to folders of groups, which people name."""

import csv
import html
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipelines.artifacts import WORK, remedy
from pipelines.runs.job import locking
from tests.datasets import Finished, cairn, make_recipe_file, results, view, write_photo
from tests.test_pipelines_kill import PROGRAM, kill, start, wait_for
from tests.test_pipelines_order import count_opens

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
def found(tmp_path: Path, kept: Path) -> Path:
    """What was found among THINGS without a near-duplicate, in its place, free to be changed."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    marker = tmp_path / "groups" / WORK / "data" / "dataset.json"
    marker.write_text(marker.read_text().replace(str(kept), str(tmp_path)))
    return tmp_path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    make_heap(folder / "photos")
    recipe(folder)
    assert discover(folder).status == 0
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


def discover(folder: Path, *more: object) -> Finished:
    """Find groups as the fixtures do."""
    options = ("--recipe", folder / "tiny.toml", "--workers", 0, "--min-inliers", 10)
    return cairn("discover", folder / "photos", "--into", folder / "groups", *options, *more)


def list_bytes(into: Path) -> dict[str, str]:
    """Return the sha256 of each file that people see."""
    files = results(into).items()
    return {name: digest for name, digest in files if not name.startswith(".discover")}


def test_the_same_command_again_does_nothing_and_loads_no_network(found: Path) -> None:
    before = {path: path.stat().st_ino for path in found.rglob("*.jpg")}
    texts = list_bytes(found / "groups")
    into = str(found / "groups")
    options = ("--workers", "0", "--min-inliers", "10")
    _, heavy = count_opens("discover", str(found / "photos"), "--into", into, *options)
    assert not {"torch", "timm", "faiss"} & {*heavy}
    assert list_bytes(found / "groups") == texts
    assert {path: path.stat().st_ino for path in found.rglob("*.jpg")} == before


def test_what_somebody_has_renamed_is_found_to_be_done_and_otherwise_refused(found: Path) -> None:
    into = found / "groups"
    (into / "group-001-5-photos").rename(into / "Tower")
    before = list_bytes(into)
    assert "4 groups of 20 photos" in discover(found).out
    write_photo(found, "late", view(1, PHOTOS)).rename(found / "photos" / "late.jpg")
    for more in ((), ("--redo",), ("--min-photos", 3)):
        end = discover(found, *more)
        assert (end.status, end.out) == (1, "")
        assert f"{into} is not as it was written: Tower, group-001-5-photos" in end.err
        assert list_bytes(into) == before


def test_photos_that_are_added_or_taken_away_are_grouped_with_the_others(found: Path) -> None:
    into = found / "groups"
    write_photo(found, "late", view(1, PHOTOS)).rename(found / "photos" / "late.jpg")
    for number in range(PHOTOS):
        (found / "photos" / "trip" / f"3-{number}.jpg").unlink()
    end = discover(found)
    assert "3 groups of 16 photos, 2 photos apart" in end.out
    assert {name: len(files) for name, files in list_folders(into).items()} == {
        "group-000-6-photos": 6,
        "group-001-5-photos": 5,
        "group-002-5-photos": 5,
    }
    assert "late.jpg" in list_folders(into)["group-000-6-photos"]
    assert "late.jpg" in (into / "groups.html").read_text(encoding="utf-8")


def test_a_photo_that_was_mended_is_read_by_the_command_that_the_warning_names(
    found: Path,
) -> None:
    broken = found / "photos" / "broken.jpg"
    write_photo(found, "good", view(2, PHOTOS)).rename(broken)
    assert "1 could not be read" in discover(found).out  # nothing that is asked for has changed
    shutil.rmtree(found / "groups" / ".discover" / "run" / "pairs")
    end = discover(found, "--redo")
    assert "4 groups of 21 photos, 2 photos apart; look" in end.out
    assert not (found / "groups" / "failures.csv").exists()


def test_messages_name_the_command_that_people_gave_and_their_photos(
    found: Path, caplog: pytest.LogCaptureFixture
) -> None:
    discover(found, "--redo")
    again = f"cairn discover {found}/photos --into {found}/groups --redo"
    said = [message for message in caplog.messages if "could not be read" in message]
    assert said and all(message.endswith(f"when they are mended: {again}") for message in said)
    failures = (found / "groups" / "failures.csv").read_text(encoding="utf-8")
    assert ".discover" not in failures
    run = found / "groups" / ".discover" / "run"
    for name in ("embeddings/train", "features/train", "pairs"):
        assert remedy(run / name).endswith(f"make it anew: {again}")
    assert remedy(run / "model").endswith("and the same command makes it anew")
    (run / "run.json").write_text("{}")
    end = cairn("discover", found / "photos", "--into", found / "groups")
    assert f"make it anew: {again} --recipe NAME" in end.err


def test_files_of_other_kinds_are_told_once(found: Path, caplog: pytest.LogCaptureFixture) -> None:
    (found / "photos" / "phone.heic").write_bytes(b"x")
    discover(found)
    assert [m for m in caplog.messages if "left out" in m] == [
        f"{found / 'photos'}: left out 1 files of other kinds"
    ]


def test_two_commands_do_not_write_one_folder(found: Path) -> None:
    with locking(found / "groups" / WORK, ""):
        end = discover(found)
    assert (end.status, end.out) == (1, "")
    assert f"another process works on {found / 'groups'}; wait for it" in end.err
    assert WORK not in end.err


def test_what_is_renamed_while_photos_are_read_is_not_replaced(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = found / "groups"

    def rename(*_: object, **__: object) -> None:
        (into / "group-001-5-photos").rename(into / "Tower")

    monkeypatch.setattr("pipelines.stages.discover.verify_neighbors", rename)
    before = set(list_folders(into)) - {"group-001-5-photos"}
    assert "is not as it was written" in discover(found, "--min-photos", 3).err
    assert set(list_folders(into)) == before | {"Tower"}
    assert (into / "groups.csv").is_file()


def test_the_page_names_a_command_that_works_as_written(tmp_path: Path) -> None:
    write_photo(tmp_path, "a", view(0, 0))
    (tmp_path / "images").rename(tmp_path / "my photos")
    into = tmp_path / "my groups"
    options = ("--recipe", recipe(tmp_path), "--workers", 0)
    end = cairn("discover", tmp_path / "my photos", "--into", into, *options)
    assert "0 groups of 0 photos, 1 photos apart" in end.out
    page = html.unescape((into / "groups.html").read_text(encoding="utf-8"))
    command = re.search("<code>(cairn discover .*)</code>", page)
    assert command is not None
    names = tmp_path / "names.csv"
    names.write_text("group,name\n")
    arguments = shlex.split(command[1])[1:-1]
    assert cairn(*arguments, names).out == f"{into}: 0 folders renamed\n"


@pytest.mark.parametrize(
    ("views", "photos", "said"),
    [
        ([(0, 0)] * 4, 4, "1 groups of 4 photos, 0 photos apart"),
        ([(60 + number, 0) for number in range(4)], 4, "0 groups of 0 photos, 4 photos apart"),
        ([(0, 0)], 1, "0 groups of 0 photos, 1 photos apart"),
    ],
    ids=["all the same", "nothing verified", "one photo"],
)
def test_heaps_at_the_edges(
    views: list[tuple[int, int]], photos: int, said: str, tmp_path: Path
) -> None:
    for number, (thing, place) in enumerate(views):
        path = write_photo(tmp_path, str(number), view(thing, place))
        (tmp_path / "photos").mkdir(exist_ok=True)
        path.rename(tmp_path / "photos" / path.name)
    recipe(tmp_path)
    assert said in discover(tmp_path).out
    assert len(read_rows(tmp_path / "groups")) == photos
    assert sum(map(len, list_folders(tmp_path / "groups").values())) in (0, photos)
    assert said in discover(tmp_path).out


# The file at which the command is killed, before or after it gets its name.
MOMENTS = {
    "within the embeddings": ("embeddings/train/part-00001.parquet", "before"),
    "while the folders change": ("groups/group-001-*", "after"),
    "before groups.csv": ("groups/groups.csv", "before"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_command_goes_on_to_the_same_bytes(moment: str, found: Path) -> None:
    pattern, when = MOMENTS[moment]
    write_photo(found, "late", view(1, PHOTOS)).rename(found / "photos" / "late.jpg")
    mark = found / "mark"
    # Folders get their names by os.rename.
    program = PROGRAM.replace("os.replace", "os.rename") if "group-" in pattern else PROGRAM
    process = start(
        [
            *("-c", program, pattern, when, str(mark), "discover", str(found / "photos")),
            *("--into", str(found / "groups"), "--workers", "0", "--min-inliers", "10", "--redo"),
        ]
    )
    wait_for(mark.exists, process)
    kill(process)
    end = discover(found)
    assert end.status == 0, end.err
    assert "4 groups of 21 photos, 2 photos apart, 1 could not" in end.out
    after = list_bytes(found / "groups")
    assert discover(found, "--redo").status == 0
    assert list_bytes(found / "groups") == after


def test_from_a_heap_to_answers(found: Path) -> None:
    into, data, run = found / "groups", found / "data", found / "run"
    names = found / "names.csv"
    groups = sorted(list_folders(into))
    rows = [f"{group},Thing {number}" for number, group in enumerate(groups)]
    names.write_text("group,name\n" + "\n".join(rows) + "\n")
    end = cairn("discover", found / "photos", "--into", into, "--names", names)
    assert end.out == f"{into}: 4 folders renamed\n"
    end = cairn("data", "folders", into, "--data", data)
    assert end.out == f"{data}: 4 landmarks, 16 train, 4 test, 0 non_landmark\n"
    options = ("--recipe", found / "tiny.toml", "--workers", 0)
    end = cairn("submit", "--data", data, "--run", run, *options)
    assert end.status == 0, end.err
    asked = sorted((into / "Thing 2").iterdir())[0]
    end = cairn("query", "--run", run, "--json", asked)
    assert end.status == 0, end.err
    assert "Thing 2" in end.out


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
        ("photos", "photos", "among the photos"),
        ("holder/photos", "holder", "holds something else"),
        ("photos", "tables", "holds something else"),
        ("photos", "/proc/groups", "name another folder"),
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
    shutil.copytree(tmp_path / "photos", tmp_path / "holder" / "photos")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "groups.csv").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    end = cairn("discover", tmp_path / photos, "--into", tmp_path / into)
    assert (end.status, end.out) == (1, "")
    assert said in end.err
    assert sorted(tmp_path.rglob("*")) == before
