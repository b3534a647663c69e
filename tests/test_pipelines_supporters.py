"""What speaks for an answer stands first, and chance is no evidence."""

from dataclasses import dataclass

import pytest

from pipelines.answers.supporters import format_inliers, name_landmark, order_supporters
from rerank.geometry import CHANCE_INLIERS, is_verified


@dataclass(frozen=True)
class Photo:
    """A database photo."""

    label: int
    similarity: float
    inliers: int | None = None


TOWER, CASTLE, TEMPLE = 1, 2, 3
FEW = CHANCE_INLIERS
FOUND = (
    Photo(CASTLE, 0.9, 60),
    Photo(TOWER, 0.8, FEW),  # more similar than the next, and both by chance
    Photo(TOWER, 0.7, FEW - 2),
    Photo(TEMPLE, 0.75, FEW),
    Photo(TOWER, 0.5, 30),
    Photo(TOWER, 0.4),  # not compared
)
TOWERS = [FOUND[4], FOUND[1], FOUND[2], FOUND[5]]


def test_the_answer_is_shown_first_and_the_strongest_first() -> None:
    assert order_supporters(FOUND, TOWER) == [*TOWERS, FOUND[0], FOUND[3]]
    assert order_supporters(FOUND, CASTLE)[0] == FOUND[0]
    assert order_supporters(FOUND, None)[:2] == [FOUND[0], FOUND[4]]
    assert order_supporters((), TOWER, 4) == []


@pytest.mark.parametrize(
    ("label", "count", "expected"),
    [
        (TOWER, 0, []),
        (TOWER, 1, TOWERS[:1]),
        (TOWER, 2, [TOWERS[0], FOUND[0]]),
        (TOWER, 4, [*TOWERS[:3], FOUND[0]]),
        (TOWER, 100, [*TOWERS, FOUND[0], FOUND[3]]),
        (TEMPLE, 3, [FOUND[3], FOUND[0], FOUND[4]]),
        (None, 2, [FOUND[0], FOUND[4]]),
    ],
)
def test_the_last_place_is_for_another_landmark(
    label: int | None, count: int, expected: list[Photo]
) -> None:
    assert order_supporters(FOUND, label, count) == expected


def test_where_all_show_the_answer_all_places_are_its() -> None:
    assert order_supporters(FOUND[1:3], TOWER, 2) == list(FOUND[1:3])


def test_another_landmark_is_marked_as_such() -> None:
    assert name_landmark(FOUND[0], TOWER, "castle") == "another: castle"
    assert name_landmark(FOUND[0], CASTLE, "castle") == "castle"
    assert name_landmark(FOUND[0], None, "castle") == "castle"


def test_inliers_at_the_level_of_chance_are_not_evidence() -> None:
    assert [is_verified(inliers) for inliers in (None, -1, 0, FEW, FEW + 1)] == [False] * 4 + [True]
    assert format_inliers(FEW) == "not verified"
    assert format_inliers(FEW + 1) == f"{FEW + 1} inliers"
    assert format_inliers(None) == ""
