"""What a caller of Recognizer gives wrong is said, with what it should be, and changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import InputError, NotFoundError
from pipelines import Photo, Recognizer
from pipelines.runs.changes import read_generation
from tests.conftest import Tiny
from tests.journal import write_views

MILL = 50  # a landmark that no dataset here has
NO_NUMBERS = [True, False, np.True_, 1.0, np.float32(2), "1", b"1", 1j, None]


@pytest.fixture(scope="module")
def recognizer(finished: Tiny) -> Recognizer:
    return Recognizer.load(finished.run)


def query(tiny: Tiny, number: int) -> Path:
    return tiny.data / "images" / f"q{number}.jpg"


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4), dtype=np.uint8), ValueError, r"this is uint8 \[4, 4\]"),
        (np.zeros((4, 4, 4), dtype=np.uint8), ValueError, r"this is uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), dtype=np.float32), ValueError, "this is float32"),
        ([7], TypeError, "not int"),
    ],
)
def test_what_is_no_image_is_a_mistake_of_the_caller(
    image: object, error: type[Exception], message: str, recognizer: Recognizer
) -> None:
    with pytest.raises(error, match=message):
        recognizer.recognize(image)  # type: ignore[call-overload]


@pytest.mark.parametrize("label", [-1, 2**53 + 1, 2**64])
def test_labels_beyond_what_tables_hold_are_refused(
    label: int, recognizer: Recognizer, finished: Tiny
) -> None:
    with pytest.raises(InputError, match="a landmark has a number from 0"):
        recognizer.add(query(finished, 0), label=label, name="far")


def test_an_open_file_is_no_list_of_photos(recognizer: Recognizer, finished: Tiny) -> None:
    with (
        query(finished, 0).open("rb") as file,
        pytest.raises(TypeError, match="not BufferedReader"),
    ):
        recognizer.recognize(file)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="not NoneType"):
        recognizer.recognize(None)  # type: ignore[call-overload]


def test_an_engine_that_is_none_is_refused(finished: Tiny) -> None:
    with pytest.raises(InputError, match="there is no engine 'fast'"):
        Recognizer.load(finished.run, engine="fast")


@pytest.mark.parametrize("number", NO_NUMBERS, ids=repr)
def test_what_is_no_whole_number_is_refused_and_changes_nothing(
    number: Any, recognizer: Recognizer, finished: Tiny
) -> None:
    """A bool is an int to Python: remove(True) is a slip, and would remove landmark 1."""
    photo = query(finished, 0)
    calls: list[Callable[[], object]] = [
        lambda: recognizer.remove(number),
        lambda: recognizer.remove([0, number]),
        lambda: recognizer.add(photo, label=number),
        lambda: recognizer.add(photo, label=number, name="Old mill"),
        lambda: recognizer.recognize(photo, neighbors=number),
        lambda: recognizer.neighbors(photo, k=number),
    ]
    before = recognizer.landmarks()
    if number is None:  # add knows it for "not given"
        del calls[2:4]
    for call in calls:
        with pytest.raises(TypeError, match=r"is .*; it is a whole number"):
            call()
    assert recognizer.landmarks() == before and not read_generation(finished.run)


def test_whole_numbers_of_numpy_are_numbers(tiny: Tiny, tmp_path: Path) -> None:
    paths = write_views(tmp_path / "mill", MILL, range(2))
    with Recognizer.load(tiny.run) as recognizer:
        answer = recognizer.recognize(query(tiny, 0), neighbors=np.int64(3))
        assert len(answer.neighbors) == 3
        assert len(recognizer.neighbors(query(tiny, 0), np.uint8(2))) == 2
        recognizer.add([*paths], label=np.int64(40), name="Old mill")
        assert (40, "Old mill") in [(each.label, each.name) for each in recognizer.landmarks()]
        assert recognizer.remove(np.int32(40)).counts == {40: 2}
        assert recognizer.remove(np.array([0, 1])).left == {0: 0, 1: 0}


def test_counts_have_a_least_and_no_most(recognizer: Recognizer, finished: Tiny) -> None:
    photo = query(finished, 0)
    for count in (-1, np.int64(-1), -(10**30)):
        with pytest.raises(ValueError, match=rf"neighbors is {count}; it is 0 or more"):
            recognizer.recognize(photo, neighbors=count)
        with pytest.raises(ValueError, match=rf"k is {count}; it is 1 or more"):
            recognizer.neighbors(photo, count)
    everything = sum(each.photos for each in recognizer.landmarks())
    assert len(recognizer.neighbors(photo, 10**30)) == everything
    assert recognizer.recognize(photo, neighbors=10**30).neighbors
    assert recognizer.recognize(photo, neighbors=0).neighbors == ()


@pytest.mark.parametrize("label", [-1, 777, 2**53 + 1, 2**64, -(10**30)])
def test_a_landmark_that_is_not_there_is_not_removed(label: int, recognizer: Recognizer) -> None:
    with pytest.raises(NotFoundError, match=f"no photo of landmark {label}; the nearest are"):
        recognizer.remove(label)


@pytest.mark.parametrize("ids", [7, [7], Path("q0"), [Path("q0")], [None], [b"q0"]], ids=repr)
def test_ids_are_texts(ids: Any, recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match="an id is a text"):
        recognizer.remove(images=ids)


@pytest.mark.parametrize("name", [7, b"Old mill", ["Old mill"], Path("mill")], ids=repr)
def test_a_name_is_a_text(name: Any, recognizer: Recognizer, finished: Tiny) -> None:
    with pytest.raises(TypeError, match=r"name is .*; it is a text"):
        recognizer.add(query(finished, 0), name=name)


@pytest.mark.parametrize("name", ["", "  ", "\n", "\t \r\n"], ids=repr)
def test_a_name_that_nobody_sees_is_refused(
    name: str, recognizer: Recognizer, finished: Tiny
) -> None:
    with pytest.raises(InputError, match="a name that can be seen"):
        recognizer.add(query(finished, 0), name=name)


def test_a_name_is_kept_on_one_line(tiny: Tiny, tmp_path: Path) -> None:
    first, second = write_views(tmp_path / "mill", MILL, range(2))
    with Recognizer.load(tiny.run) as recognizer:
        (landmark,) = recognizer.add(first, name="Old\nmill").added
        assert landmark.name == "Old mill"
        assert [*recognizer.add(second, name="Old mill").added] == [
            type(landmark)(landmark.label, "Old mill", False)
        ]


@pytest.mark.parametrize(
    ("box", "error", "message"),
    [
        ((0, 0, 9), ValueError, r"not \(0\.0, 0\.0, 9\.0\)"),
        ((0, 0, 9, 9, 9), ValueError, "9.0, 9.0, 9.0"),
        ((0, 0, float("nan"), 9), ValueError, "nan"),
        ((0, 0, float("inf"), 9), ValueError, "inf"),
        ((9, 0, 0, 9), ValueError, r"\(9, 0, 0, 9\) holds no pixel"),
        ((0, 9, 9, 0), ValueError, "holds no pixel"),
        ((5, 5, 5, 9), ValueError, "holds no pixel"),
        ((0.1, 0.1, 0.4, 9), ValueError, r"\(0, 0, 0, 9\) holds no pixel"),
        ((), TypeError, r"not \(\)"),
        (7, TypeError, "not 7"),
        ("0129", TypeError, "not '0129'"),
        ((0, 0, None, 9), TypeError, "None"),
        (np.zeros((2, 2)), TypeError, "array"),
    ],
)
def test_what_is_no_box_is_said(
    box: Any, error: type[Exception], message: str, recognizer: Recognizer, finished: Tiny
) -> None:
    photo = query(finished, 0)
    for call in (lambda: recognizer.recognize(photo, box=box), lambda: Photo.of(photo, box=box)):
        with pytest.raises(error, match="a box is left, top, right and bottom in pixels") as found:
            call()
        assert found.match(message)


@given(st.lists(st.floats() | st.integers() | st.booleans() | st.none() | st.text(), max_size=5))
def test_a_box_is_taken_or_refused_with_what_one_is(box: Any) -> None:
    try:
        taken = Photo.of("photo.jpg", box=box).box
    except (TypeError, ValueError) as error:
        assert str(error).startswith("a box is left, top, right and bottom in pixels")
    else:
        assert taken is not None and taken[0] < taken[2] and taken[1] < taken[3]


def test_a_box_of_numpy_is_one_and_one_outside_is_an_answer(
    recognizer: Recognizer, finished: Tiny
) -> None:
    photo = query(finished, 0)
    expected = recognizer.recognize(photo, box=(2, 0, 60, 50))
    for box in (np.array([2, 0, 60, 50]), np.array([2.2, -0.4, 60.4, 49.6], dtype=np.float32)):
        assert recognizer.recognize(photo, box=box) == expected  # type: ignore[call-overload]
    outside = recognizer.recognize(photo, box=(9000, 0, 9100, 50))
    assert "is outside of an image" in outside.error and outside.label is None
