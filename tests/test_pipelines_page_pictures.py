"""Pictures of a page: lines end where the keypoints are, and nothing breaks on odd sizes."""

import base64
import io
import math

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipelines.reports.page.pairs import PagePhoto, count_lines, draw_compared
from pipelines.reports.page.pictures import (
    GUTTER,
    LINES,
    PAIR_BOX,
    draw_matches,
    draw_pair,
    placeholder,
    to_data_uri,
)
from pipelines.tiles import fit_tile
from rerank.features import LocalFeatures
from rerank.geometry import CHANCE_INLIERS, Verification

SIZE0, SIZE1 = (640, 480), (300, 400)  # width, height of the original images


def black(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.zeros((height, width, 3), dtype=np.uint8)


def make_features(points: npt.NDArray[np.float32], size: tuple[int, int]) -> LocalFeatures:
    ones = np.ones(len(points), dtype=np.float32)
    return LocalFeatures(points, np.ones((len(points), 4), np.float32), ones, ones, size)


def make_verification(inliers: list[bool]) -> Verification:
    """Return matches of row 0 with 0, 1 with 1, and so on."""
    rows = np.arange(len(inliers))
    found = np.array(inliers, dtype=bool)
    transform, residual = (np.eye(3), 1.0) if found.any() else (None, math.nan)
    return Verification(np.stack([rows, rows], axis=1), found, transform, residual)


def draw(
    points0: npt.NDArray[np.float32],
    points1: npt.NDArray[np.float32],
    inliers: list[bool],
    scale: float = 1.0,
) -> npt.NDArray[np.uint8]:
    """Draw black photos at a scale of their original size, lines alone are bright."""
    pixels0, pixels1 = (black(round(w * scale), round(h * scale)) for w, h in (SIZE0, SIZE1))
    features0, features1 = make_features(points0, SIZE0), make_features(points1, SIZE1)
    verification = make_verification(inliers)
    return np.asarray(draw_matches(pixels0, pixels1, features0, features1, verification))


def random_points(count: int, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(count)
    return (rng.uniform(0.1, 0.9, (count, 2)) * size).astype(np.float32)


@pytest.mark.parametrize("scale", [0.25, 1.0, 1.5])
def test_a_line_ends_at_both_keypoints(scale: float) -> None:
    # The middles of the photos: at a height of 260, these are 347 and 195 pixels wide.
    points0 = np.array([[319.5, 239.5]], dtype=np.float32)
    points1 = np.array([[149.5, 199.5]], dtype=np.float32)
    drawn = draw(points0, points1, [True], scale)
    assert drawn.shape == (260, 347 + GUTTER + 195, 3)
    lines = drawn.astype(int).max(axis=2)
    lines[:, 347 : 347 + GUTTER] = 0
    columns = np.flatnonzero(lines.max(axis=0) > 60)
    assert columns.min() == pytest.approx(173 - 2, abs=1)  # dots have a radius of 2
    assert columns.max() == pytest.approx(347 + GUTTER + 97 + 2, abs=1)
    rows = np.flatnonzero(lines.max(axis=1) > 60)
    assert (rows.min(), rows.max()) == pytest.approx((127.5, 131.5), abs=1)


def test_only_inliers_are_drawn() -> None:
    points0, points1 = random_points(6, SIZE0), random_points(6, SIZE1)
    some = [True, False, True, True, False, False]
    kept = np.flatnonzero(some)
    expected = draw(points0[kept], points1[kept], [True] * 3)
    assert np.array_equal(draw(points0, points1, some), expected)


def test_without_inliers_it_is_the_bare_pair() -> None:
    points0, points1 = random_points(3, SIZE0), random_points(3, SIZE1)
    bare = np.asarray(draw_pair(black(*SIZE0), black(*SIZE1)))
    assert np.array_equal(draw(points0, points1, [False] * 3), bare)
    nothing = np.empty((0, 2), dtype=np.float32)
    assert np.array_equal(draw(nothing, nothing, []), bare)


def test_of_many_inliers_some_are_drawn_from_top_to_bottom() -> None:
    count = 5 * LINES
    heights = np.linspace(10, 470, count)
    points0 = np.stack([np.full(count, 320.0), heights], axis=1).astype(np.float32)
    points1 = np.stack([np.full(count, 150.0), heights * 400 / 480], axis=1).astype(np.float32)
    lines = draw(points0, points1, [True] * count)[:, 250].max(axis=1) > 60
    starts = np.flatnonzero(lines[1:] & ~lines[:-1])
    assert len(starts) == LINES
    assert starts.min() < 10
    assert starts.max() > 250


@pytest.mark.parametrize(("count", "lines"), [(CHANCE_INLIERS, False), (CHANCE_INLIERS + 1, True)])
def test_matches_at_the_level_of_chance_are_not_drawn(count: int, lines: bool) -> None:
    query = PagePhoto(black(*SIZE0), make_features(random_points(count, SIZE0), SIZE0))
    other = PagePhoto(black(*SIZE1), make_features(random_points(count, SIZE1), SIZE1))
    found = make_verification([True] * count)
    drawn = np.asarray(draw_compared(query, other, found))
    bare = np.asarray(draw_pair(black(*SIZE0), black(*SIZE1)))
    assert np.array_equal(drawn, bare) != lines
    assert count_lines(found) == (f", {count} matches drawn as lines" if lines else "")


def test_photos_keep_their_pixels_beside_the_lines() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (260, 260, 3), dtype=np.uint8)
    drawn = np.asarray(draw_pair(pixels, pixels[::-1]))
    assert np.array_equal(drawn[:, :260], pixels)
    assert np.array_equal(drawn[:, 260 + GUTTER :], pixels[::-1])


@pytest.mark.parametrize("size", [(1, 1), (3000, 10), (10, 3000), (1, 999)])
def test_odd_sizes_fit_their_box(size: tuple[int, int]) -> None:
    width, height = fit_tile(Image.fromarray(black(*size)), PAIR_BOX).size
    assert 1 <= width <= PAIR_BOX[0]
    assert 1 <= height <= PAIR_BOX[1]
    pair = draw_pair(black(*size), black(*SIZE0))
    assert pair.height <= PAIR_BOX[1]
    assert pair.width == width + GUTTER + 347


def test_a_data_uri_holds_the_picture_and_is_always_the_same() -> None:
    image = Image.fromarray(placeholder())
    uri = to_data_uri(image)
    assert uri == to_data_uri(image)
    kind, content = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as decoded:
        assert decoded.size == image.size
        error = np.asarray(decoded).astype(int) - np.asarray(image)
    assert np.abs(error).mean() < 5
