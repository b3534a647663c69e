"""A database that grows and shrinks: what was added is found, what was removed is not."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.answers.database import load_database
from pipelines.answers.live import load_live
from pipelines.artifacts import load_manifest
from pipelines.recognizer import Recognizer
from pipelines.runs.changes import list_changes, read_generation
from pipelines.runs.verify import verify_run
from pipelines.sources.new_photos import NewPhoto, Said
from pipelines.stages import add as add_stage
from pipelines.stages.add import add_photos
from pipelines.stages.compact import MOST_CHANGES, compact
from pipelines.stages.remove import remove_photos
from tests.conftest import Tiny
from tests.datasets import cairn, view, write_photo
from tests.journal import Rows, draw_describer, list_rows, open_run, write_views
from tests.test_imports import ROOT
from tests.test_pipelines_disk_full import LIMITED

MILL = 50  # a landmark that no dataset here has


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe new photos without a network."""
    monkeypatch.setattr(add_stage, "load_describer", draw_describer)


def add(run: Path, paths: list[Path], name: str = "Mill") -> list[str]:
    """Add photos of one landmark; return their ids."""
    done = add_photos(open_run(run), [NewPhoto(path, Said(name=name)) for path in paths])
    return [image_id for ids in done.added.values() for image_id in ids]


def ask(run: Path, photo: Path) -> list[object]:
    """Return all that is said of a photo."""
    answer = Recognizer.load(run).recognize(photo, neighbors=30)
    return [answer]


def test_a_photo_is_found_as_soon_as_it_is_added(tiny: Tiny, tmp_path: Path) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(3))
    asked = write_views(tmp_path / "asked", MILL, [9])[0]
    engine = Recognizer.load(tiny.run)  # stays open
    before = engine.recognize(asked, neighbors=30)
    assert before.label is None
    done = cairn("add", tmp_path / "mill", "--run", tiny.run, "--name", "Old mill")
    assert (done.status, done.out) == (
        0,
        "added 3 photos of landmark 6, Old mill (new): mill-0, mill-1, mill-2\n",
    )
    answer = engine.recognize(asked, neighbors=30)
    assert (answer.label, answer.name) == (6, "Old mill")
    assert {near.image_id for near in answer.neighbors if near.verified} == {
        "mill-0",
        "mill-1",
        "mill-2",
    }
    assert answer == Recognizer.load(tiny.run).recognize(asked, neighbors=30)
    again = cairn("add", *photos, "--run", tiny.run, "--label", 6)
    assert again.status == 0 and again.out.count("the database has it, as mill-") == 3
    assert len(list_changes(tiny.run)) == 1
    gone = cairn("remove", "--run", tiny.run, "--label", 6)
    assert gone.out == "removed 3 photos of landmark 6, none is left\n"
    assert (
        engine.recognize(asked, neighbors=30)
        == before
        == Recognizer.load(tiny.run).recognize(asked, neighbors=30)
    )


def test_a_photo_of_the_index_that_is_removed_and_added_again_gives_the_answer_of_before(
    tiny: Tiny, tmp_path: Path
) -> None:
    asked = write_views(tmp_path / "asked", 0, [9])[0]
    before = Recognizer.load(tiny.run).recognize(asked, neighbors=30)
    photo = tmp_path / "thing0-1.jpg"
    shutil.copy(tiny.data / "images" / photo.name, photo)
    table = tmp_path / "back.csv"
    table.write_text("id,landmark_id\nthing0-1,0\n")
    known = cairn("add", "--table", table, "--run", tiny.run)
    assert known.out == (
        f"left out {photo}: the database has it, as thing0-1 of landmark 0, Thing 0\n"
    )
    assert cairn("remove", "--run", tiny.run, "--image", "thing0-1").status == 0
    without = Recognizer.load(tiny.run).recognize(asked, neighbors=30)
    assert "thing0-1" not in {near.image_id for near in without.neighbors}
    assert cairn("add", "--table", table, "--run", tiny.run).status == 0
    after = Recognizer.load(tiny.run).recognize(asked, neighbors=30)
    assert [(n.image_id, n.inliers) for n in after.neighbors] == [
        (n.image_id, n.inliers) for n in before.neighbors
    ]
    assert after.confidence == pytest.approx(before.confidence, abs=1e-3)


