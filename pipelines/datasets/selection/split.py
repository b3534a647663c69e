"""Divide images among training, validation and test; near-duplicates stay together.

What is drawn is a unit: a group of near-duplicates, or an image that is in none.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .filters import find_classes
from .order import order_keys
from .quotas import TEST, TRAIN, VALIDATION, compute_quotas
from .settings import Split

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class _Units:
    """What is drawn whole, and from which class."""

    of_image: Ints  # [N] unit of each image
    codes: Ints  # [U] class
    sizes: Ints  # [U] images
    keys: Keys  # [U] order in which they are drawn
    mixed: NDArray[np.bool_]  # [U] whether its images are of several classes


def split_images(
    ids: pa.ChunkedArray, landmark_ids: Ints, groups: Ints | None, split: Split, seed: int
) -> NDArray[np.int8]:
    """Put each image into a part.

    The units of a class are drawn in the order of their keys (order.py), first for test, then for
    validation: each one that still fits into the quota of its class. So no part gets more than its
    quota, and it lacks less than the smallest unit that was left to it. A group with images of
    several classes goes to training: nobody knows what would be right for it. Images of one class
    never change what becomes of another's, unless a group has images of both; but `random` draws
    from all images as from one class.

    Args:
        ids: [N] distinct image ids.
        landmark_ids: [N].
        groups: [N] number of the group of near-duplicates, -1 for an image in none; or None.
        split: how to divide.
        seed: 0 to order.LARGEST_SEED.

    Returns:
        [N] TRAIN, VALIDATION or TEST.
    """
    classes = find_classes(landmark_ids)
    quotas = compute_quotas(classes.counts, split)
    codes = np.zeros_like(classes.codes) if split.method == "random" else classes.codes
    units = _find_units(order_keys(ids, seed), codes, groups)
    # Most units are of classes that have nothing to give: sort the others alone.
    drawn = np.flatnonzero(~units.mixed & (quotas[units.codes, TRAIN + 1 :].sum(axis=1) > 0))
    drawn = drawn[np.lexsort((units.keys[drawn], units.codes[drawn]))]
    parts = np.full(len(units.codes), TRAIN, dtype=np.int8)
    for part in (TEST, VALIDATION):
        taken = fill_quotas(units.codes[drawn], units.sizes[drawn], quotas[:, part])
        parts[drawn[taken]] = part
        drawn = drawn[~taken]
    return parts[units.of_image]


def count_mixed(landmark_ids: Ints, groups: Ints) -> int:
    """Return how many groups have images [N] of several landmarks."""
    keys = np.zeros(len(groups), dtype=np.uint64)
    return int(_find_units(keys, find_classes(landmark_ids).codes, groups).mixed.sum())


def _find_units(keys: Keys, codes: Ints, groups: Ints | None) -> _Units:
    """Gather images [N] into units, by their groups [N]."""
    if groups is None:
        alone = np.ones(len(codes), dtype=np.int64)
        return _Units(np.arange(len(codes)), codes, alone, keys, np.zeros(len(codes), dtype=bool))
    grouped = groups >= 0
    singles = int((~grouped).sum())
    of_image = np.empty(len(groups), dtype=np.int64)
    of_image[~grouped] = np.arange(singles)
    of_image[grouped] = singles + find_classes(groups[grouped]).codes
    sizes = np.bincount(of_image)
    unit_codes, mixed = np.empty_like(sizes), np.zeros(len(sizes), dtype=bool)
    unit_codes[of_image] = codes  # where there are several, one of them
    mixed[of_image[unit_codes[of_image] != codes]] = True
    # Neither the numbers nor the sizes of groups may count, so a group's key is the sum of its
    # images' (modulo 2**64): uniform, too.
    unit_keys = np.zeros(len(sizes), dtype=np.uint64)
    np.add.at(unit_keys, of_image, keys)
    return _Units(of_image, unit_codes, sizes, unit_keys, mixed)


def fill_quotas(codes: Ints, sizes: Ints, quotas: Ints) -> NDArray[np.bool_]:
    """Take of each class, in order, every unit that fits into what is left of its quota.

    The same as going through the units one by one, but all classes at once: in each round the
    units up to the first that doesn't fit. It is larger than what is left of the quota, and so is
    every unit of its size: there are no more rounds than sizes, and one.

    Args:
        codes: [U] class of each unit, ascending.
        sizes: [U] images of each.
        quotas: [C] images to take of each class, at most.

    Returns:
        [U] whether the unit is taken.

    >>> fill_quotas(np.array([0, 0, 0, 0]), np.array([2, 3, 1, 1]), np.array([4])).tolist()
    [True, False, True, True]
    """
    taken = np.zeros(len(codes), dtype=bool)
    left = quotas.copy()
    rows = np.flatnonzero(sizes <= left[codes])
    while len(rows):
        fits = _sum_within(codes[rows], sizes[rows]) <= left[codes[rows]]
        taken[rows[fits]] = True
        np.subtract.at(left, codes[rows[fits]], sizes[rows[fits]])
        rows = rows[~fits]
        rows = rows[sizes[rows] <= left[codes[rows]]]
    return taken


def _sum_within(codes: Ints, sizes: Ints) -> Ints:
    """Return the sum of sizes up to each row among the rows of its code, which stand together."""
    sums = np.cumsum(sizes)
    starts = np.diff(codes, prepend=codes[:1] - 1) != 0
    before = np.where(starts, sums - sizes, 0)
    return sums - np.maximum.accumulate(before)
