"""Tiles: every photo of every size has one."""

from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from pipelines.reports.answers_sheet import TILE
from pipelines.tiles import fill_tile, fit_tile

LONGEST = 5000  # pixels


class Sized:
    """Stands for an image of a size, of which only the part that is cut matters."""

    mode = "RGB"

    def __init__(self, size: tuple[int, int]) -> None:
        """Have a width and a height."""
        self.size = size

    def resize(self, size: tuple[int, int], _: object, box: tuple[float, ...]) -> "Sized":
        """Refuse what Pillow does, which reads the box as 32-bit floats."""
        left, top, right, bottom = np.array(box, dtype=np.float32).tolist()
        assert left >= 0 and top >= 0 and right <= self.size[0] and bottom <= self.size[1]
        assert right > left and bottom > top
        return Sized(size)


@pytest.mark.parametrize("other", [1, 16, 540, LONGEST])
@pytest.mark.parametrize("turned", [False, True])
def test_a_tile_is_cut_inside_a_photo_of_any_size(other: int, turned: bool) -> None:
    for side in range(1, LONGEST + 1):
        image = cast(Any, Sized((other, side) if turned else (side, other)))
        assert fill_tile(image, TILE).size == TILE
        fill_tile(image, (224, 168), height=0.4)


@pytest.mark.parametrize(
    "size", [(1, 1), (180, 300), (360, 640), (720, 1280), (16, LONGEST), (LONGEST, 16)]
)
def test_photos_fill_their_tile_and_fit_their_box(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (9, 99, 199))
    tile = fill_tile(image, TILE)
    assert tile.size == TILE
    assert (np.asarray(tile) == (9, 99, 199)).all()
    small = fit_tile(image, (200, 100))
    assert 1 <= small.width <= 200 and 1 <= small.height <= 100


def test_the_middle_of_a_photo_is_shown() -> None:
    stripes = np.repeat(np.arange(250, dtype=np.uint8)[None], 50, axis=0)
    shown = np.asarray(fill_tile(Image.fromarray(stripes), (50, 50)))
    assert shown.min() == 100 and shown.max() == 149
    shown = np.asarray(fill_tile(Image.fromarray(stripes.T.copy()), (50, 50), height=0.0))
    assert shown.min() == 0 and shown.max() == 49
