"""One warp: points go where the changes say, and nothing is resampled that need not be."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.transforms import resize_image
from embed.warp import CORNERS, SAME, Matrix, move_corners, rotate, transform, warp
from tests.images import photo

IMAGE = photo(90, 120, seed=2)


def spot(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (x, y) of the middle of what is bright, in the square from -1 to 1."""
    weights = image[..., 0].astype(float)
    side = len(image)
    places = (np.arange(side) + 0.5) / side * 2 - 1
    middle = np.array([weights.sum(axis=0) @ places, weights.sum(axis=1) @ places])
    return np.asarray(middle / weights.sum())


@pytest.mark.parametrize(
    "changes",
    [
        rotate(20),
        rotate(-90),
        transform(0.1, -0.2, 0.8, 0),
        transform(0, 0, 1, 15),
        move_corners(np.array([[0.3, 0.1], [0, 0.2], [0.1, 0], [0.2, 0.3]])),
        transform(0.1, 0, 0.9, 5) @ rotate(10),
    ],
)
@pytest.mark.parametrize("side", [50, 100, 220])
def test_a_spot_goes_where_the_matrix_says(changes: Matrix, side: int) -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[56:64, 146:158] = 255  # middle at (152, 60): (0.3, -0.5) of the box
    box = image[20:180, 100:180]
    start = np.array([(152 - 100) / 40 - 1, (60 - 20) / 80 - 1, 1])
    expected = changes @ start
    found = spot(warp(box, changes, side))
    np.testing.assert_allclose(found, expected[:2] / expected[2], atol=0.02)


def test_no_change_resizes_as_for_inference() -> None:
    np.testing.assert_array_equal(warp(IMAGE, SAME, 40), resize_image(IMAGE, 40))


def test_turned_there_and_back_is_nearly_the_image() -> None:
    square = photo(64, 64)
    same = warp(square, rotate(-30) @ rotate(30), 64)
    np.testing.assert_allclose(same.astype(int), square, atol=1)
    np.testing.assert_array_equal(warp(square, rotate(90), 64), np.rot90(square, -1))


def test_beyond_the_image_is_black() -> None:
    turned = warp(np.full((90, 120, 3), 200, np.uint8), rotate(45), 50)
    assert (turned[0, 0] == 0).all() and (turned[25] == 200).all()


def test_what_shrinks_much_is_averaged() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 255  # two of four columns
    found = warp(stripes, rotate(1e-6), 100)
    assert np.abs(found[2:-2, 2:-2].astype(int) - 128).max() <= 2


def test_corners_move_inwards_by_shares_of_the_half_side() -> None:
    inwards = np.array([[0.2, 0.4], [0.1, 0], [0, 0.3], [0.5, 0.5]])
    corners = np.column_stack([CORNERS, np.ones(4)]) @ move_corners(inwards).T
    np.testing.assert_allclose(corners[:, :2] / corners[:, 2:], CORNERS * (1 - inwards), atol=1e-6)
    np.testing.assert_allclose(move_corners(np.zeros((4, 2))), SAME, atol=1e-7)
