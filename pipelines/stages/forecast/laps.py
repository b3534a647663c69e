"""Time a running stage lap by lap until enough was seen. Knows no stage."""

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from .processes import Ticks

LAPS = 4  # that are waited for, half of them to warm up: see Laps.measure
LEAST_LAPS = 2  # where it takes long

Note = Callable[[int], None]  # called with the number of items done since the last call


@dataclass(frozen=True)
class Rate:
    """How long one item takes."""

    seconds: float = 0.0
    error: float = 0.0  # standard error of it, by the laps
    others: float = 0.0  # share of all processors that other programs had meanwhile

    @property
    def alone(self) -> float:
        """Seconds if other programs left the machine alone, and all cores could be used."""
        return self.seconds * (1 - self.others)


class BudgetSpent(Exception):
    """Ends a stage that was only started to be timed."""


class Laps:
    """Takes the time whenever a stage says that it has done some items."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start the clock.

        After `seconds` it ends if LAPS were seen, after twice as many with LEAST_LAPS.
        """
        self.seconds, self.clock = seconds, clock
        self.started = self.last = clock()
        self.laps: list[tuple[float, int]] = []  # seconds, items
        self.ticks = [Ticks.read()]  # at the start, and after each lap

    def note(self, count: int) -> None:
        """Note that so many items are done. Raises BudgetSpent when it is enough."""
        now = self.clock()
        self.laps.append((now - self.last, count))
        self.ticks.append(Ticks.read())
        self.last = self.clock()
        least = LAPS if now - self.started < 2 * self.seconds else LEAST_LAPS
        if len(self.laps) >= least and now - self.started >= self.seconds:
            raise BudgetSpent

    def measure(self) -> Rate:
        """Return the mean of the later half of the laps.

        Before, processes start, fill their queues and so compete with what is timed, and libraries
        choose their kernels.

        Raises:
            ValueError: nothing was done.
        """
        if not self.laps:
            raise ValueError("nothing was timed: the stage did no item")
        laps = self.laps[len(self.laps) // 2 :]
        each = [seconds / count for seconds, count in laps]
        error = statistics.stdev(each) / len(each) ** 0.5 if len(each) > 1 else 0.0
        mean = sum(seconds for seconds, _ in laps) / sum(count for _, count in laps)
        others = self.ticks[len(self.laps) // 2].others_until(self.ticks[-1])
        return Rate(mean, error, others)


def time_laps(run: Callable[[Note], object], seconds: float) -> Rate:
    """Time a function that says how many items it has done; stop it when the time is over."""
    laps = Laps(seconds)
    with contextlib.suppress(BudgetSpent):
        run(laps.note)
    return laps.measure()
