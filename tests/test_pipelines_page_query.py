"""Answers to photos as a page: what the table says, and the photos that it cannot show."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.answers.answer import Answer
from pipelines.recognizer import Recognizer
from pipelines.reports.page.query_page import write_query_page
from tests.conftest import Tiny
from tests.datasets import SIDE, cairn, write_photo


@pytest.fixture(scope="module")
def engine(finished: Tiny) -> Recognizer:
    return Recognizer.load(finished.run)


def test_the_best_match_has_the_most_inliers(engine: Recognizer, finished: Tiny) -> None:
    answer = engine.recognize(finished.data / "images" / "q1.jpg", neighbors=1000)
    assert answer.best is not None
    mine = [near for near in answer.neighbors if near.label == answer.label]
    assert answer.best == max(mine, key=lambda near: (near.inliers or 0, near.similarity))


def test_the_page_says_what_the_table_says(finished: Tiny, tmp_path: Path) -> None:
    photos = [finished.data / "images" / f"{name}.jpg" for name in ("q3", "q7")]
    (tmp_path / "broken.jpg").write_text("hello")
    page = tmp_path / "pages" / "answers.html"
    command = ("query", *photos, tmp_path / "broken.jpg", "--run", finished.run, "--html", page)
    end = cairn(*command, "--neighbors", 2)
    assert end.status == 1  # one could not be read
    assert f"wrote {page}" in end.err
    html = page.read_text(encoding="utf-8")
    titles = re.findall(r"<h2>(.*?) <span class=\"badge\">(.*?)</span>", html)
    assert titles[0] == ("Thing 3", "answered")
    assert titles[1] == ("No known landmark", "refused")
    assert titles[2] == ("broken.jpg", "not read")
    nearest = end.out.splitlines()[3].split()  # below photo, answer and header
    assert f"similarity {float(nearest[-2]):.2f} · {nearest[-1]} inlier" in html
    assert html.count("<figure>") == 2 * (1 + 2)
    assert "matches drawn as lines" in html
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)"', html))


def test_names_of_files_are_escaped(finished: Tiny, tmp_path: Path, engine: Recognizer) -> None:
    black = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    photo = write_photo(tmp_path, "<b>&tower", black)
    write_query_page(engine, [engine.recognize(photo)], tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;tower.jpg" in html


def test_two_pages_of_the_same_answers_are_equal(
    finished: Tiny, tmp_path: Path, engine: Recognizer
) -> None:
    answers = [engine.recognize(finished.data / "images" / "q0.jpg")]
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        write_query_page(engine, answers, page)
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_without_its_dataset_a_run_answers_with_placeholders(tiny: Tiny, tmp_path: Path) -> None:
    photo = Path(shutil.copy(tiny.data / "images" / "q0.jpg", tmp_path / "mine.jpg"))
    shutil.rmtree(tiny.data)
    engine = Recognizer.load(tiny.run)
    answer = engine.recognize(photo)
    write_query_page(engine, [answer], tmp_path / "page.html")
    photo.unlink()  # not even the photo itself is needed
    write_query_page(engine, [answer], tmp_path / "again.html")
    for name in ("page", "again"):
        assert "Thing 0" in (tmp_path / f"{name}.html").read_text(encoding="utf-8")


def test_no_name_breaks_a_page(tmp_path: Path, engine: Recognizer) -> None:
    """Not even one with control characters, or with bytes that are no text."""
    answer = Answer("a\x00\udce9\n.jpg", None, reason="\x1b[31m red \ufffe")
    write_query_page(engine, [answer], tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "photo a \\xe9 .jpg" in html
    assert not set(html) & {"\x00", "\x1b", "\ufffe"}
