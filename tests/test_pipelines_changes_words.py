"""Changes of a database that cannot be as they were asked for: what is said of them."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.answers.answer import Answer
from pipelines.answers.live import load_live
from pipelines.recognizer import Recognizer
from pipelines.runs.changes import find_lost, list_changes
from pipelines.runs.verify import verify_run
from pipelines.sources.new_photos import NewPhoto, Said
from pipelines.stages import add as add_stage
from pipelines.stages.add import add_photos
from pipelines.stages.compact import compact
from pipelines.stages.remove import remove_photos
from tests.conftest import Tiny
from tests.datasets import cairn, make_recipe_file
from tests.journal import draw_describer, list_rows, open_run, write_views

MILL = 50  # a landmark that no dataset here has


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe new photos without a network."""
    monkeypatch.setattr(add_stage, "load_describer", draw_describer)


def add(run: Path, path: Path, name: str = "Mill", image_id: str | None = None) -> None:
    add_photos(open_run(run), [NewPhoto(path, Said(name=name), image_id)])


def tell_lost(run: Path) -> list[str]:
    return [line for each in verify_run(run) if each.state == "missing" for line in each.damages]


@pytest.mark.parametrize("number", [1, 2])
def test_a_change_that_is_gone_or_lost_its_manifest_is_named(
    number: int, tiny: Tiny, tmp_path: Path
) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(4))
    for photo in photos[:3]:
        add(tiny.run, photo)
    lost = tiny.run / "changes" / f"00000{number}"
    assert not tell_lost(tiny.run)
    (lost / "manifest.json").unlink()
    (line,) = tell_lost(tiny.run)
    assert line.startswith(f"{lost} has no manifest, though later changes follow it")
    assert f"save {lost / 'images'}" in line
    add(tiny.run, photos[3])  # what people may want to save stays
    assert (lost / "images").is_dir() and len(list_changes(tiny.run)) == 3
    shutil.rmtree(lost)
    (line,) = tell_lost(tiny.run)
    assert line.startswith(f"{lost} is gone, though later changes follow it")
    assert cairn("verify", tiny.run).status == 1
    compact(open_run(tiny.run))
    assert not find_lost(tiny.run)


def test_what_a_killed_writer_left_is_not_lost(tiny: Tiny, tmp_path: Path) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(2))
    add(tiny.run, photos[0])
    left = tiny.run / "changes" / "000002"
    left.mkdir()
    assert not find_lost(tiny.run)
    add(tiny.run, photos[1])
    assert [change.folder for change in list_changes(tiny.run)][-1] == left
    assert not find_lost(tiny.run)
    # Killed while it took those away that it had replaced.
    replaced = shutil.copytree(tiny.run / "changes" / "000001", tmp_path / "replaced")
    compact(open_run(tiny.run))
    shutil.move(replaced, tiny.run / "changes" / "000001")
    (tiny.run / "changes" / "000001" / "manifest.json").unlink()
    assert not find_lost(tiny.run)


def test_a_photo_that_is_known_says_of_what_and_how_to_move_it(tiny: Tiny, tmp_path: Path) -> None:
    photo = tmp_path / "thing0-1.jpg"
    shutil.copy(tiny.data / "images" / photo.name, photo)
    table = tmp_path / "more.csv"
    table.write_text("id,landmark_id\nthing0-1,2\n")
    known = f"left out {photo}: the database has it, as thing0-1 of landmark 0, Thing 0"
    remedy = f"first: cairn remove --run {tiny.run} --image thing0-1"
    end = cairn("add", "--table", table, "--run", tiny.run)
    assert end.out == f"{known}; for it to be of landmark 2, Thing 2, {remedy}\n"
    table.write_text("id,landmark_id\nthing0-1,0\n")
    assert cairn("add", "--table", table, "--run", tiny.run).out == f"{known}\n"
    first = write_views(tmp_path / "mill", MILL, [0])[0]
    copied = shutil.copy(first, tmp_path / "mill" / "copy.jpg")
    end = cairn("add", first, copied, "--run", tiny.run, "--name", "Mill")
    assert "as mill-0 of landmark 6, Mill\n" in end.out


