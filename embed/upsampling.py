"""Fill small classes up with variants of their images, as an index: no image is read or written.

Source: Algorithm 1 of the report "CS 231N Final Project: Landmark Recognition" (Dobles, Varela).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .sampling import group_by_class
from .settings import MAX_VARIANTS
from .variants import ROUND, SUBSETS


@dataclass(frozen=True)
class Examples:
    """What is trained on: variants of images. An image may be among them several times."""

    rows: NDArray[np.int64]  # [M] of the images
    variants: NDArray[np.uint8]  # [M] see embed.variants; 0 is the image itself

    def __post_init__(self) -> None:
        """Raise InputError unless there is a variant for each row."""
        if self.rows.shape != self.variants.shape or self.rows.ndim != 1:
            raise ValueError(
                f"rows {self.rows.shape} and variants {self.variants.shape}: expected one of each "
                "for every example"
            )

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.rows)


def upsample(labels: NDArray[np.int64], target: int, seed: int) -> Examples:
    """Fill each class of fewer than target images up to exactly so many.

    Its images get target // n variants each, and target % n of them, drawn at random, one more. The
    first variant is the image itself; the others are different non-empty sets of transforms, drawn
    from the power set, and sets come again, with other parameters, only when all 31 are used.
    Brighter and darker together are a set like any other: clipped highlights, in a dimmer image.

    Args:
        labels: [N] class of each image.
        target: at most MAX_VARIANTS; 0 or 1 changes nothing.
        seed: of all choices.

    Returns:
        Examples by ascending row, those of a row from the original on.

    Raises:
        InputError: target is negative or above MAX_VARIANTS.
    """
    if not 0 <= target <= MAX_VARIANTS:
        raise InputError(f"target {target}: an image has at most {MAX_VARIANTS} variants")
    generator = np.random.default_rng([seed, *b"upsample"])
    counts = _count_variants(labels, target, generator)
    rows = np.repeat(np.arange(len(labels)), counts)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    variants = np.zeros(len(rows), dtype=np.uint8)
    multiplied = np.flatnonzero(counts > 1)
    subsets = np.tile(np.arange(1, SUBSETS + 1, dtype=np.uint8), (len(multiplied), 1))
    subsets = generator.permuted(subsets, axis=1)
    further = np.flatnonzero(nth)
    turn, place = np.divmod(nth[further] - 1, SUBSETS)
    variants[further] = subsets[np.searchsorted(multiplied, rows[further]), place] + ROUND * turn
    return Examples(rows, variants)


def _count_variants(
    labels: NDArray[np.int64], target: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return [N]: how many variants each image gets, itself included."""
    classes = group_by_class(labels, generator)
    sizes = np.repeat(classes.sizes, classes.sizes)
    wanted = np.maximum(target, sizes)
    counts = np.empty(len(labels), dtype=np.int64)
    counts[classes.rows] = wanted // sizes + (classes.ranks() < wanted % sizes)
    return counts