def test_the_same_bytes_under_another_name_are_known(tiny: Tiny, tmp_path: Path) -> None:
    copied = tmp_path / "mine" / "other.jpg"
    copied.parent.mkdir()
    shutil.copy(tiny.data / "images" / "thing2-3.jpg", copied)
    done = cairn("add", copied, "--run", tiny.run, "--label", 2)
    assert (done.status, done.out) == (
        0,
        f"left out {copied}: the database has it, as thing2-3 of landmark 2, Thing 2\n",
    )
    assert not read_generation(tiny.run)


@pytest.mark.usefixtures("drawn")
def test_photos_of_one_name_get_ids_of_their_own(tiny: Tiny, tmp_path: Path) -> None:
    first = write_views(tmp_path / "a" / "mill", MILL, [0])
    second = write_views(tmp_path / "b" / "mill", MILL, [1])
    second = [second[0].rename(second[0].with_name("0.jpg"))]
    twice = [shutil.copy(first[0], tmp_path / "b" / "mill" / "copy.jpg")]
    assert add(tiny.run, [*first, *second, *map(Path, twice)]) == ["mill-0", "mill-0_jpg"]
    assert add(tiny.run, [*first, *second]) == []
    third = write_views(tmp_path / "c" / "mill", MILL, [2])
    assert add(tiny.run, [third[0].rename(third[0].with_name("0.jpg"))]) == ["mill-0_jpg_jpg"]


@pytest.mark.usefixtures("drawn")
def test_unreadable_photos_are_recorded_and_the_others_added(tiny: Tiny, tmp_path: Path) -> None:
    good = write_views(tmp_path / "mill", MILL, [0])[0]
    bad = tmp_path / "mill" / "bad.jpg"
    bad.write_bytes(b"no photo")
    end = cairn("add", good, bad, tmp_path / "gone.jpg", "--run", tiny.run, "--name", "Mill")
    assert end.status == 1
    assert end.out.splitlines()[0] == "added 1 photo of landmark 6, Mill (new): mill-0"
    assert [line.split(": ")[1] for line in end.out.splitlines()[1:]] == [
        str(bad),
        str(tmp_path / "gone.jpg"),
    ]
    (change,) = list_changes(tiny.run)
    assert change.manifest.counts == {"requested": 3, "written": 1, "failed": 2}
    failed = pq.read_table(change.folder / "failures.parquet").to_pylist()
    assert [(row["image_id"], row["reason"]) for row in failed] == [
        ("mill-bad", "not_an_image"),
        (f"{tmp_path.name}-gone", "missing"),
    ]
    none = cairn("add", bad, "--run", tiny.run, "--label", 6)
    assert none.status == 1 and "none of the 1 photos could be read" in none.err
    assert len(list_changes(tiny.run)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "PHOTO", "--label", 17), "there is no landmark 17"),
        (("add", "PHOTO", "--label", 1, "--name", "Thing 2"), "landmark 1 is called Thing 1"),
        (("remove", "--label", 17), "no photo of landmark 17; the nearest are 5 (Thing 5)"),
        (("remove", "--image", "thing0-7"), "no photo 'thing0-7'; there are thing0-"),
        (
            ("remove", *(text for n in range(6) for text in ("--label", n))),
            "that is all that the database",
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    arguments: tuple[object, ...], message: str, tiny: Tiny, tmp_path: Path
) -> None:
    photo = write_views(tmp_path / "mill", MILL, [0])[0]
    words = [photo if word == "PHOTO" else word for word in arguments]
    end = cairn(*words, "--run", tiny.run)
    assert end.status == 1 and message in end.err
    assert not read_generation(tiny.run)


@pytest.mark.usefixtures("drawn")
def test_landmarks_are_listed_with_their_photos(tiny: Tiny, tmp_path: Path) -> None:
    add(tiny.run, write_views(tmp_path / "mill", MILL, [0, 1]))
    remove_photos(open_run(tiny.run), [0], ["thing1-0"])
    out = cairn("landmarks", "--run", tiny.run).out
    lines = [line.strip().split(maxsplit=2) for line in out.splitlines()]
    assert lines[1:7] == [
        ["1", "3", "Thing 1"],
        *([str(n), "4", f"Thing {n}"] for n in range(2, 6)),
        ["6", "2", "Mill"],
    ]


