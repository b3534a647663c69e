"""Show how far a stage is, how fast, and what holds it up.

Writes to standard error: a bar on a terminal, else a line of log a minute.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from embed.meter import Meter

Advance = Callable[[int], None]  # called with the number of items done since the last call
Move = Callable[[int, int], None]  # called with the number of items done, and of all

LONG = 20.0  # seconds, from which a stage says at its end how fast it was
LOG_SECONDS = 60.0  # between two lines of the log

console = Console(stderr=True)
logger = logging.getLogger(__name__)


class Timed(Protocol):
    """What knows where the time goes, such as a Meter."""

    def shares(self) -> Mapping[str, float]:
        """Return the share of each part, largest first."""


class _Rate(ProgressColumn):
    """Items a second, of the last half a minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


@contextlib.contextmanager
def progress_to(description: str, timed: Timed | None = None) -> Iterator[Move]:
    """Yield a function that sets a bar; without a terminal it logs from time to time.

    Args:
        description: what is being done.
        timed: of what does it: the bar names the part that takes the most time.
    """
    if not sys.stderr.isatty():
        yield _Lines(description, timed).move
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[held_up]}"),
    )
    # What is printed goes above the bar, but for what goes to a pipe or a file.
    printed = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=printed) as progress:
        task = progress.add_task(description, total=None, held_up="")

        def move(done: int, total: int) -> None:
            held_up = _name_bottleneck(timed) if timed else ""
            progress.update(task, completed=done, total=total, held_up=held_up)

        yield move


class _Lines:
    """Logs how far a stage is, and how fast it was since the last line."""

    def __init__(self, description: str, timed: Timed | None) -> None:
        self.description, self.timed = description, timed
        self.when, self.done = time.monotonic(), -1  # of the last line; -1: nothing is done yet

    def move(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.done < 0:  # what was done before says nothing of the rate
            self.when, self.done = now, done
        seconds = now - self.when
        if seconds < LOG_SECONDS or done <= self.done:
            return
        rate = (done - self.done) / seconds
        held_up = _name_bottleneck(self.timed) if self.timed else ""
        logger.info(
            "%s: %d of %d, %.3g/s, %s left%s",
            *(self.description, done, total, rate, timedelta(seconds=int((total - done) / rate))),
            f", {held_up}" if held_up else "",
        )
        self.when, self.done = now, done


@contextlib.contextmanager
def progress_bar(description: str, total: int) -> Iterator[Advance]:
    """Yield a function that moves a bar on; as progress_meter."""
    with progress_meter(description, total) as meter:
        yield meter.advance


@contextlib.contextmanager
def progress_meter(description: str, total: int = 0) -> Iterator[Meter]:
    """Yield a meter that moves a bar on; what took long says at its end how fast it was.

    Args:
        description: what is being done.
        total: of its items; may become more while it is being done, see Meter.
    """
    moved, start = 0, time.perf_counter()

    def add(count: int) -> None:
        nonlocal moved
        moved += count
        move(moved, meter.total)

    meter = Meter(add)
    meter.total = total
    with progress_to(description, meter) as move:
        yield meter
    seconds = time.perf_counter() - start
    if seconds >= LONG:
        held_up = _name_bottleneck(meter)
        logger.info(
            "%s: %d in %.0f s, %.3g a second%s",
            *(description, meter.done, seconds, meter.done / seconds),
            f"; most of it {held_up}" if held_up else "",
        )


def _name_bottleneck(timed: Timed) -> str:
    """Return the part that takes the most time and its share of it; "" where none is timed."""
    part, share = next(iter(timed.shares().items()), ("", 0.0))
    return f"{part} {share:.0%}" if part else ""
