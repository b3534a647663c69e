"""Tell what a training spends its time on, in the process that trains and in those that decode.

Knows no terminal: it returns a table.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

from .meter import share_time

# In the processes that load images, beside the training.
LoadPart = Literal["read", "decode", "augment"]
# One after the other.
StepPart = Literal["wait", "forward", "backward", "optimiser", "validate", "export"]
LOAD_PARTS: tuple[LoadPart, ...] = get_args(LoadPart)
STEP_PARTS: tuple[StepPart, ...] = get_args(StepPart)
PARTS = (*LOAD_PARTS, *STEP_PARTS)
MEANINGS = {
    "read": "files",
    "decode": "and shrink",
    "augment": "random changes",
    "wait": "for images",
    "forward": "with the losses",
    "backward": "",
    "optimiser": "with clipping",
    "validate": "after each epoch",
    "export": "the graph of an engine",
}


class Profile:
    """Counts the seconds of each part, of all processes that it is given to."""

    def __init__(self, *, synchronize: bool = False) -> None:
        """Start the clock.

        Args:
            synchronize: wait for the GPU wherever a part of a step begins and ends, which slows a
                training; without, a part ends when its work is queued there.
        """
        self.synchronize = synchronize and torch.cuda.is_available()
        # Without a lock, which cannot go to forked and to spawned processes alike: of two that add
        # at the same instant, one may be lost.
        self._seconds = multiprocessing.RawArray("d", len(PARTS))
        self._start = time.perf_counter()

    @contextmanager
    def timed(self, part: LoadPart | StepPart) -> Iterator[None]:
        """Time a part."""
        start = self._now(part)
        try:
            yield
        finally:
            self._seconds[PARTS.index(part)] += self._now(part) - start

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each part so far."""
        return dict(zip(PARTS, self._seconds[:], strict=True))

    def shares(self) -> dict[str, float]:
        """Return the share of each part in the time so far, largest first.

        Waiting for images counts for the parts of loading them.
        """
        seconds = self.seconds()
        steps: dict[str, float] = {part: seconds[part] for part in STEP_PARTS if part != "wait"}
        return share_time(steps, {part: seconds[part] for part in LOAD_PARTS}, seconds["wait"])

    def table(self) -> str:
        """Return the seconds of each part and its percentage of the time since the start.

        What loads images works beside the training, in several processes perhaps: its parts are no
        share of the others, and may add up to more than 100 %.
        """
        took, seconds = time.perf_counter() - self._start, self.seconds()
        seconds["else"] = max(took - sum(seconds[part] for part in STEP_PARTS), 0.0)
        lines = [f"training took {took:.1f} s; seconds, and percent of that:"]
        for title, parts in (
            ("one after the other", (*STEP_PARTS, "else")),
            ("beside it, in all processes that load images together", LOAD_PARTS),
        ):
            lines.append(f"  {title}")
            lines += [
                f"    {part:10}{seconds[part]:9.1f}{100 * seconds[part] / took:7.1f} %  "
                f"{MEANINGS.get(part, '')}".rstrip()
                for part in parts
            ]
        return "\n".join(lines)

    def _now(self, part: LoadPart | StepPart) -> float:
        if self.synchronize and part in STEP_PARTS:
            torch.cuda.synchronize()
        return time.perf_counter()