@pytest.mark.usefixtures("drawn")
def test_compacting_changes_no_answer_and_is_done_by_itself(tiny: Tiny, tmp_path: Path) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(MOST_CHANGES))
    asked = write_views(tmp_path / "asked", MILL, [99])[0]
    for photo in photos[:4]:
        add(tiny.run, [photo])
    remove_photos(open_run(tiny.run), [], ["mill-1", "thing3-0"])
    add(tiny.run, [photos[1]])
    engine = Recognizer.load(tiny.run)
    before, content = engine.recognize(asked, neighbors=30), load_live(tiny.run).content
    done = compact(open_run(tiny.run))
    assert done is not None and list_changes(tiny.run)[0].folder == done.folder
    assert [path.name for path in (tiny.run / "changes").iterdir()] == ["000007"]
    # The engine that was open before, whose files are gone, and one that is opened now.
    assert (
        engine.recognize(asked, neighbors=30)
        == before
        == Recognizer.load(tiny.run).recognize(asked, neighbors=30)
    )
    assert load_live(tiny.run).content == content
    assert {each.state for each in verify_run(tiny.run)} <= {"intact", "not checked"}
    for photo in photos[4:]:
        assert cairn("add", photo, "--run", tiny.run, "--name", "Mill").status == 0
    assert len(list_changes(tiny.run)) < MOST_CHANGES
    assert len([1 for _, label in list_rows(tiny.run) if label == 6]) == MOST_CHANGES


@pytest.mark.usefixtures("drawn")
def test_a_reader_sees_all_of_a_change_or_nothing(tiny: Tiny, tmp_path: Path) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(6))
    manifest = load_manifest(tiny.run / "index")
    assert manifest is not None
    fingerprint, done, seen = str(manifest.model["fingerprint"]), threading.Event(), set[Rows]()

    def read() -> None:
        while not done.is_set():
            database = load_database(tiny.run, fingerprint)
            rows = np.sort(database.rows.by_landmark)
            ids = database.rows.ids(rows).to_pylist()
            labels = database.rows.landmark_ids[rows].tolist()
            assert database.images.live == len(rows)
            assert np.isfinite(database.images.whole(rows)).all()
            seen.add(frozenset(zip(ids, labels, strict=True)))

    errors: list[BaseException] = []
    thread = threading.Thread(target=lambda: _collect(read, errors))
    thread.start()
    states = {list_rows(tiny.run)}
    for start in range(0, 6, 2):
        add(tiny.run, photos[start : start + 2])
        states.add(list_rows(tiny.run))
        compact(open_run(tiny.run))
        remove_photos(open_run(tiny.run), [], [f"mill-{start}"])
        states.add(list_rows(tiny.run))
    done.set()
    thread.join()
    assert not errors
    assert seen <= states and len(states) == 7


def _collect(function: Callable[[], None], errors: list[BaseException]) -> None:
    try:
        function()
    except BaseException as error:
        errors.append(error)


