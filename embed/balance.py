"""Choose training images so that classes of different sizes count more alike.

Source: generalised ensemble random undersampling (ERUS) of the report "CS 231N Final Project:
Landmark Recognition" (Dobles, Varela). Works on labels; reads and writes no files.
"""

import numpy as np
from numpy.typing import NDArray

from .sampling import group_by_class
from .upsampling import Examples, upsample


def keep_large_classes(labels: NDArray[np.int64], min_count: int) -> NDArray[np.int64]:
    """Return the rows, ascending, of the classes of at least min_count images."""
    classes = group_by_class(labels)
    return np.sort(classes.rows[np.repeat(classes.sizes >= min_count, classes.sizes)])


def cap_classes(
    labels: NDArray[np.int64], cap: int, set_number: int, seed: int
) -> NDArray[np.int64]:
    """Draw at most cap images of each class.

    The sets of one seed share as few images as can be: each goes on in a random order of the class
    where the one before ended, so that an image is used again only after all others.

    Args:
        labels: [N] class of each image.
        cap: 0: no limit.
        set_number: of the set, from 0.
        seed: of the order of each class.

    Returns:
        Rows, ascending.
    """
    if not cap:
        return np.arange(len(labels))
    classes = group_by_class(labels, np.random.default_rng([seed, *b"cap"]))
    sizes = np.repeat(classes.sizes, classes.sizes)
    return np.sort(classes.rows[(classes.ranks() - set_number * cap) % sizes < cap])


def draw_set(
    labels: NDArray[np.int64], *, cap: int, upsample_to: int, set_number: int, seed: int
) -> Examples:
    """Make one training set: a sample of each large class, each small one with its variants.

    Args:
        labels: [N] class of each image.
        cap: images of a class at most; 0: no limit, and all sets are the same.
        upsample_to: what classes of fewer images are filled up to, the same way in every set; 0:
            they stay as they are.
        set_number: of the set, from 0.
        seed: of all choices.

    Raises:
        ValueError: upsample_to exceeds the cap, or MAX_VARIANTS.
    """
    if cap and upsample_to > cap:
        raise ValueError(f"upsample_to {upsample_to} > cap {cap}; expected at most the cap")
    filled = upsample(labels, upsample_to, seed)
    drawn = np.zeros(len(labels), dtype=bool)
    drawn[cap_classes(labels, cap, set_number, seed)] = True
    chosen = drawn[filled.rows]
    return Examples(filled.rows[chosen], filled.variants[chosen])


def erus_sets(
    labels: NDArray[np.int64],
    *,
    sets: int,
    cap: int,
    upsample_to: int,
    min_count: int,
    seed: int,
) -> tuple[Examples, ...]:
    """Make the training sets of an ensemble's models: see draw_set.

    Args:
        labels: [N] class of each image.
        sets: how many.
        cap: see draw_set.
        upsample_to: see draw_set.
        min_count: classes of fewer images are left out of all sets.
        seed: of all choices.

    Raises:
        ValueError: see draw_set.
    """
    large = keep_large_classes(labels, min_count)
    drawn = [
        draw_set(labels[large], cap=cap, upsample_to=upsample_to, set_number=number, seed=seed)
        for number in range(sets)
    ]
    return tuple(Examples(large[one.rows], one.variants) for one in drawn)
