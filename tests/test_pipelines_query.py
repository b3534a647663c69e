"""Asking a run: the same answers as its submission, and advice where there is none."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from pipelines.answers.answer import Answer
from pipelines.artifacts import FORMAT_VERSION, read_signed, write_signed
from pipelines.recognizer import Recognizer
from pipelines.reports.tables import open_console, print_answer
from rerank.geometry import CHANCE_INLIERS
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, QUERIES, SIDE, cairn, write_photo

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def engine(finished: Tiny) -> Recognizer:
    return Recognizer.load(finished.run)


def move_data(tiny: Tiny) -> None:
    """Let a copy of a run be of the copy of its dataset."""
    recorded = read_signed(tiny.run / "run.json")
    write_signed({**recorded, "data": str(tiny.data)}, tiny.run / "run.json")


def write_noise(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.mark.parametrize("landmark", range(LANDMARKS))
def test_a_photo_of_the_database_gets_its_landmark(
    landmark: int, engine: Recognizer, finished: Tiny
) -> None:
    image_id = f"thing{landmark}-2"
    answer = engine.recognize(finished.data / "images" / f"{image_id}.jpg")
    assert (answer.label, answer.name) == (landmark, f"Thing {landmark}")
    assert answer.confidence > engine.opened.decision.threshold
    first = answer.neighbors[0]
    assert (first.image_id, first.label) == (image_id, landmark)
    assert first.similarity == pytest.approx(1, abs=1e-4)
    assert first.inliers is not None
    assert first.inliers > 50


@pytest.mark.parametrize("query", QUERIES)
def test_the_answer_is_that_of_the_submission(
    query: str, engine: Recognizer, finished: Tiny
) -> None:
    answer = engine.recognize(finished.data / "images" / f"{query}.jpg")
    with (finished.run / "submission.csv").open(newline="") as file:
        label, confidence = dict(csv.reader(file))[query].split(" ")
    assert answer.confidence == pytest.approx(float(confidence), abs=1e-4)
    rows = pq.read_table(finished.run / "predictions.parquet").to_pylist()
    row = next(row for row in rows if row["query_id"] == query)
    assert answer.label == row["landmark_id"]
    assert answer.label in (int(label), None)
    assert bool(answer.reason) == bool(row["reason"])


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_as_many_neighbours_as_asked_for(count: int, engine: Recognizer, finished: Tiny) -> None:
    answer = engine.recognize(finished.data / "images" / "q0.jpg", neighbors=count)
    assert len(answer.neighbors) == min(count, engine.opened.recipe.search.neighbors)
    assert answer.guess == 0
    own = [match.label == 0 for match in answer.neighbors]
    assert own == sorted(own, reverse=True)  # what speaks for the answer is first
    if count > 1:
        assert answer.neighbors[0] == answer.best
        assert not own[-1]  # the last speaks for another landmark
    for match in answer.neighbors:
        assert match.verified == (match.inliers is not None and match.inliers > CHANCE_INLIERS)
    if count == 1000:
        assert sorted(match.rank or 0 for match in answer.neighbors) == list(range(24))


def test_noise_is_no_known_landmark(engine: Recognizer, tmp_path: Path) -> None:
    answer = engine.recognize(write_noise(tmp_path / "noise.png"))
    assert (answer.label, answer.name, answer.error) == (None, None, "")
    assert answer.reason.startswith(f"confidence {answer.confidence:.3f} is below ")
    assert "; the likeliest is Thing" in answer.reason


def test_an_unreadable_photo_is_an_answer_with_an_error(engine: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    answer = engine.recognize(tmp_path / "text.jpg")
    assert "not_an_image" in answer.error
    assert (answer.label, answer.confidence, answer.neighbors) == (None, 0.0, ())
    assert "(missing)" in engine.recognize(tmp_path / "absent.jpg").error


def test_json_is_a_line_a_photo(finished: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "neue Fotos"
    (folder / "below").mkdir(parents=True)
    for place, name in enumerate(("b.jpg", "below/ä.JPG", "a.jpg")):
        shutil.copy(finished.data / "images" / f"q{place}.jpg", folder / name)
    (folder / "notes.txt").touch()
    broken = tmp_path / "broken.jpg"
    broken.touch()
    end = cairn("query", folder, broken, "--run", finished.run, "--json", "--neighbors", 2)
    assert end.status == 1  # one could not be read
    answers = [json.loads(line) for line in end.out.splitlines()]
    expected = [folder / "a.jpg", folder / "b.jpg", folder / "below" / "ä.JPG", broken]
    assert [answer["image"] for answer in answers] == [str(path) for path in expected]
    assert [answer["label"] for answer in answers] == [2, 0, 1, None]
    assert [len(answer["neighbors"]) for answer in answers] == [2, 2, 2, 0]
    assert "empty" in answers[3]["error"]


def test_a_table_for_people(finished: Tiny, tmp_path: Path) -> None:
    photo = finished.data / "images" / "q3.jpg"
    end = cairn("query", photo, write_noise(tmp_path / "n.png"), "--run", finished.run)
    assert end.status == 0
    assert "Thing 3 (3), confidence 0." in end.out
    assert "no known landmark: confidence" in end.out
    assert "another: Thing" in end.out


def test_a_name_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer("photos/:cat:.jpg", 7, "The [old] :house:", 0.9, guess=7)
    print_answer(answer, open_console())
    assert capsys.readouterr().out == (
        "photos/:cat:.jpg\n  The [old] :house: (7), confidence 0.900\n"
        "  neighbour    landmark    similarity    inliers  \n"
    )


def test_chance_is_no_evidence_for_people_and_a_figure_for_programs(
    engine: Recognizer, finished: Tiny
) -> None:
    answer = engine.recognize(finished.data / "images" / "q0.jpg", neighbors=1)
    assert answer.best is not None
    chance = replace(answer.best, inliers=CHANCE_INLIERS, verified=False)
    console = Console(width=200, file=io.StringIO())
    print_answer(replace(answer, neighbors=(chance,), best=chance), console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().rstrip().endswith("not verified")
    assert asdict(chance)["inliers"] == CHANCE_INLIERS


def test_the_reason_names_the_likeliest_and_not_the_nearest(
    engine: Recognizer, tmp_path: Path
) -> None:
    answer = engine.recognize(write_noise(tmp_path / "noise.png"), neighbors=1000)
    assert answer.guess is not None and answer.best is not None
    own = [match for match in answer.neighbors if match.label == answer.guess]
    nearest = max(match.similarity for match in own)
    name = engine.opened.retriever.name(answer.guess)
    ending = f"; the likeliest is {name} (similarity {nearest:.2f}, not verified)"
    assert answer.reason.endswith(ending)


def test_brackets_are_no_markup(tiny: Tiny) -> None:
    photo = write_photo(tiny.data, "tower [red] [/]", np.zeros((SIDE, SIDE, 3), dtype=np.uint8))
    labels = tiny.data / "labels.csv"
    labels.write_text(labels.read_text().replace("Thing 3", "Thing [bold] [/b]"))
    move_data(tiny)
    end = cairn("query", photo, tiny.data / "images" / "q3.jpg", "--run", tiny.run)
    assert end.status == 0
    assert "tower [red] [/].jpg" in end.out.replace("\n", "")
    assert "Thing [bold] [/b] (3)" in end.out


def test_a_folder_without_images_is_an_error(finished: Tiny, tmp_path: Path) -> None:
    end = cairn("query", tmp_path, "--run", finished.run)
    assert (end.status, end.out) == (1, "")
    assert f"{tmp_path} holds no image" in end.err


def test_a_run_that_is_not_there_says_how_to_make_one(finished: Tiny, tmp_path: Path) -> None:
    photo = finished.data / "images" / "q0.jpg"
    end = cairn("query", photo, "--run", tmp_path / "absent")
    assert end.status == 1
    assert "no run in" in end.err
    assert "cairn index --data" in end.err
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(("part", "advice"), [("index", "index"), ("model", "train")])
def test_a_run_that_is_not_finished_says_what_to_do(part: str, advice: str, tiny: Tiny) -> None:
    shutil.rmtree(tiny.run / part)
    end = cairn("query", tiny.data / "images" / "q0.jpg", "--run", tiny.run)
    assert end.status == 1
    assert re.search(f"run `cairn {advice}.*` first", end.err)


def test_a_threshold_that_is_not_set_says_what_to_do(tiny: Tiny) -> None:
    shutil.rmtree(tiny.run / "decision")
    end = cairn("query", tiny.data / "images" / "q0.jpg", "--run", tiny.run)
    assert end.status == 1
    assert f"run `cairn index --run {tiny.run}`" in end.err


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"{}"])
def test_a_damaged_run_file_says_what_to_delete(content: bytes, tiny: Tiny) -> None:
    (tiny.run / "run.json").write_bytes(content)
    end = cairn("query", tiny.data / "images" / "q0.jpg", "--run", tiny.run)
    assert end.status == 1
    assert "run.json is damaged: it does not end with its sha256; make it anew: cairn" in end.err


@pytest.mark.parametrize("command", ["query", "submit", "evaluate", "verify"])
def test_a_run_of_another_version_says_what_to_do(command: str, tiny: Tiny) -> None:
    path = tiny.run / "run.json"
    recorded = read_signed(path)
    assert recorded.pop("format") == FORMAT_VERSION
    recorded["settings"]["rerank"]["trials"] = 1000  # a name that it has no more
    write_signed(recorded, path)
    photo = [tiny.data / "images" / "q0.jpg"] if command == "query" else []
    option = [] if command == "verify" else ["--run"]
    end = cairn(command, *photo, *option, tiny.run)
    assert end.status == 1
    line = (
        f"{tiny.run} was made by another version of Cairn (format 1, this one has "
        f"{FORMAT_VERSION}); name another --run, or make it anew: cairn train --redo --run "
        f"{tiny.run} --data FOLDER --recipe NAME"
    )
    assert line in end.err + end.out
    assert "unknown key" not in end.err + end.out


def test_without_names_the_id_is_the_name(tiny: Tiny) -> None:
    (tiny.data / "labels.csv").unlink()
    move_data(tiny)
    photo = tiny.data / "images" / "q4.jpg"
    assert (
        Recognizer.load(tiny.run).recognize(photo).name == "Thing 4"
    )  # as it was when it was indexed
    assert cairn("index", "--run", tiny.run, "--workers", 0).status == 0
    answer = Recognizer.load(tiny.run).recognize(tiny.data / "images" / "q4.jpg")
    assert (answer.label, answer.name) == (4, "4")
    end = cairn("query", tiny.data / "images" / "q4.jpg", "--run", tiny.run)
    assert "landmark (4), confidence" in end.out


def test_a_query_needs_no_pandas(finished: Tiny) -> None:
    """It takes half a second to import, and some of pyarrow's functions do."""
    code = (
        "import sys; from pathlib import Path; from pipelines.recognizer import Recognizer;"
        "run, photo = map(Path, sys.argv[1:]);"
        "assert not Recognizer.load(run).recognize(photo).error;"
        "print('pandas' in sys.modules)"
    )
    photo = finished.data / "images" / "q0.jpg"
    command = [sys.executable, "-c", code, str(finished.run), str(photo)]
    end = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert end.stdout.strip() == "False"


