"""Keep some classes of a training set, by id and by size, and some images of each.

Works on arrays: a class is its landmark_id and how many images it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from embed.errors import InputError

from .order import order_keys, rank_within
from .settings import Filters

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FilterStep:
    """What a filter left; of the first step, what there was."""

    filter: str
    images: int
    landmarks: int


@dataclass(frozen=True)
class ClassTable:
    """The classes of a training set."""

    codes: Ints  # [N] row in ids of each image's class
    ids: Ints  # [C] landmark_ids, ascending
    counts: Ints  # [C] images of each


def find_classes(landmark_ids: Ints) -> ClassTable:
    """Number the classes of images [N]."""
    codes, ids = pd.factorize(landmark_ids, sort=True)
    return ClassTable(codes.astype(np.int64), ids, np.bincount(codes, minlength=len(ids)))


def keep_range(bounds: tuple[int, int], ids: Ints, counts: Ints) -> Mask:
    """Return which classes [C] have an id from the first bound to before the second."""
    return np.asarray((ids >= bounds[0]) & (ids < bounds[1]))


def keep_frequent(least: int, ids: Ints, counts: Ints) -> Mask:
    """Return which classes [C] have at least so many images."""
    return np.asarray(counts >= least)


def keep_rare(most: int, ids: Ints, counts: Ints) -> Mask:
    """Return which classes [C] have at most so many images."""
    return np.asarray(counts <= most)


def keep_largest(number: int, ids: Ints, counts: Ints) -> Mask:
    """Return which classes [C] are the so many largest; of equal ones, those of smaller id."""
    mask = np.zeros(len(ids), dtype=bool)
    mask[np.lexsort((ids, -counts))[:number]] = True
    return mask


# In the order in which they are applied, by the field of Filters that they take.
CLASS_FILTERS: dict[str, Callable[[Any, Ints, Ints], Mask]] = {
    "ids": keep_range,
    "min_count": keep_frequent,
    "max_count": keep_rare,
    "top": keep_largest,
}


def filter_images(
    ids: pa.ChunkedArray, landmark_ids: Ints, filters: Filters, seed: int
) -> tuple[Mask, tuple[FilterStep, ...]]:
    """Choose images.

    Args:
        ids: [N] image ids; they decide, with the seed, which images cap keeps.
        landmark_ids: [N].
        filters: what to keep.
        seed: of cap.

    Returns:
        Which images [N] are kept, and what each filter left: the first step is all there was.

    Raises:
        InputError: a filter leaves nothing.
    """
    classes = find_classes(landmark_ids)
    kept = np.ones(len(classes.ids), dtype=bool)
    steps = [FilterStep("", len(landmark_ids), len(classes.ids))]
    for name, keep in CLASS_FILTERS.items():
        value = getattr(filters, name)
        if value is None:
            continue
        left = keep(value, classes.ids[kept], classes.counts[kept])
        if not left.any():
            raise InputError(_explain_empty(name, value, classes.ids[kept], classes.counts[kept]))
        kept[kept] = left
        images = int(classes.counts[kept].sum())
        steps.append(FilterStep(describe_filter(name, value), images, int(kept.sum())))
    mask = kept[classes.codes]
    if filters.cap is not None:
        mask &= rank_within(classes.codes, order_keys(ids, seed)) < filters.cap
        steps.append(
            FilterStep(describe_filter("cap", filters.cap), int(mask.sum()), int(kept.sum()))
        )
    return mask, tuple(steps)


def describe_filter(name: str, value: Any) -> str:
    """Return the option that asks for a filter."""
    shown = f"{value[0]}:{value[1]}" if name == "ids" else f"{value}"
    return f"--{name.replace('_', '-')} {shown}"


def _explain_empty(name: str, value: Any, ids: Ints, counts: Ints) -> str:
    what, values = ("landmark ids", ids) if name == "ids" else ("images of a class", counts)
    if not len(values):
        return "the training set has no images to choose from"
    return (
        f"{describe_filter(name, value)} leaves none of {len(ids)} landmarks with "
        f"{counts.sum()} images; their {what} go from {values.min()} to {values.max()}: "
        "change it, or leave it out"
    )
