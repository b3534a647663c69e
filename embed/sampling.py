"""Choose which images make up the batches of an epoch, and which are held out for validation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Key = tuple[int, int, int]  # position of the image, epoch, place in the epoch

# A class of n images is drawn with a probability proportional to n ** exponent: 1 makes all images
# equally likely, 0 all classes.
EXPONENTS = {"uniform": 1.0, "square-root": 0.5, "class-balanced": 0.0}


def split_validation(
    labels: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out a share of each class, rounded, but leave at least two images of it for training.

    Args:
        labels: [N] class of each image.
        share: in [0, 1).
        seed: of the choice, which depends on the rows' order too.

    Returns:
        Rows for training and rows held out, both ascending, together all N.
    """
    generator = np.random.default_rng(seed)
    classes = group_by_class(labels)
    mask = np.zeros(len(labels), dtype=bool)
    for start, size in zip(classes.starts.tolist(), classes.sizes.tolist(), strict=True):
        rows = generator.permutation(classes.rows[start : start + size])
        mask[rows[: min(int(size * share + 0.5), max(size - 2, 0))]] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


@dataclass(frozen=True)
class Classes:
    """The rows of N images, those of a class side by side."""

    rows: NDArray[np.int64]  # [N]
    starts: NDArray[np.int64]  # [C] where the rows of each class begin, classes ascending
    sizes: NDArray[np.int64]  # [C] how many there are; all above 0

    def ranks(self) -> NDArray[np.int64]:
        """Return [N]: how many of the same class come before each of the rows."""
        return np.arange(len(self.rows)) - np.repeat(self.starts, self.sizes)


def group_by_class(
    labels: NDArray[np.int64], generator: np.random.Generator | None = None
) -> Classes:
    """Group the rows of [N] labels; those of a class ascend, or are shuffled by the generator."""
    rows = np.arange(len(labels)) if generator is None else generator.permutation(len(labels))
    rows = rows[np.argsort(labels[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(labels[rows], prepend=labels.min(initial=0) - 1))
    return Classes(rows, starts, np.diff(starts, append=len(rows)))


def epoch_order(
    labels: NDArray[np.int64],
    sampler: str,
    *,
    batch_size: int,
    per_class: int,
    seed: int,
    epoch: int,
    batches: int = 0,
) -> NDArray[np.int64]:
    """Return the rows of one epoch: consecutive groups of per_class rows share a class.

    "m-per-class" fills each batch with different classes, every class as likely as any other, and
    draws the images of each anew; a class with too few repeats them. The samplers of EXPONENTS draw
    each class as often as its probability says, rounded up or down, and repeat an image within the
    epoch only after all others of its class; a batch may meet a class twice.

    Args:
        labels: [N] class of each image.
        sampler: "m-per-class", or one of EXPONENTS.
        batch_size: images of a batch, a multiple of per_class.
        per_class: images of a class that come together.
        seed: of the run.
        epoch: number of the epoch.
        batches: how many; 0 for as many whole ones as there are in N, or one.

    Returns:
        Rows of that many batches.

    Raises:
        InputError: per_class does not divide batch_size, or a batch wants more classes than there
            are.
    """
    if batch_size % per_class:
        raise InputError(f"batches of {batch_size} images cannot hold whole groups of {per_class}")
    generator = np.random.default_rng([seed, epoch])
    groups = (batches or max(len(labels) // batch_size, 1)) * batch_size // per_class
    if sampler == "m-per-class":
        return _deal(labels, groups, batch_size // per_class, per_class, generator)
    return _weigh(labels, groups, per_class, EXPONENTS[sampler], generator)


def _deal(
    labels: NDArray[np.int64],
    groups: int,
    classes_per_batch: int,
    per_class: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    # The distribution of MPerClassSampler of pytorch-metric-learning, which shuffles all classes
    # for each batch: with 203,094 of them an epoch of 5 million images took it 23 minutes.
    classes = group_by_class(labels)
    count = len(classes.sizes)
    if classes_per_batch > count:
        raise InputError(
            f"{classes_per_batch} classes a batch, but there are {count}; lower classes_per_batch"
        )
    batches = np.full(groups // classes_per_batch, count)
    dealt = _draw_distinct(batches, classes_per_batch, generator).ravel()
    places = _draw_distinct(classes.sizes[dealt], per_class, generator)
    return np.ravel(classes.rows[classes.starts[dealt, None] + places])


def _draw_distinct(
    limits: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw [G, count] different numbers below each of G limits; repeated ones below a lesser limit.

    All ordered choices are equally likely.
    """
    drawn = np.empty((len(limits), count), dtype=np.int64)
    for place in range(count):
        number = generator.integers(np.maximum(limits - place, 1))
        # It counts the numbers that are left: step over those that are gone.
        for gone in np.sort(drawn[:, :place], axis=1).T:
            number += number >= gone
        drawn[:, place] = number
    few = limits < count
    drawn[few] = generator.integers(limits[few, None], size=(int(few.sum()), count))
    return drawn


def _weigh(
    labels: NDArray[np.int64],
    groups: int,
    per_class: int,
    exponent: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    classes = group_by_class(labels, generator)
    weights = classes.sizes.astype(np.float64) ** exponent
    # Systematic sampling: one random offset for all rounds each expected number up or down.
    mixed = generator.permutation(len(weights))
    ends = np.cumsum(weights[mixed] * (groups / weights.sum())) + generator.random()
    ends[-1] = groups  # not one less for a rounding error
    times = np.empty(len(weights), dtype=np.int64)
    times[mixed] = np.diff(np.floor(ends), prepend=0)
    drawn = np.repeat(np.arange(len(times)), times)
    earlier = np.arange(groups) - np.repeat(np.cumsum(times) - times, times)  # of the same class
    places = earlier[:, None] * per_class + np.arange(per_class)
    rows = classes.rows[classes.starts[drawn, None] + places % classes.sizes[drawn, None]]
    return np.ravel(rows[generator.permutation(groups)])


class EpochBatches:
    """The batches of one epoch, for a loader; n processes each take every n-th image of a batch."""

    def __init__(
        self, order: NDArray[np.int64], batch_size: int, epoch: int, rank: int = 0, world: int = 1
    ) -> None:
        """Cut order into whole batches."""
        self.order, self.batch_size, self.epoch = order, batch_size, epoch
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield lists of keys of AugmentedFiles."""
        for batch in range(len(self)):
            first = batch * self.batch_size
            places = range(first + self.rank, first + self.batch_size, self.world)
            yield [(int(self.order[place]), self.epoch, place) for place in places]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.order) // self.batch_size


class CurrentBatches:
    """The batches of whichever epoch is current, for a loader that outlives epochs."""

    def __init__(self) -> None:
        """Begin without an epoch."""
        self.epoch: EpochBatches | None = None

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield those of the epoch that is set now."""
        return iter(self.epoch or ())

    def __len__(self) -> int:
        """Return their number."""
        return len(self.epoch) if self.epoch else 0
