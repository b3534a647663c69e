"""Photos that wait are recognised together, each once, and none suffers from another."""

import threading
import time
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from pipelines.answers.answer import Answer
from pipelines.answers.photo import Photo
from pipelines.serve import batching
from pipelines.serve.batching import LARGE, MOST_PIXELS, Batcher, Busy
from pipelines.serve.sizes import Upload, read_sides
from tests.datasets import view
from tests.test_pipelines_serve_api import encode


class FakeRecognizer:
    """Waits to be let on, and answers with the name of the photo."""

    def __init__(self) -> None:
        """Begin without questions."""
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[str]] = []

    def recognize(self, photos: Any, *, neighbors: int) -> Any:
        """Answer as a Recognizer does."""
        several = photos if isinstance(photos, list) else [photos]
        self.begun.set()
        assert self.go_on.wait(30)
        self.batches.append([photo.name for photo in several])
        if any(photo.name == "broken" for photo in several):
            raise RuntimeError("broken")
        answers = [Answer(photo.name, neighbors, "x") for photo in several]
        return answers if isinstance(photos, list) else answers[0]


@pytest.fixture
def fake() -> FakeRecognizer:
    return FakeRecognizer()


@pytest.fixture
def batcher(fake: FakeRecognizer) -> Any:
    made = Batcher(fake, 40, 1000.0, lambda photos: None)  # type: ignore[arg-type]
    put(made, "first")
    assert fake.begun.wait(30)
    yield made
    fake.go_on.set()
    made.stop()


def put(batcher: Batcher, name: str, size: int = 0, neighbors: int = 5) -> Future[Answer]:
    (future,) = batcher.recognize([Upload(Photo.of(b"", name), size)], neighbors)
    return future


def finish(fake: FakeRecognizer, futures: list[Future[Answer]]) -> list[str]:
    fake.go_on.set()
    return [future.result(30).image for future in futures]


def test_what_waits_is_asked_about_together(batcher: Batcher, fake: FakeRecognizer) -> None:
    names = [str(number) for number in range(20)]
    assert finish(fake, [put(batcher, name) for name in names]) == names
    assert fake.batches == [["first"], names[:16], names[16:]]


def test_those_who_want_as_many_neighbours_go_together(
    batcher: Batcher, fake: FakeRecognizer
) -> None:
    wanted = {"a": 5, "b": 0, "c": 5, "d": 0}
    finish(fake, [put(batcher, name, neighbors=count) for name, count in wanted.items()])
    assert fake.batches == [["first"], ["a", "c"], ["b", "d"]]


def test_large_photos_do_not_fill_the_memory(batcher: Batcher, fake: FakeRecognizer) -> None:
    size = MOST_PIXELS // 2 + 1
    finish(fake, [put(batcher, "a", size), put(batcher, "b", size), put(batcher, "c", 10)])
    assert fake.batches == [["first"], ["a", "c"], ["b"]]


def test_memory_of_large_photos_is_given_back_when_nothing_waits(
    batcher: Batcher, fake: FakeRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(batching, "give_back_memory", lambda: given.append(len(fake.batches)))
    futures = [put(batcher, "a", LARGE + 1), put(batcher, "b", 10, neighbors=0)]
    asked = batcher.ask(lambda recognizer: "asked", LARGE + 1)
    finish(fake, futures)
    asked.result(30)
    put(batcher, "c", LARGE).result(30)  # few enough to be kept
    batcher.stop()
    assert given == [3]  # after "first", "a" and "b"


def test_one_that_fails_fails_alone(batcher: Batcher, fake: FakeRecognizer) -> None:
    futures = [put(batcher, name) for name in ("a", "broken", "b")]
    fake.go_on.set()
    assert [futures[at].result(30).image for at in (0, 2)] == ["a", "b"]
    with pytest.raises(RuntimeError, match="broken"):
        futures[1].result(30)


def test_whoever_gave_up_is_not_asked_about(batcher: Batcher, fake: FakeRecognizer) -> None:
    futures = [put(batcher, name) for name in ("a", "b")]
    assert futures[0].cancel()
    assert finish(fake, futures[1:]) == ["b"]
    assert fake.batches == [["first"], ["b"]]
    with pytest.raises(CancelledError):
        futures[0].result()


def test_a_queue_takes_whole_requests_or_none(batcher: Batcher, fake: FakeRecognizer) -> None:
    uploads = [Upload(Photo.of(b"", str(number)), 0) for number in range(30)]
    futures = batcher.recognize(uploads, 5)
    with pytest.raises(Busy):
        batcher.recognize(uploads[:11], 5)
    assert batcher.waiting == 30
    batcher.recognize(uploads[:10], 5)
    finish(fake, futures)


def test_whoever_would_wait_too_long_is_refused(fake: FakeRecognizer) -> None:
    batcher = Batcher(fake, 40, 0.5, lambda photos: None)  # type: ignore[arg-type]
    slow = put(batcher, "slow")
    time.sleep(0.3)  # that a photo takes, or more
    fake.go_on.set()
    slow.result(30)
    fake.go_on.clear()
    fake.begun.clear()
    futures = [put(batcher, "a")]
    assert fake.begun.wait(30)
    futures.append(put(batcher, "b"))  # nothing waits
    with pytest.raises(Busy):
        put(batcher, "c")  # it would be the third
    assert finish(fake, futures) == ["a", "b"]
    batcher.stop()


def test_the_end_answers_what_was_accepted(fake: FakeRecognizer) -> None:
    batcher = Batcher(fake, 40, 1000.0, lambda photos: None)  # type: ignore[arg-type]
    futures = [put(batcher, str(number)) for number in range(20)]
    asked = batcher.ask(lambda recognizer: "asked")
    stopping = threading.Thread(target=batcher.stop)
    fake.go_on.set()
    stopping.start()
    stopping.join(30)
    assert [future.result(0).image for future in futures] == [str(number) for number in range(20)]
    assert asked.result(0) == "asked"
    with pytest.raises(Busy):
        put(batcher, "late")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_sides_are_read_from_the_head(kind: str) -> None:
    data = encode(view(0, 0)[:, :60], kind)
    assert read_sides(data) == (60, 96)
    assert [read_sides(data[:size]) for size in (0, 8, 20)] == [(0, 0)] * 3


def test_a_jpeg_takes_less_memory_than_it_has_pixels() -> None:
    large = 40_000_000
    assert Upload(Photo.of(b"\xff\xd8\xff", "a"), large).pixels < large / 5
    assert Upload(Photo.of(b"\x89PNG", "a"), large).pixels == large