def test_a_name_that_is_no_utf8_is_answered_everywhere(finished: Tiny, tmp_path: Path) -> None:
    odd, good = tmp_path / os.fsdecode(b"caf\xe9\x1b[31m.jpg"), tmp_path / "good.jpg"
    for path in (odd, good):
        shutil.copy(finished.data / "images" / "q3.jpg", path)
    (tmp_path / os.fsdecode(b"broken\xe9.jpg")).touch()
    page = tmp_path / "page.html"
    command = ("query", tmp_path, "--run", finished.run, "--html", page)
    end = cairn(*command, "--json")
    answers = [json.loads(line) for line in end.out.encode("utf-8").splitlines()]
    assert [answer["label"] for answer in answers] == [None, 3, 3]
    assert [Path(answer["image"]).name for answer in answers] == [
        *("broken\\xe9.jpg", "caf\\xe9\x1b[31m.jpg", "good.jpg")
    ]
    assert "broken\\xe9.jpg: 0 bytes" in answers[0]["error"]
    html = page.read_text(encoding="utf-8")
    assert html.count("Thing 3 <span") == 2
    assert "photo caf\\xe9 [31m.jpg" in html
    end = cairn(*command)
    assert end.out.encode("utf-8").count(b"Thing 3 (3)") == 2
    assert "\x1b[31m" not in end.out
    assert "caf\\xe9 [31m.jpg" in end.out


