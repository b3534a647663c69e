"""Tell where the time of a pipeline goes: what its threads work on, and what it waits for.

Knows no terminal; pipelines.progress shows what it measured.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeVar

Part = Literal["reading", "decoding", "model", "matching", "writing"]
Item = TypeVar("Item")


class Meter:
    """Counts the items that are done and the seconds of each part; safe in threads."""

    def __init__(self, move: Callable[[int], None] = lambda count: None) -> None:
        """Take what is called with the number of items done since the last call."""
        self.done = 0  # items, without those that were skipped
        self.total = 0  # of all items, as far as it is known
        self._move = move
        self._lock = threading.RLock()  # a bar that is moved asks for the shares
        self._threads = defaultdict[str, float](float)  # seconds, of all threads together
        self._held = defaultdict[str, float](float)  # seconds that the pipeline stood still for
        self._waited = 0.0  # seconds, for whatever the threads do

    def advance(self, count: int) -> None:
        """Count items that are done."""
        with self._lock:
            self.done += count
            self._move(count)

    def skip(self, count: int) -> None:
        """Move on by items that were done before."""
        self._move(count)

    @contextmanager
    def working(self, part: Part) -> Iterator[None]:
        """Time a part of the work of one of the threads."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._threads[part] += time.perf_counter() - start

    @contextmanager
    def held_up(self, part: Part) -> Iterator[None]:
        """Time what keeps the thread that drives the pipeline from taking the next item."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._held[part] += time.perf_counter() - start

    def held_up_by(self, part: Part, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items, and time how long each took beyond what was waited for meanwhile."""
        source = iter(items)
        while True:
            start, waited = time.perf_counter(), self._waited
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                self._held[part] += time.perf_counter() - start - (self._waited - waited)
            yield item

    def awaited(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items that the threads make, and time how long each was waited for."""
        source = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                self._waited += time.perf_counter() - start
            yield item

    def shares(self) -> dict[str, float]:
        """Return the share of each part in the time that the pipeline stood still, largest first.

        Waiting for the threads counts for their parts by the time that they spend on each.
        """
        with self._lock:
            spent, held = dict(self._threads), dict(self._held)
        return share_time(held, spent, self._waited)


def share_time(
    held: Mapping[str, float], beside: Mapping[str, float], waited: float
) -> dict[str, float]:
    """Return the share of each part in the time of a pipeline, largest first.

    Args:
        held: seconds of what is done one after the other.
        beside: seconds of what is done beside it, in threads or processes, of all together.
        waited: seconds that were waited for these; they count for their parts in proportion.

    >>> share_time({"model": 6.0}, {"decoding": 9.0, "reading": 1.0}, 4.0)
    {'model': 0.6, 'decoding': 0.36, 'reading': 0.04}
    """
    seconds, total = dict(held), sum(beside.values())
    for part, spent in beside.items():
        if total > 0:
            seconds[part] = seconds.get(part, 0.0) + waited * spent / total
    whole = sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return {part: spent / whole for part, spent in ordered if whole > 0}
