"""Watch how much RAM this process and its children hold. Reads /proc, where it is."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

POLL = 0.05  # seconds between two looks


@contextlib.contextmanager
def watch_memory() -> Iterator[list[tuple[float, int]]]:
    """Yield a list that fills with (time.time(), bytes held); it stays empty without /proc."""
    seen: list[tuple[float, int]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(POLL):
            if held := read_memory():
                seen.append((time.time(), held))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


def read_memory() -> int:
    """Return the bytes that this process and its children hold, what they share counted once."""
    processes = [str(os.getpid())]
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended since
            processes += path.read_text().split()
    return sum(map(_read_share, processes))


def _read_share(process: str) -> int:
    """Return a process's share of what it holds with others (Pss); 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
