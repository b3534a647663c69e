"""How pages are laid out."""

import pytest

from pipelines.reports.page.records import Report, Tile
from pipelines.reports.page.render import count_columns, render


@pytest.mark.parametrize("most", [3, 4, 6])
def test_no_tile_stands_alone_in_a_row_of_three_and_more(most: int) -> None:
    for tiles in range(2, 60):
        columns = count_columns(tiles, most)
        assert 1 < columns <= most
        assert columns == 2 or tiles % columns != 1


def test_seven_tiles_are_four_above_three() -> None:
    tiles = (Tile("GAP", "0.9", ""),) * 7
    page = Report("run", (), tiles, None, "", (), (), (), ())
    assert "--wide: 4; --narrow: 2" in render("report", page)
