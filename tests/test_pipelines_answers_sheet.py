"""The sheet of answers: what spoke for each, marked where it speaks for another."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.reports import answers_sheet
from pipelines.reports.answers_sheet import (
    CAPTION,
    GAP,
    MARGIN,
    SHOWN,
    TILE,
    CaptionedImage,
    draw_answers,
    draw_sheet,
)
from pipelines.reports.page.answers import spread
from tests.conftest import Tiny
from tests.datasets import (
    LANDMARKS,
    QUERIES,
    cairn,
    make_job,
    make_recipe_file,
    options,
    write_table,
)

Rows = list[list[CaptionedImage]]
NAMES = ("Café", "naïve 照片", "Ελλάδα", "Москва", "a\tb", "W" * 90)


def collect(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """Return what would be drawn."""
    drawn: Rows = []

    def keep(rows: Rows, path: Path) -> None:
        drawn.extend(rows)
        path.touch()

    with monkeypatch.context() as patch:
        patch.setattr(answers_sheet, "draw_sheet", keep)
        draw_answers(make_job(tiny.data, tiny.run, tiny.recipe))
    return drawn


def test_the_photos_of_the_answer_are_first_and_the_last_is_of_another(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = collect(tiny, monkeypatch)
    assert len(rows) == len(QUERIES)
    assert sum(row[0].answered is True for row in rows) == LANDMARKS
    for query, *found in rows:
        guess = query.title if query.answered else query.note.partition(" of ")[2]
        assert len(found) == SHOWN
        assert [near.title for near in found[:-1]] == [guess] * (SHOWN - 1)
        assert found[-1].title.startswith("another: Thing ")
        assert guess not in found[-1].title
        if query.answered:
            inliers = [int(near.note.split()[-2]) for near in found[:-1]]
            assert inliers == sorted(inliers, reverse=True)
        assert found[-1].note.endswith(" · not verified")


def test_what_was_refused_and_left_empty_is_shown_by_its_guess(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_recipe_file(tiny.recipe, "[decide]\nrejected = 'empty'\n")
    assert tiny.submit().status == 0
    for query, first, *_ in collect(tiny, monkeypatch):
        if not query.answered:
            assert query.title == "no known landmark"
            assert query.note.endswith(f" of {first.title}")


def test_names_of_any_script_are_drawn(tiny: Tiny) -> None:
    rows = [f"{label},{name}" for label, name in enumerate(NAMES)]
    write_table(tiny.data / "labels.csv", "landmark_id,name", rows)
    draw_answers(make_job(tiny.data, tiny.run, tiny.recipe))
    with Image.open(tiny.run / "answers.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_photos_that_cannot_be_read_are_not_in_the_sample(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny.data / "images" / "q2.jpg").write_bytes(b"nothing")
    command = options(tiny.data, tiny.run, tiny.recipe)
    assert cairn("embed", *command, "--redo").status == 0
    assert tiny.submit().status == 0
    rows = collect(tiny, monkeypatch)
    assert len(rows) == len(QUERIES) - 1
    assert tiny.data / "images" / "q2.jpg" not in [row[0].file for row in rows]


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(1, 10))
def test_a_sample_runs_from_the_surest_to_the_least_sure(
    confidences: list[float], count: int
) -> None:
    rows = spread(confidences, count)
    chosen = [confidences[row] for row in rows]
    assert len(rows) == min(count, len(confidences)) == len(set(rows))
    assert chosen == sorted(chosen, reverse=True)
    if len(rows) > 1:
        assert chosen[0] == max(confidences)
        assert chosen[-1] == min(confidences)


def _save(path: Path, colour: tuple[int, int, int], size: tuple[int, int]) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_each_picture_is_drawn_in_its_place(tmp_path: Path) -> None:
    red = _save(tmp_path / "red.png", (250, 0, 0), (40, 300))
    blue = _save(tmp_path / "blue.png", (0, 0, 250), (900, 30))
    rows = [
        [CaptionedImage(red, "a" * 200, "note", answered=True), CaptionedImage(blue, "Tower", "")]
    ]
    draw_sheet(rows, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] == 2 * MARGIN + TILE[1] + CAPTION + GAP
    middle = MARGIN + TILE[1] // 2
    assert sheet[middle, MARGIN + TILE[0] // 2].tolist() == [250, 0, 0]
    assert sheet[middle, MARGIN + TILE[0] + 3 * GAP + TILE[0] // 2].tolist() == [0, 0, 250]


def test_an_unreadable_image_leaves_a_grey_tile(tmp_path: Path) -> None:
    rows = [[CaptionedImage(tmp_path / "missing.jpg", "", "no answer", answered=False)]]
    draw_sheet(rows, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet[MARGIN + 5, MARGIN + 5].tolist() == [200, 200, 200]