@pytest.mark.usefixtures("drawn")
def test_of_two_writers_each_adds_its_own(tiny: Tiny, tmp_path: Path) -> None:
    mill = write_views(tmp_path / "mill", MILL, range(4))
    arch = write_views(tmp_path / "arch", 51, range(4))
    errors: list[BaseException] = []
    threads = [
        threading.Thread(
            target=_collect,
            args=(lambda p=paths, n=name: [add(tiny.run, [q], n) for q in p], errors),
        )
        for paths, name in ((mill, "Mill"), (arch, "Arch"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    live = load_live(tiny.run)
    assert len(live.changes) == 8
    assert {live.names[label] for label in (6, 7)} == {"Mill", "Arch"}
    assert live.table.class_sizes(np.array([6, 7])).tolist() == [4, 4]


def test_a_moved_run_has_its_changes(tiny: Tiny, tmp_path: Path) -> None:
    add(tiny.run, write_views(tmp_path / "mill", MILL, range(2)))
    asked = write_views(tmp_path / "asked", MILL, [9])[0]
    before = Recognizer.load(tiny.run).recognize(asked, neighbors=30)
    moved = tiny.run.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "mill")
    page = tmp_path / "page.html"
    assert Recognizer.load(moved).recognize(asked, neighbors=30) == before
    assert cairn("query", asked, "--run", moved, "--html", page).status == 0
    assert "mill-0" in page.read_text()
    copy = Recognizer.load(moved).opened.locate("mill-0")
    assert copy == moved / "changes" / "000001" / "images" / "mill-0.jpg" and copy.is_file()


def test_a_full_disk_leaves_the_old_state(tiny: Tiny, tmp_path: Path) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(3))
    before = list_rows(tiny.run)
    words = ["20000", "add", *map(str, photos), "--run", str(tiny.run), "--name", "Mill"]
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("error: the disk is full"), process.stderr
    assert list_rows(tiny.run) == before
    assert not any((tiny.run / "changes").iterdir())


@pytest.mark.usefixtures("drawn")
def test_damaged_copies_are_found(tiny: Tiny, tmp_path: Path) -> None:
    add(tiny.run, write_views(tmp_path / "mill", MILL, range(2)))
    copy = tiny.run / "changes" / "000001" / "images" / "mill-1.jpg"
    copy.write_bytes(copy.read_bytes()[:-1])
    end = cairn("verify", tiny.run)
    assert end.status == 1
    assert f"{copy} is damaged: it ends after" in end.out and "cairn add" in end.out


def test_a_submission_knows_what_changed(tiny: Tiny, tmp_path: Path) -> None:
    """The decision stays; what changed there and back makes nothing again."""
    first = (tiny.run / "submission.csv").read_bytes()
    decided = (tiny.run / "decision" / "decision.json").stat().st_mtime_ns
    write_photo(tmp_path / "x", "more", view(0, 77))
    assert cairn("add", tmp_path / "x", "--run", tiny.run, "--label", 0).status == 0
    assert tiny.submit().status == 0
    near = pq.read_table(tiny.run / "neighbors.parquet")["image_id"].to_pylist()
    assert "images-more" in near
    assert cairn("verify", tiny.run).status == 0
    assert (tiny.run / "decision" / "decision.json").stat().st_mtime_ns == decided
    assert cairn("remove", "--run", tiny.run, "--image", "images-more").status == 0
    assert tiny.submit().status == 0
    assert (tiny.run / "submission.csv").read_bytes() == first


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    ("names", "number"), [({6: "Arch", 9: "Mill"}, 9), ({6: "Arch", 8: "Gate"}, 9), ({}, 6)]
)
def test_a_landmark_that_was_added_keeps_its_name_when_the_dataset_takes_its_number(
    names: dict[int, str], number: int, tiny: Tiny, tmp_path: Path
) -> None:
    """By then the dataset may have it under another number, or not at all."""
    for view_number in range(2):  # the second finds the name, and tells it again
        add(tiny.run, write_views(tmp_path / "mill", MILL, [view_number]))
    for _ in range(2):
        live = load_live(tiny.run, names)
        assert len(live.table.rows_of_landmark(number)) == 2 and live.names[number] == "Mill"
        assert number == 6 or not len(live.table.rows_of_landmark(6))
        compact(open_run(tiny.run))


def test_a_head_knows_no_landmark_that_is_removed(tiny: Tiny) -> None:
    photo = tiny.data / "images" / "thing1-0.jpg"
    engine = Recognizer.load(tiny.run)
    describer = engine.opened.describer
    described, _ = describer.describe([describer.decode(photo)], ["asked"])
    assert 1 in described.head.labels
    assert cairn("remove", "--run", tiny.run, "--label", 1).status == 0
    _, evidence = engine.opened.retriever.gather(described, lambda row: None)
    assert 1 not in evidence.head_labels and (evidence.head_labels >= 0).any()


def test_another_model_describes_what_was_added_anew(tiny: Tiny, tmp_path: Path) -> None:
    write_views(tmp_path / "mill", MILL, range(3))
    asked = write_views(tmp_path / "asked", MILL, [9])[0]
    assert cairn("add", tmp_path / "mill", "--run", tiny.run, "--name", "Mill").status == 0
    shutil.rmtree(tmp_path / "mill")
    assert cairn("remove", "--run", tiny.run, "--image", "mill-0").status == 0
    text = tiny.recipe.read_text().replace("[embed]", "[embed]\nflip = true")
    tiny.recipe.write_text(text)
    rows = list_rows(tiny.run)
    end = cairn("index", *tiny.options)
    assert end.status == 0, end.err
    assert list_rows(tiny.run) == rows
    (change,) = list_changes(tiny.run)
    assert change.manifest.settings["embed"][0]["flip"]
    assert Recognizer.load(tiny.run).recognize(asked).label == 6


@pytest.mark.parametrize("command", ["remove", "landmarks"])
def test_what_describes_nothing_loads_no_model(command: str, tiny: Tiny) -> None:
    words = ["--image", "thing0-0"] if command == "remove" else []
    code = (
        "import sys; from pipelines.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print([m for m in ('torch', 'openvino', 'faiss') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, "--run", str(tiny.run), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CAIRN_DEBUG": "1"},
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