def test_a_class_that_would_drive_a_terminal_does_not(tiny: Tiny) -> None:
    labels = tiny.data / "labels.csv"
    text = labels.read_text().replace("Thing 3", '"Thing\n\x1b]0;3\x07"')
    labels.write_text(text)
    assert cairn("index", *tiny.options).status == 0
    end = cairn("query", tiny.data / "images" / "q3.jpg", "--run", tiny.run)
    assert "Thing  ]0;3  (3), confidence" in end.out
    assert "\x1b" not in end.out


def test_no_photo_is_replaced_by_a_page_or_figure(finished: Tiny, tmp_path: Path) -> None:
    photo = Path(shutil.copy(finished.data / "images" / "q0.jpg", tmp_path / "mine.png"))
    other = Path(shutil.copy(finished.data / "images" / "q1.jpg", tmp_path / "other.jpg"))
    before = photo.read_bytes(), other.read_bytes()
    for options in (
        ("--png", photo),
        ("--html", photo),
        ("--html", other),
        ("--html", tmp_path / "both.png", "--png", tmp_path / "both.png"),
    ):
        end = cairn("query", photo, "--run", finished.run, *options)
        assert end.status == 2, end.err
    assert before == (photo.read_bytes(), other.read_bytes())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.png", "other.jpg"]


def test_targets_that_cannot_be_written_are_refused_before_photos_are_read(
    finished: Tiny, tmp_path: Path
) -> None:
    photo, file = finished.data / "images" / "q0.jpg", tmp_path / "file"
    file.write_text("")
    for target in (tmp_path, file / "page.html", file / "deeper" / "page.html"):
        for option in ("--html", "--png"):
            end = cairn("query", photo, "--run", finished.run, option, target)
            assert (end.status, end.out) == (2, ""), end.err
            assert f"{option} cannot write" in end.err
    assert list(tmp_path.iterdir()) == [file]


def test_a_table_names_an_unreadable_photo_once(finished: Tiny, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    end = cairn("query", tmp_path / "page.jpg", "--run", finished.run)
    assert (end.status, end.out.count("page.jpg")) == (1, 1)
    assert "\n  not read: unknown file type" in end.out
