"""Many photos are answered in order, in small groups, while few pixels are held."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from embed.decode import DecodedImage
from embed.errors import InputError
from pipelines.answers import streaming
from pipelines.answers.answer import Answer
from pipelines.answers.named_photos import NamedPhoto
from pipelines.answers.photo import Photo
from pipelines.answers.streaming import AHEAD, TOGETHER, stream_answers

SIDE = 10  # pixels of a photo here: 300 bytes


def decode(name: NamedPhoto) -> Photo:
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    return Photo(DecodedImage(pixels, (SIDE, SIDE)), str(name))


def answer(photos: Sequence[Photo]) -> list[Answer]:
    return [Answer(photo.name, reason="none") for photo in photos]


def names(count: int) -> list[NamedPhoto]:
    return [Path(str(number)) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 100])
@pytest.mark.parametrize("threads", [1, 5])
def test_answers_come_in_the_order_of_the_photos(count: int, threads: int) -> None:
    found = stream_answers(names(count), decode, answer, threads=threads)
    assert [each.image for each in found] == [str(name) for name in names(count)]


def test_the_first_answer_is_there_before_others_are_asked_for() -> None:
    sizes: list[int] = []

    def note(photos: list[Photo]) -> list[Answer]:
        sizes.append(len(photos))
        return answer(photos)

    found = stream_answers(names(60), decode, note, threads=2)
    next(found)
    assert sizes == [1]
    assert len(list(found)) == 59
    assert sizes[:5] == [1, 2, 4, 8, 16]
    assert max(sizes) == TOGETHER


def test_a_photo_that_cannot_be_had_is_an_answer_in_its_place() -> None:
    def some(name: NamedPhoto) -> Photo:
        if int(str(name)) % 3 == 0:
            raise InputError(f"{name} is broken")
        return decode(name)

    found = list(stream_answers(names(20), some, answer, threads=3))
    assert [each.error for each in found] == [
        f"{number} is broken" if number % 3 == 0 else "" for number in range(20)
    ]


def test_photos_are_decoded_while_others_are_answered() -> None:
    ahead = threading.Event()

    def note(name: NamedPhoto) -> Photo:
        if str(name) == "5":
            ahead.set()
        return decode(name)

    def wait(photos: list[Photo]) -> list[Answer]:
        assert ahead.wait(30)  # photo 5 is decoded before photo 0 is answered
        return answer(photos)

    assert len(list(stream_answers(names(6), note, wait, threads=2))) == 6


@pytest.mark.parametrize("threads", [1, 4])
def test_few_pixels_are_held_however_many_photos_there_are(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = SIDE * SIDE * 3
    monkeypatch.setattr(streaming, "HELD", 6 * size)
    monkeypatch.setattr(streaming, "GROUP", 3 * size)
    lock, decoded, done, most = threading.Lock(), 0, 0, 0

    def count(name: NamedPhoto) -> Photo:
        nonlocal decoded, most
        with lock:
            decoded += 1
            most = max(most, decoded - done)
        return decode(name)

    sizes = []

    def note(photos: list[Photo]) -> list[Answer]:
        sizes.append(len(photos))
        return answer(photos)

    for _ in stream_answers(names(200), count, note, threads=threads):
        with lock:
            done += 1
    assert max(sizes) <= 3
    # What is held, one more a thread, the group being answered and the one that is waited for.
    assert most <= 6 + threads + 3 + 1
    assert done == 200


def test_who_stops_early_leaves_no_thread_behind() -> None:
    before, decoded = threading.active_count(), []

    def count(name: NamedPhoto) -> Photo:
        decoded.append(name)
        return decode(name)

    found = stream_answers(names(1000), count, answer, threads=3)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(decoded) <= AHEAD + 2


def test_a_fault_ends_the_stream() -> None:
    def fail(name: NamedPhoto) -> Photo:
        raise ZeroDivisionError(str(name))

    with pytest.raises(ZeroDivisionError):
        list(stream_answers(names(5), fail, answer, threads=2))
