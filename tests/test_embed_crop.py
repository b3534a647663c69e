"""Boxes are cut to the image, and a part is the same part at any scale."""

from typing import Any

import numpy as np
import pytest

from embed.crop import crop, fit_box
from embed.decode import DecodedImage


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 9.6, 20.0), (0, 0, 10, 20)),
        ((0.5, 1.5, 8.0, 9.0), (0, 2, 8, 9)),
        ((-3.0, 2.0, 500.0, 600.0), (0, 2, 30, 20)),
    ],
)
def test_boxes_are_cut_to_the_image(box: Any, expected: tuple[int, ...]) -> None:
    assert fit_box(box, (30, 20)) == expected


@pytest.mark.parametrize("box", [(30.0, 0.0, 40.0, 20.0), (-9.0, 0.0, -1.0, 5.0), (1, 1, 1.4, 9)])
def test_a_box_outside_of_the_image_is_refused(box: Any) -> None:
    with pytest.raises(ValueError, match="is outside of an image of 30 x 20 pixels"):
        fit_box(box, (30, 20))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_part_is_the_same_at_any_scale(scale: int) -> None:
    whole = np.zeros((40, 60, 3), dtype=np.uint8)
    whole[8:24, 12:36] = 200
    image = DecodedImage(np.ascontiguousarray(whole[::scale, ::scale]), (60, 40))
    part = crop(image, (12, 8, 36, 24))
    assert part.original_size == (24, 16)
    assert part.pixels.shape == (16 // scale, 24 // scale, 3) and (part.pixels == 200).all()


def test_the_smallest_part_has_a_pixel() -> None:
    image = DecodedImage(np.zeros((2, 2, 3), dtype=np.uint8), (100, 100))
    for box in ((0, 0, 1, 1), (99, 99, 100, 100), (49, 49, 51, 51)):
        assert min(crop(image, box).pixels.shape) >= 1
