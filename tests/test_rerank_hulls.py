"""Parts of a photo: what lies within the hulls of inliers, and what shows something else."""

import numpy as np
import pytest

from rerank.geometry import CHANCE_INLIERS, Verification
from rerank.hulls import bounding_box, convex_hull, inlier_points, is_apart, mark_within

SQUARE = np.array([[0, 0], [100, 0], [100, 100], [0, 100], [50, 50]], dtype=np.float32)


def points(count: int, left: float, right: float) -> np.ndarray:
    """Draw points of the rows 10 to 90 between two columns."""
    rng = np.random.default_rng(count)
    return rng.uniform((left, 10), (right, 90), (count, 2)).astype(np.float32)


def test_a_hull_has_no_inner_point_and_holds_all() -> None:
    hull = convex_hull(SQUARE)
    assert sorted(hull.tolist()) == sorted(SQUARE[:4].tolist())
    assert mark_within(SQUARE, [hull]).all()


def test_inside_of_any_hull_is_within() -> None:
    asked = np.array([[50, 20], [150, 20], [350, 50]], dtype=np.float32)
    hulls = [convex_hull(SQUARE), convex_hull(SQUARE + np.array([300, 0], dtype=np.float32))]
    assert mark_within(asked, hulls).tolist() == [True, False, True]
    assert mark_within(asked, []).tolist() == [False] * 3
    assert mark_within(asked[:0], hulls).shape == (0,)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_and_points_on_a_line_have_a_hull(count: int) -> None:
    line = np.array([[0, 0], [10, 10], [20, 20]], dtype=np.float32)[:count]
    assert mark_within(line, [convex_hull(line)]).all()


def test_a_box_is_around_its_points() -> None:
    assert bounding_box(np.array([[3.2, 8.0], [9.7, 4.5]], dtype=np.float32)) == (3, 4, 10, 8)


def test_inliers_are_those_of_the_query() -> None:
    matches = np.array([[4, 0], [2, 1], [0, 2]])
    inliers = np.array([True, False, True])
    found = Verification(matches, inliers, np.eye(3), 1.0)
    assert inlier_points(SQUARE, found).tolist() == [[50, 50], [0, 0]]


def test_another_part_is_apart_and_the_same_part_is_not() -> None:
    hulls = [convex_hull(SQUARE)]
    assert is_apart(points(20, 120, 200), hulls)
    assert not is_apart(points(20, 10, 90), hulls)


def test_a_quarter_of_the_inliers_may_be_shared() -> None:
    hulls = [convex_hull(SQUARE)]
    outside = points(30, 120, 200)
    assert is_apart(np.concatenate([outside, points(10, 10, 90)]), hulls)
    assert not is_apart(np.concatenate([outside, points(11, 10, 90)]), hulls)


def test_chance_outside_is_nothing_there() -> None:
    hulls = [convex_hull(SQUARE)]
    assert not is_apart(points(CHANCE_INLIERS, 120, 200), hulls)
    assert is_apart(points(CHANCE_INLIERS + 1, 120, 200), hulls)
