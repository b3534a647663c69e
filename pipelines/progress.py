"""Show how far a stage is. Writes to standard error only."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]  # called with the number of items done since the last call
Move = Callable[[int, int], None]  # called with the number of items done, and of all

console = Console(stderr=True)


@contextlib.contextmanager
def progress_to(description: str) -> Iterator[Move]:
    """Yield a function that sets a bar; without a terminal it does nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def progress_bar(description: str, total: int) -> Iterator[Advance]:
    """Yield a function that moves a bar on; without a terminal it does nothing."""
    done = 0
    with progress_to(description) as move:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            move(done, total)

        yield advance
