"""How fast and how large the parts of the stages are on this machine: what a plan is made of."""

from dataclasses import dataclass

from .laps import Rate

NOTHING = Rate()


@dataclass(frozen=True)
class Memory:
    """The memory of the process, bytes."""

    libraries: int = 0  # before anything is done
    training: float = 0.0  # the most that training adds
    describing: float = 0.0  # the most that describing images adds


@dataclass(frozen=True)
class Rates:
    """What was measured. A rate of 0 seconds is of what the recipe does not do."""

    train: Rate = NOTHING  # an image: decoding, changes, forward, backward
    validate: Rate = NOTHING  # an image described from one view
    describe: Rate = NOTHING  # an image described from the views of the recipe
    delf: Rate = NOTHING  # an image: training of DELF
    extract: Rate = NOTHING  # an image: its local features, found and stored
    read: Rate = NOTHING  # an image: its local features read again
    verify: Rate = NOTHING  # a query and a candidate
    search: Rate = NOTHING  # a multiplication of an exact search, and its addition
    feature_bytes: float = 0.0  # on disk, of an image's local features
    model_values: int = 0  # numbers in the descriptor model
    memory: Memory = Memory()
    seconds: float = 0.0  # that measuring took
    others: float = 0.0  # share of the processors that other programs had meanwhile
