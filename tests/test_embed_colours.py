"""Colours change by matrices: what they do is compared with pixels that are changed one by one."""

import colorsys

import numpy as np
import pytest

from embed.colours import (
    LUMA,
    SAME,
    recolour,
    scale_brightness,
    scale_contrast,
    scale_saturation,
    turn_hue,
)
from tests.images import photo

IMAGE = photo(32, 48, seed=1)
MEAN = IMAGE.reshape(-1, 3).mean(axis=0)


def test_factors_of_1_and_whole_turns_change_nothing() -> None:
    for same in (
        scale_brightness(SAME, 1),
        scale_contrast(SAME, 1, MEAN),
        scale_saturation(SAME, 1),
        turn_hue(SAME, 0),
    ):
        np.testing.assert_array_equal(same, SAME)
        assert recolour(IMAGE, same) is IMAGE
    for turns in (1, -1):
        np.testing.assert_array_equal(recolour(IMAGE, turn_hue(SAME, turns)), IMAGE)


@pytest.mark.parametrize("thirds", [1, 2])
def test_a_third_of_a_turn_is_that_of_hsv(thirds: int) -> None:
    red, green, blue = (IMAGE[0, :8] / 255).reshape(-1, 3).T
    expected = []
    for pixel in zip(red, green, blue, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected.append(colorsys.hsv_to_rgb((hue + thirds / 3) % 1, saturation, value))
    found = recolour(IMAGE, turn_hue(SAME, thirds / 3))
    np.testing.assert_allclose(found[0, :8] / 255, expected, atol=1.5 / 255)


def test_hue_leaves_greys_and_turns_back() -> None:
    grey = np.full((4, 4, 3), 90, np.uint8)
    np.testing.assert_array_equal(recolour(grey, turn_hue(SAME, 0.05)), grey)
    np.testing.assert_allclose(turn_hue(turn_hue(SAME, 0.05), -0.05), SAME, atol=1e-12)


def test_no_saturation_is_luma_and_no_contrast_the_mean_luma() -> None:
    grey = recolour(IMAGE, scale_saturation(SAME, 0))
    np.testing.assert_allclose(grey, np.repeat((IMAGE @ LUMA)[..., None], 3, axis=2), atol=1)
    flat = recolour(IMAGE, scale_contrast(scale_brightness(SAME, 0.5), 0, MEAN))
    np.testing.assert_allclose(flat, np.full_like(IMAGE, round(LUMA @ MEAN / 2)), atol=1)


def test_composed_changes_are_those_made_one_after_the_other() -> None:
    steps = scale_contrast(scale_brightness(SAME, 0.8), 0.7, MEAN)
    steps = turn_hue(scale_saturation(steps, 1.3), 0.04)
    slow = 0.8 * IMAGE
    slow = 0.7 * slow + 0.3 * (slow @ LUMA).mean()
    slow = 1.3 * slow - 0.3 * (slow @ LUMA)[..., None]
    slow = slow @ turn_hue(SAME, 0.04)[:, :3].T
    found = recolour(IMAGE, steps).astype(float)
    assert np.abs(found - slow.clip(0, 255)).max() <= 1.5


def test_values_are_cut_off_not_wrapped() -> None:
    bright = recolour(np.full((2, 2, 3), 200, np.uint8), scale_brightness(SAME, 1.4))
    assert (bright == 255).all()
