"""What took long says at its end how fast it was, and what held it up."""

import contextlib
import logging

import pytest
from rich.console import Console

from pipelines import progress
from pipelines.progress import progress_meter


def test_a_long_stage_says_how_fast_it_was_and_what_held_it_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LONG", 0.0)
    with caplog.at_level(logging.INFO), progress_meter("embed train", 9) as meter:
        meter.skip(4)
        with meter.held_up("model"):
            meter.advance(5)
    (message,) = caplog.messages
    assert message.startswith("embed train: 5 in 0 s, ")
    assert message.endswith(" a second; most of it model 100%")


def test_a_short_stage_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), progress_meter("embed train", 1) as meter:
        meter.advance(1)
    assert not caplog.messages


def test_a_log_tells_from_time_to_time_what_a_bar_would(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = iter([0.0, 1.0, 30.0, 61.0, 62.0, 121.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    with caplog.at_level(logging.INFO), progress_meter("embed train", 1000) as meter:
        meter.skip(100)  # at 1 s: an interrupted run, which says nothing of the rate
        for _ in range(4):
            with meter.held_up("model"):
                meter.advance(120)
    assert caplog.messages == [
        "embed train: 340 of 1000, 4/s, 0:02:45 left, model 100%",
        "embed train: 580 of 1000, 4/s, 0:01:45 left, model 100%",
    ]


def test_the_total_may_become_known_later(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[tuple[int, int]] = []
    shown = contextlib.nullcontext(lambda done, total: moves.append((done, total)))
    monkeypatch.setattr(progress, "progress_to", lambda *given: shown)
    with progress_meter("compare pairs") as meter:
        for pairs in (3, 4):
            meter.total += pairs
            meter.advance(pairs)
    assert moves == [(3, 3), (7, 7)]


def test_a_terminal_shows_rate_and_bottleneck(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "console", Console(stderr=True, force_terminal=True, width=200))
    with progress_meter("embed train", 8) as meter:
        for _ in range(4):
            with meter.held_up("writing"):
                meter.advance(1)
    assert "embed train" in (shown := capsys.readouterr().err)
    assert "4/8" in shown and "/s" in shown and "writing 100%" in shown


def test_what_is_printed_to_a_pipe_stays_there_beside_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "console", Console(stderr=True, force_terminal=True, width=200))
    with progress_meter("recognise", 1) as meter:
        print("a row")
        meter.advance(1)
    shown = capsys.readouterr()
    assert shown.out == "a row\n"
    assert "a row" not in shown.err