def test_a_name_in_other_letters_is_no_new_landmark(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(2))
    add(tiny.run, photos[0], "Old Mill")
    end = cairn("add", photos[1], "--run", tiny.run, "--name", "old mill")
    assert end.out == "added 1 photo of landmark 6, Old Mill: mill-1\n"
    assert "old mill is taken for Old Mill, which is known" in caplog.text


def test_a_link_that_leads_nowhere_is_a_failure(tiny: Tiny, tmp_path: Path) -> None:
    for folder in ("one", "classes/mill"):
        write_views(tmp_path / folder, MILL, [len(folder)])
        dead = tmp_path / folder / "dead.jpg"
        dead.symlink_to(tmp_path / "nowhere.jpg")
        where = [tmp_path / "one", "--name", "mill"] if folder == "one" else [tmp_path / "classes"]
        end = cairn("add", *where, "--run", tiny.run)
        assert end.status == 1 and end.out.startswith("added 1 photo")
        assert f"not read: {dead}" in end.out


def test_an_unknown_number_in_a_table_advises_a_column(tiny: Tiny, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text(f"path,landmark_id\n{write_views(tmp_path, MILL, [0])[0]},17\n")
    end = cairn("add", "--table", table, "--run", tiny.run)
    assert end.status == 1 and "--name" not in end.err
    assert f"name it: in the column name of {table}" in end.err


def test_all_that_there_is_stays(tiny: Tiny) -> None:
    words = [word for label in range(6) for word in ("--label", label)]
    end = cairn("remove", *words, "--run", tiny.run)
    assert "add others first" in end.err


def test_a_run_that_cannot_be_written_says_so(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, opened = write_views(tmp_path / "mill", MILL, [0])[0], Path.open

    def refuse(path: Path, *mode: Any, **options: Any) -> Any:
        if path.name == ".lock":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, *mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    end = cairn("add", photo, "--run", tiny.run, "--name", "Mill")
    assert end.status == 1 and end.err.count("\n") == 1
    assert f"{tiny.run} cannot be written (read-only file system); allow it, or" in end.err


def test_copies_whose_names_might_be_one_are_two_files(tiny: Tiny, tmp_path: Path) -> None:
    photos = write_views(tmp_path / "mill", MILL, range(2))
    bare = photos[1].rename(photos[1].with_suffix(""))
    add(tiny.run, photos[0], image_id="a")
    add(tiny.run, bare, image_id="a.jpg")
    for _ in range(2):
        files = [file for each in load_live(tiny.run).added for file in each.list_files()]
        wanted = {"a": photos[0].read_bytes(), "a.jpg": bare.read_bytes()}
        assert {image_id: path and path.read_bytes() for image_id, path in files} == wanted
        compact(open_run(tiny.run))


def test_what_is_open_follows_an_index_that_is_made_anew(tiny: Tiny) -> None:
    opened, photo = Recognizer.load(tiny.run), tiny.data / "images" / "thing1-0.jpg"

    def ask(recognizer: Recognizer) -> Answer:
        return recognizer.recognize(photo, neighbors=30)

    before = ask(opened)
    manifest = tiny.run / "decision" / "manifest.json"
    content = manifest.read_bytes()
    manifest.unlink()  # as while it is made
    remove_photos(open_run(tiny.run), [], ["thing1-0"])
    assert ask(opened) == before
    manifest.write_bytes(content)
    assert "thing1-0" not in [near.image_id for near in ask(opened).neighbors]
    make_recipe_file(tiny.recipe, "[search]\nwhiten = 'pca'\nwhiten_dim = 6\n")
    rows = list_rows(tiny.run)
    assert cairn("index", *tiny.options).status == 0
    assert ask(opened) == ask(Recognizer.load(tiny.run))
    assert opened.opened.retriever.database.whitening is not None
    assert list_rows(tiny.run) == rows
