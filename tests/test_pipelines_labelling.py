"""Which landmark new photos show, by number and name."""

import pytest

from embed.errors import InputError
from pipelines.sources.new_photos import Said
from pipelines.stages.labelling import Landmark, find_landmarks, suggest_near

LABELS, NAMES = (3, 5, 9), {3: "Mill", 5: "Tower", 20: "Gone"}


@pytest.mark.parametrize(
    ("said", "landmark"),
    [
        (Said(3), Landmark(3, "Mill", False)),
        (Said(3, "Mill"), Landmark(3, "Mill", False)),
        (Said(None, "Tower"), Landmark(5, "Tower", False)),
        (Said(9), Landmark(9, None, False)),
        (Said(9, "Arch"), Landmark(9, "Arch", False)),  # it had no name
        (Said(7, "Arch"), Landmark(7, "Arch", True)),
        (Said(None, "Arch"), Landmark(21, "Arch", True)),  # 20 has a name, if no photo
        (Said(None, "Gone"), Landmark(20, "Gone", False)),
        (Said(None, "TOWER"), Landmark(5, "Tower", False)),
        (Said(3, "mill"), Landmark(3, "Mill", False)),
    ],
)
def test_numbers_and_names_are_those_of_the_landmark_or_new(said: Said, landmark: Landmark) -> None:
    assert find_landmarks([said], LABELS, NAMES) == {said: landmark}


def test_several_new_names_take_numbers_of_their_own() -> None:
    said = [Said(None, "A"), Said(None, "B"), Said(None, "A"), Said(30, "C"), Said(None, "D")]
    found = find_landmarks(said, (), {})
    assert [found[each].label for each in said] == [0, 1, 0, 30, 31]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Said(7), "no landmark 7.*--name"),
        (Said(3, "Tower"), "landmark 3 is called Mill, not Tower"),
        (Said(7, "Tower"), "Tower is landmark 5, not 7"),
        (Said(9, "Tower"), "Tower is landmark 5, not 9"),
        (Said(None, "_none"), "list them in non_landmark.csv"),
    ],
)
def test_what_does_not_go_together_is_refused(said: Said, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_landmarks([said], LABELS, NAMES)


def test_two_names_of_one_new_number_are_refused() -> None:
    with pytest.raises(InputError, match="landmark 7 is called A, not B"):
        find_landmarks([Said(7, "A"), Said(7, "B")], LABELS, NAMES)


def test_the_nearest_numbers_are_named() -> None:
    assert suggest_near(6, LABELS, NAMES) == "the nearest are 5 (Tower), 3 (Mill), 9"


def test_names_in_other_letters_are_those_that_are_known_or_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = [Said(None, "arch"), Said(None, "Arch")]
    found = find_landmarks(said, LABELS, NAMES)
    assert {found[each].label for each in said} == {21}
    assert "Arch is taken for arch" in caplog.text
    both = {1: "Mill", 2: "MILL"}
    assert find_landmarks([Said(None, "MILL")], (1, 2), both)[Said(None, "MILL")].label == 2
    with pytest.raises(InputError, match="mill may be Mill or MILL; write it as one of them"):
        find_landmarks([Said(None, "mill")], (1, 2), both)


def test_no_number_is_above_the_largest() -> None:
    largest = 2**53
    said = [Said(name="A"), Said(name="B")]
    found = find_landmarks(said, (0, largest), {})
    assert [each.label for each in found.values()] == [1, 2]
