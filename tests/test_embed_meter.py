"""The meter tells what holds a pipeline up: the part that its slowest thread waits for."""

from collections.abc import Iterator

import pytest

from embed.meter import Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("embed.meter.time.perf_counter", lambda: now[0])
    return now


def test_waiting_counts_for_what_the_threads_do(clock: list[float]) -> None:
    meter = Meter()

    def load() -> Iterator[int]:
        for part, seconds in (("reading", 1.0), ("decoding", 3.0)):
            with meter.working(part):  # type: ignore[arg-type]
                clock[0] += seconds
        yield 1

    for _ in meter.awaited(load()):
        with meter.held_up("model"):
            clock[0] += 2.0
    assert meter.shares() == {"decoding": 0.5, "model": 2 / 6, "reading": 1 / 6}
    assert next(iter(meter.shares())) == "decoding"


def test_work_that_is_never_waited_for_holds_nothing_up(clock: list[float]) -> None:
    meter = Meter()
    with meter.working("decoding"):
        clock[0] += 9.0
    with meter.held_up("writing"):
        clock[0] += 1.0
    assert meter.shares() == {"writing": 1.0, "decoding": 0.0}


def test_what_holds_up_does_not_count_what_it_waits_for(clock: list[float]) -> None:
    meter = Meter()

    def load() -> Iterator[int]:
        with meter.working("decoding"):
            clock[0] += 3.0
        yield 1

    def describe(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            clock[0] += 1.0
            yield item

    assert list(meter.held_up_by("model", describe(meter.awaited(load())))) == [1]
    assert meter.shares() == {"decoding": 0.75, "model": 0.25}


def test_what_was_done_before_moves_the_bar_and_counts_for_no_rate() -> None:
    moves: list[int] = []
    meter = Meter(moves.append)
    meter.skip(5)
    meter.advance(2)
    assert (moves, meter.done) == ([5, 2], 2)


def test_nothing_timed_has_no_shares() -> None:
    assert Meter().shares() == {}
    meter = Meter()
    assert list(meter.awaited([1, 2])) == [1, 2]
    assert meter.shares() == {}
