"""Choose which images make up the batches of an epoch, and which are held out for validation."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.utils import common_functions

Key = tuple[int, int, int]  # position of the image, epoch, place in the epoch


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
    held_out: list[int] = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = min(int(len(rows) * share + 0.5), max(len(rows) - 2, 0))
        held_out.extend(rows[:count].tolist())
    mask = np.zeros(len(labels), dtype=bool)
    mask[held_out] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def epoch_order(
    labels: NDArray[np.int64], classes: int, images_per_class: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return the rows of one epoch: consecutive groups of images_per_class rows share a class.

    Every class is as likely as any other; a class with too few images repeats them.

    Args:
        labels: [N] class of each image.
        classes: classes in a batch, at most the number there is.
        images_per_class: images of each class in a batch.
        seed: of the run.
        epoch: number of the epoch.

    Returns:
        [about N] rows, a whole number of batches of classes * images_per_class.
    """
    batch = classes * images_per_class
    sampler = MPerClassSampler(
        labels, images_per_class, batch, length_before_new_iter=max(len(labels), batch)
    )
    # The library draws from a module-wide generator: lend it ours for the time of the draw.
    theirs = common_functions.NUMPY_RANDOM
    common_functions.NUMPY_RANDOM = np.random.RandomState([seed, epoch])
    try:
        return np.fromiter(iter(sampler), dtype=np.int64)
    finally:
        common_functions.NUMPY_RANDOM = theirs


class EpochBatches:
    """The batches of one epoch, for a loader; of several processes each takes every n-th."""

    def __init__(
        self, order: NDArray[np.int64], batch_size: int, epoch: int, rank: int = 0, world: int = 1
    ) -> None:
        """Cut order into whole batches; all processes get the same number of them."""
        count = len(order) // batch_size // world * world
        places = np.arange(count * batch_size).reshape(-1, batch_size)[rank::world]
        self.batches = [[(int(order[p]), epoch, int(p)) for p in row] for row in places]

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield lists of keys of AugmentedFiles."""
        return iter(self.batches)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)
