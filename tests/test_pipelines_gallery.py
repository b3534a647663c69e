"""The sample of answers: who is in it, and that it can always be drawn."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.reports.gallery import CAPTION, GAP, MARGIN, TILE, Picture, draw_gallery, spread


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
    rows = [[Picture(red, "a" * 200, "note", answered=True), Picture(blue, "Tower", "")]]
    draw_gallery(rows, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] == 2 * MARGIN + TILE[1] + CAPTION + GAP
    middle = MARGIN + TILE[1] // 2
    assert sheet[middle, MARGIN + TILE[0] // 2].tolist() == [250, 0, 0]
    assert sheet[middle, MARGIN + TILE[0] + 3 * GAP + TILE[0] // 2].tolist() == [0, 0, 250]


def test_an_unreadable_image_leaves_a_grey_tile(tmp_path: Path) -> None:
    rows = [[Picture(tmp_path / "missing.jpg", "", "no answer", answered=False)]]
    draw_gallery(rows, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet[MARGIN + 5, MARGIN + 5].tolist() == [200, 200, 200]
