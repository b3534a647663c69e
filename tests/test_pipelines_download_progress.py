"""What a download says about itself while it runs."""

import asyncio
import io
import logging
from collections import Counter
from unittest import mock

import pytest
from rich.console import Console

from pipelines.sources.download import progress
from pipelines.sources.download.progress import WINDOW, Tally, describe, showing


def test_the_rate_is_that_of_the_last_minute() -> None:
    tally = Tally(10_000, 500)
    assert tally.measure(0.0) == 0.0
    for second in range(1, 301):
        tally.stored += 10 if second <= 150 else 2
        rate = tally.measure(float(second))
        if second == 150:
            assert rate == pytest.approx(10.0)
    assert rate == pytest.approx(2.0)
    assert len(tally._marks) <= WINDOW + 2


def test_images_that_were_there_before_do_not_count_as_fast() -> None:
    tally = Tally(1000, 900)
    tally.measure(0.0)
    tally.failures["http_404"] += 5
    assert tally.measure(10.0) == 0.5
    assert describe(tally, 0.5) == "0 images/s, 5 failed, 0:03:10 left"


def test_without_progress_the_time_left_is_unknown() -> None:
    assert describe(Tally(10, 0), 0.0) == "0 images/s, 0 failed, ? left"


async def show_briefly(tally: Tally) -> None:
    async with showing(tally):
        await asyncio.sleep(0.05)


def test_without_a_terminal_a_line_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally(10, 4, Counter(http_404=1))
    with mock.patch.object(progress, "LOG_SECONDS", 0.01), caplog.at_level(logging.INFO):
        asyncio.run(show_briefly(tally))
    assert caplog.messages[0] == "5 of 10 images, 0 images/s, 1 failed, ? left"


def test_a_terminal_gets_a_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with (
        mock.patch.object(progress, "BAR_SECONDS", 0.01),
        mock.patch.object(progress, "console", console),
        mock.patch("sys.stderr.isatty", return_value=True),
    ):
        asyncio.run(show_briefly(Tally(10, 4, Counter(http_404=1))))
    assert isinstance(console.file, io.StringIO)
    assert "5/10" in console.file.getvalue()
    assert "1 failed" in console.file.getvalue()
