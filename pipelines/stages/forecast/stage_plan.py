"""What a stage of a run will take: time, disk and memory, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass

from .laps import Rate

# Bytes, as measured for CPython 3.11 on 64 bits.
ID = 80  # of an image id of 16 letters and its place in a tuple
PLACE = 200  # of an id in a dictionary, with the part and the row of its features
ROW = 50  # of an id and a label on disk, not compressed
HEAD_CLASS = 16  # of a likely class of an image: its label, score and probability
NEIGHBOR = 36  # of a neighbour of a query, in all tables of answers
EVIDENCE = 80  # of a neighbour of a query in memory
NUMBER = 4  # float32


@dataclass(frozen=True)
class Part:
    """A piece of work of a stage."""

    kind: str  # what advice is given by
    what: str
    seconds: float = 0.0  # on the machine as busy as it is
    alone: float = 0.0  # seconds, if no other program used the processor
    disk: float = 0.0  # bytes that are kept


@dataclass(frozen=True)
class StagePlan:
    """What a stage takes besides what those before it took."""

    stage: str
    parts: tuple[Part, ...]
    memory: Mapping[str, float]  # bytes by what they are for, at their most
    scratch: float = 0.0  # bytes on disk that are only needed meanwhile

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(part.seconds for part in self.parts)

    @property
    def alone(self) -> float:
        """Of all parts, if no other program used the processor."""
        return sum(part.alone for part in self.parts)

    @property
    def disk(self) -> float:
        """Of all parts."""
        return sum(part.disk for part in self.parts)

    @property
    def total_memory(self) -> float:
        """Of all that is in memory."""
        return sum(self.memory.values())


def make_part(kind: str, what: str, rate: Rate, items: float, disk: float = 0.0) -> Part:
    """Return the work of so many items at a rate."""
    return Part(kind, what, rate.seconds * items, rate.alone * items, disk)
