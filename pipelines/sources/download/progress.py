"""Show how far a download is: images, rate, failures, time left.

Writes to standard error: a bar on a terminal, else a line of log from time to time.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipelines.progress import console

logger = logging.getLogger(__name__)

BAR_SECONDS, LOG_SECONDS = 0.5, 60.0  # between two reports
WINDOW = 60.0  # seconds of which the rate is the mean


@dataclass
class Tally:
    """What was counted until now."""

    total: int
    stored: int  # those there before included
    failures: Counter[str] = field(default_factory=Counter)  # by reason
    _marks: deque[tuple[float, int]] = field(default_factory=deque)  # seconds, done

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.failures.total()

    @property
    def done(self) -> int:
        """How many were stored or failed."""
        return self.stored + self.failed

    def measure(self, now: float) -> float:
        """Return images a second, of the last minute or what there is of it."""
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW:
            self._marks.popleft()
        since, done = self._marks[0]
        return (self.done - done) / (now - since) if now > since else 0.0


def describe(tally: Tally, rate: float) -> str:
    """Say how fast it goes and what is left.

    Example:
        >>> describe(Tally(4000, 1000, Counter({"http_404": 7})), 50.0)
        '50 images/s, 7 failed, 0:00:59 left'
    """
    left = str(timedelta(seconds=int((tally.total - tally.done) / rate))) if rate else "?"
    return f"{rate:.0f} images/s, {tally.failed} failed, {left} left"


@contextlib.asynccontextmanager
async def showing(tally: Tally) -> AsyncIterator[None]:
    """Report while the block runs."""
    tally.measure(time.monotonic())
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            bar = stack.enter_context(Progress(*columns, console=console, transient=True))
            task = bar.add_task("", total=tally.total)

            def show(text: str) -> None:
                bar.update(task, completed=tally.done, description=text)

            seconds = BAR_SECONDS
        else:

            def show(text: str) -> None:
                logger.info("%d of %d images, %s", tally.done, tally.total, text)

            seconds = LOG_SECONDS
        reporter = asyncio.create_task(_report(tally, show, seconds))
        try:
            yield
        finally:
            reporter.cancel()


async def _report(tally: Tally, show: Callable[[str], None], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        show(describe(tally, tally.measure(time.monotonic())))
