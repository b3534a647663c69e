"""Show how far a long transfer is: bytes, rate, time left. Writes to standard error only."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from pipelines.progress import console

logger = logging.getLogger(__name__)


class ByteProgress:
    """Counts bytes of known files; a line for each finished file where there is no terminal."""

    def __init__(self, files: int, total: int, show: Callable[[int, str], None] | None) -> None:
        """Take how many files and bytes are to come, and what shows both, if anything does."""
        self._files, self._total = files, total
        self._finished, self._bytes = 0, 0
        self._show = show
        self._start = time.monotonic()

    def advance(self, count: int) -> None:
        """Count bytes that arrived, or (negative) that do not count any more."""
        self._bytes += count
        self._update()

    def finish(self, path: str) -> None:
        """Count a file that is whole and verified."""
        self._finished += 1
        self._update()
        if self._show is None:
            rate = max(self._bytes, 1) / max(time.monotonic() - self._start, 1e-9)
            minutes = max(self._total - self._bytes, 0) / rate / 60
            logger.info(
                "%s is there: %d of %d files, %.1f MB/s, about %.0f min left",
                *(path, self._finished, self._files, rate / 1e6, minutes),
            )

    def _update(self) -> None:
        if self._show is not None:
            self._show(self._bytes, f"{self._finished} of {self._files} files")


@contextlib.contextmanager
def byte_progress(files: int, total: int) -> Iterator[ByteProgress]:
    """Yield a counter, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield ByteProgress(files, total, None)
        return
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), DownloadColumn()),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("fetch", total=total)

        def show(done: int, text: str) -> None:
            progress.update(task, completed=done, description=text)

        yield ByteProgress(files, total, show)
