"""How many images of each class go to training, validation and test. Chooses none."""

import numpy as np
from numpy.typing import NDArray

from .settings import Split

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")  # by number
DIGITS = 9  # of images: 0.07 * 50 is 3.5 of them, not 3.5000000000000004

Ints = NDArray[np.int64]


def compute_quotas(counts: Ints, split: Split) -> Ints:
    """Return how many images each part shall get of each class.

    Args:
        counts: [C] images of each class.
        split: how to divide them. `random` divides all images as if they were one class.

    Returns:
        [C, 3] by part, rows sum to counts; or [1, 3] for `random`.
    """
    none = np.zeros(len(counts), dtype=np.int64)
    if split.method == "none":
        return np.stack([counts, none, none], axis=1)
    if split.method == "random":
        shares = (1 - split.validation - split.test, split.validation, split.test)
        return apportion(counts.sum(keepdims=True), np.array([shares]))
    if split.method == "per-class":
        held_out = np.array([split.validation, split.test], dtype=np.int64)
        quotas = np.concatenate([none[:, None], none[:, None] + held_out], axis=1)
    else:
        quotas = apportion(counts, _find_shares(counts, split))
    return leave_for_training(quotas, counts, split.keep)


def _find_shares(counts: Ints, split: Split) -> NDArray[np.float64]:
    """Return the share [C, 3] of each part in each class."""
    if split.method == "by-size":
        bounds, shares = np.array(split.sizes).T
        test = shares[np.searchsorted(bounds, counts)]
        validation = split.validation * (1 - test)
    else:
        test = np.full(len(counts), split.test)
        validation = np.full(len(counts), split.validation)
    return np.stack([1 - validation - test, validation, test], axis=1)


def apportion(counts: Ints, shares: NDArray[np.float64]) -> Ints:
    """Divide each class by shares, to whole images: largest remainders first.

    Each part gets its share rounded down; what is left goes, one by one, to the parts that lost
    most by it, of equal ones to test before validation before training. So with two parts halves
    are rounded up for the part that is held out, and every part is less than one image from its
    share.

    Args:
        counts: [C] images.
        shares: [C, 3] by part, rows sum to 1.

    Returns:
        [C, 3] images by part; rows sum to counts.

    >>> apportion(np.array([50, 10, 2]), np.array([[0.9, 0.06, 0.04]] * 2 + [[0.75, 0, 0.25]]))
    array([[45,  3,  2],
           [ 9,  1,  0],
           [ 1,  0,  1]])
    """
    exact = np.round(counts[:, None] * shares, DIGITS)
    parts = np.floor(exact).astype(np.int64)
    left = counts - parts.sum(axis=1)
    lost = np.round(exact - parts, DIGITS)[:, ::-1]  # test first: a stable sort keeps it so
    order = 2 - np.argsort(-lost, axis=1, kind="stable")
    for place in range(order.shape[1]):
        parts[np.arange(len(parts)), order[:, place]] += place < left
    return parts


def leave_for_training(quotas: Ints, counts: Ints, keep: int) -> Ints:
    """Return the quotas [C, 3], less what would leave fewer than `keep` for training.

    What a class lacks is taken from validation first. The first column follows from the others.
    """
    free = np.maximum(counts - keep, 0)
    test = np.minimum(quotas[:, TEST], free)
    validation = np.minimum(quotas[:, VALIDATION], free - test)
    return np.stack([counts - validation - test, validation, test], axis=1)
