"""See what this process and its children take of the machine, and what others leave them.

Reads /proc; where there is none, nothing is known, and said to be 0.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

POLL = 0.1  # seconds between two looks at the memory
USER_TIME, SYSTEM_TIME = 11, 12  # of what follows the name in /proc/<id>/stat


@dataclass(frozen=True)
class Ticks:
    """Seconds that all processors have worked since the machine started."""

    ours: float = 0.0  # for this process and its children
    busy: float = 0.0  # for any process
    all: float = 0.0  # or for none

    @classmethod
    def read(cls) -> "Ticks":
        """Look at the clocks."""
        path = Path("/proc/stat")
        if not path.is_file():
            return cls()
        # user, nice, system, idle, iowait, irq, softirq, steal
        values = [int(text) for text in path.read_text().split("\n", 1)[0].split()[1:9]]
        each = os.sysconf("SC_CLK_TCK")
        ours = sum(os.times()[:4]) + sum(map(_read_ticks, _list_children())) / each
        return cls(ours, (sum(values) - values[3] - values[4]) / each, sum(values) / each)

    def others_until(self, later: "Ticks") -> float:
        """Return the share of all processors that other programs had from then to later."""
        if later.all <= self.all:
            return 0.0
        others = (later.busy - self.busy) - (later.ours - self.ours)
        return min(max(others / (later.all - self.all), 0.0), 1.0)


@dataclass
class Peak:
    """The most memory that was seen while it was watched, in bytes."""

    bytes: int = 0


@contextlib.contextmanager
def watch_memory() -> Iterator[Peak]:
    """Look at the memory of this process and its children again and again, and keep the most."""
    peak, stop = Peak(read_memory()), threading.Event()

    def look() -> None:
        while not stop.wait(POLL):
            peak.bytes = max(peak.bytes, read_memory())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def read_memory() -> int:
    """Return the bytes that this process holds, and its children besides what they share."""
    own = Path("/proc/self/statm")
    if not own.is_file():
        return 0
    resident = int(own.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident + sum(map(_read_private, _list_children()))


def _list_children() -> list[str]:
    texts = []
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended since
            texts += path.read_text().split()
    return texts


def _read_private(process: str) -> int:
    """Return the bytes that a process shares with no other; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _read_ticks(process: str) -> int:
    """Return how long a process has run, in ticks of the clock; 0 if it has ended."""
    try:
        values = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(values[USER_TIME]) + int(values[SYSTEM_TIME])
