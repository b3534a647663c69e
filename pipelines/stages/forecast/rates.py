"""How fast and how large the parts of the stages are on this machine: what a plan is made of."""

from dataclasses import dataclass

from .laps import Rate

NOTHING = Rate()


@dataclass(frozen=True)
class ModelRates:
    """What was measured of one model. A rate of 0 seconds is of what the recipe does not do."""

    dim: int = 0  # length of its descriptor
    views: int = 1  # of an image
    values: int = 0  # numbers in the descriptor model
    head_values: int = 0  # numbers in the classification head
    timed_classes: int = 0  # of the head that was timed: fewer where it would be too large
    train: tuple[Rate, ...] = ()  # an image, of each stage: decoding, changes, forward, backward
    validate: Rate = NOTHING  # an image described from one view
    describe: Rate = NOTHING  # an image described from the views of the recipe
    delf: Rate = NOTHING  # an image: training of DELF, of the first model alone
    training_memory: float = 0.0  # bytes that batches take at most while it is trained
    describing_memory: float = 0.0  # and while it describes


@dataclass(frozen=True)
class Rates:
    """What was measured."""

    models: tuple[ModelRates, ...] = ()  # one, or the members of an ensemble
    extract: Rate = NOTHING  # an image: its local features, found and stored
    read: Rate = NOTHING  # an image: its local features read again
    verify: Rate = NOTHING  # a query and a candidate
    search: Rate = NOTHING  # a multiplication of an exact search, and its addition
    feature_bytes: float = 0.0  # on disk, of an image's local features
    libraries: int = 0  # bytes of memory, before anything is done
    seconds: float = 0.0  # that measuring took
    others: float = 0.0  # share of the processors that other programs had meanwhile

    @property
    def dim(self) -> int:
        """Length of what is searched: the descriptors of all models side by side."""
        return sum(model.dim for model in self.models)
