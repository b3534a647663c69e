"""The figure of an answer: every part is on it, whatever the names are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.answers.answer import Answer, RankedLabel
from pipelines.answers.photo import Photo
from pipelines.lettering import measure_line
from pipelines.recognizer import Recognizer
from pipelines.reports.page.pictures import COLOURS
from pipelines.reports.query_figure import (
    AGAINST,
    FOR,
    PHOTO_BOX,
    REGION,
    WIDTH,
    lay_out,
    list_bars,
    wrap,
    write_query_figure,
)
from tests.conftest import Tiny
from tests.datasets import DELF, cairn, make_recipe_file


def count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    """Return how many pixels have exactly a colour."""
    return int((np.asarray(sheet) == colour).all(axis=2).sum())


def test_a_figure_shows_region_lines_and_votes(finished: Tiny, tmp_path: Path) -> None:
    photo, path = finished.data / "images" / "q0.jpg", tmp_path / "figures" / "q0.png"
    with Recognizer.load(finished.run) as recognizer:
        answer = recognizer.recognize(photo, neighbors=4)
        write_query_figure(recognizer, Photo.of(photo), answer, path)
    assert answer.region and answer.best is not None and answer.best.verified
    with Image.open(path) as sheet:
        assert (sheet.format, sheet.mode, sheet.width) == ("PNG", "RGB", WIDTH)
        assert 700 < sheet.height < 2000
        assert count(sheet, REGION) > 200  # the outline, and lines of its colour
        assert count(sheet, FOR) > 1000  # bars
        assert count(sheet, AGAINST) > 100
        assert sum(count(sheet, colour) > 0 for colour in COLOURS) >= 4  # match lines


def test_the_outline_is_where_the_region_is() -> None:
    corners = ((20.0, 10.0), (60.0, 10.0), (60.0, 40.0), (20.0, 40.0))
    answer = Answer("a.jpg", 1, "mill", 0.9, region=corners)
    from pipelines.reports.query_figure import _draw_query

    grey = np.full((50, 100, 3), 90, dtype=np.uint8)
    drawn = np.asarray(_draw_query(grey, (200, 100), answer))  # decoded at half its size
    rows, columns = np.nonzero((drawn == REGION).all(axis=2))
    scale = PHOTO_BOX[0] / 200
    found = (columns.min(), rows.min(), columns.max(), rows.max())
    assert found == pytest.approx(np.array([20, 10, 60, 40]) * scale, abs=4)


def test_bars_tell_what_voted_and_what_was_penalised() -> None:
    top = (RankedLabel(1, "mill", 0.9, 3.0), RankedLabel(2, "tower", 0.05, 1.0))
    known = Answer("a.jpg", 1, "mill", 0.9, top=top, penalty=0.4)
    bars = list(list_bars(known))
    assert [bar.share for bar in bars] == [0.9, 0.05, 0.4]
    assert bars[0].note == "0.900, votes 3" and bars[2].colour == AGAINST
    small = (RankedLabel(1, "mill", 0.0002, 7e-5), RankedLabel(2, "tower", None, 7e-5))
    notes = [bar.note for bar in list_bars(replace(known, top=small))]
    assert notes[:2] == ["below .001, votes below .001", "below .001"]
    voted = tuple(replace(each, probability=None) for each in top)
    assert [bar.share for bar in list_bars(replace(known, top=voted, penalty=0.0))] == [1, 1 / 3]


def test_words_are_broken_where_the_sheet_ends() -> None:
    text = "some words of a sentence that is longer than a line " * 5
    lines = wrap(text, 15, 300)
    assert " ".join(lines) == " ".join(text.split())
    assert all(measure_line(line, 15) <= 300 for line in lines)
    assert wrap("x" * 500, 15, 300) == ["x" * 500]


@pytest.mark.parametrize("pairs", [0, 1, 2, 5])
@pytest.mark.parametrize("panels", [1, 2])
def test_the_sheet_is_as_high_as_its_parts(panels: int, pairs: int) -> None:
    top = tuple(RankedLabel(n, "\u7167 $x$ \x1b[31m" + "y" * 300, 0.2, 1.0) for n in range(5))
    answer = Answer("x" * 3000, reason="none " * 50, guess=0, top=top, penalty=0.1)
    picture = Image.new("RGB", PHOTO_BOX, (1, 2, 3))
    pair = (Image.new("RGB", (580, 220), (4, 5, 6)), ("name " * 80, "note"))
    sheet = lay_out(answer, [picture] * panels, list(list_bars(answer)), [pair] * pairs)
    assert sheet.width == WIDTH
    assert count(sheet, (1, 2, 3)) == panels * PHOTO_BOX[0] * PHOTO_BOX[1]
    assert count(sheet, (4, 5, 6)) == pairs * 580 * 220
    assert count(sheet, FOR) > 0


def test_the_attention_of_delf_is_shown(finished: Tiny, tmp_path: Path) -> None:
    recipe = make_recipe_file(tmp_path / "delf.toml", DELF)
    run, photo = tmp_path / "run", finished.data / "images" / "q0.jpg"
    tiny = Tiny(finished.data, recipe, run)
    assert cairn("index", *tiny.options).status == 0
    with Recognizer.load(run) as recognizer:
        answer = recognizer.recognize(photo, neighbors=1)
        write_query_figure(recognizer, Photo.of(photo), answer, tmp_path / "delf.png")
        plain = replace(answer, neighbors=())
        write_query_figure(recognizer, Photo.of(photo), plain, tmp_path / "plain.png")
    with Image.open(tmp_path / "delf.png") as sheet:
        # Photo and map side by side: the map has hues that the photo has not.
        left, right = (
            np.asarray(sheet.crop((24 + n * 376, 150, 24 + n * 376 + 300, 400))) for n in (0, 1)
        )
    assert np.abs(left.astype(int) - right).mean() > 5
