"""Score rankings as revisited Oxford and Paris do: mAP and mP@k, easy, medium and hard.

Arrays in, numbers out. Images are numbered by whoever calls; a ranking is [n] int64, the numbers of
all database images, best first. An image that it lacks, because it could not be read, counts as
never found. What a query must find is a Relevance; in each of SETUPS some of it counts and some is
taken out of the ranking, as if the database did not have it.

Source: Radenović, Iscen, Tolias, Avrithis, Chum: Revisiting Oxford and Paris: Large-Scale Image
Retrieval Benchmarking, CVPR 2018, section 3.3, and the code published with it. Two things there are
not what index.metrics does: AP is the area below straight lines between the points of the
precision-recall curve, and mP@k looks no further than the last image that is to be found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LEVELS = ("easy", "hard", "junk")
# What is to be found, and what is taken out, by name of the setup.
SETUPS = {
    "easy": (("easy",), ("hard", "junk")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("easy", "junk")),
}
PRECISION_AT = (1, 5, 10)


@dataclass(frozen=True)
class Relevance:
    """What a query shows, image by image; all others in the database show something else."""

    easy: Ints  # clearly
    hard: Ints  # from another side, in part, in bad light
    junk: Ints  # so that nobody can tell

    def __post_init__(self) -> None:
        """Raise ValueError for anything but one-dimensional int64, or an image named twice."""
        for level in LEVELS:
            images = getattr(self, level)
            if images.ndim != 1 or images.dtype != np.int64:
                raise ValueError(
                    f"{level} has shape {images.shape} and dtype {images.dtype}, want [n] int64"
                )
            if len(np.unique(images)) < len(images):
                raise ValueError(f"{level} names an image twice; name each once")
        for one, other in combinations(LEVELS, 2):
            both = np.intersect1d(getattr(self, one), getattr(self, other))
            if len(both):
                raise ValueError(f"image {both[0]} is {one} and {other}; it can be one of them")

    def gather(self, levels: Sequence[str]) -> Ints:
        """Return the images of some of the LEVELS."""
        return np.concatenate([getattr(self, level) for level in levels])


@dataclass(frozen=True)
class Scores:
    """The figures of one setup; they are None where no query has an image to find."""

    mean_average_precision: float | None
    mean_precision: dict[int, float | None]  # by k
    queries: int  # with an image to find: the means are over these


def score_rankings(
    rankings: Iterable[Ints],
    relevance: Sequence[Relevance],
    precision_at: Sequence[int] = PRECISION_AT,
) -> dict[str, Scores]:
    """Score the rankings of Q queries in each of SETUPS.

    A query without an image to find in a setup is left out of its means.

    Args:
        rankings: [Q] of distinct images, one after the other: of a large database they need not all
            be in memory.
        relevance: [Q].
        precision_at: the k of mP@k.

    Raises:
        ValueError: another number of rankings than of relevances, a relevant image that is ranked
            twice, or k below 1.

    Example: of images 0 to 3 the first is hard to see and found first, the second is easy and found
    last. Easy: the hard one is taken out, so it is third. Medium: (1 + 1) / 2 for the first half of
    the recall and (1/3 + 2/4) / 2 for the other.

        >>> none = np.array([], dtype=np.int64)
        >>> truth = Relevance(easy=np.array([1]), hard=np.array([0]), junk=none)
        >>> scores = score_rankings([np.array([0, 3, 2, 1])], [truth], precision_at=[1])
        >>> {name: round(found.mean_average_precision, 4) for name, found in scores.items()}
        {'easy': 0.1667, 'medium': 0.7083, 'hard': 1.0}
    """
    if min(precision_at, default=1) < 1:
        raise ValueError(f"precision is asked for at {min(precision_at)}; the first rank is 1")
    rows: dict[str, list[list[float]]] = {name: [] for name in SETUPS}
    for ranked, truth in zip(rankings, relevance, strict=True):
        places = np.flatnonzero(np.isin(ranked, truth.gather(LEVELS)))  # few of a million
        images = ranked[places]
        if len(np.unique(images)) < len(images):
            raise ValueError("a ranking names an image twice; rank each once")
        for name, (wanted, ignored) in SETUPS.items():
            positives = truth.gather(wanted)
            if not len(positives):
                continue
            positions = find_positions(places, images, positives, truth.gather(ignored))
            precisions = [precision_at_k(positions, k) for k in precision_at]
            rows[name].append([average_precision(positions, len(positives)), *precisions])
    return {name: _average(values, precision_at) for name, values in rows.items()}


def find_positions(places: Ints, images: Ints, positives: Ints, ignored: Ints) -> Ints:
    """Return the places of the positives once the ignored are taken out of the ranking.

    Args:
        places: [n] in the ranking, from 0, ascending, of all positives and ignored found.
        images: [n] which ones these are.
        positives: images to find.
        ignored: images to take out.

    Example: image 7 comes first, and is taken out before images 1 and 2, third and fifth.

        >>> places, images = np.array([0, 2, 4]), np.array([7, 1, 2])
        >>> find_positions(places, images, np.array([1, 2]), np.array([7])).tolist()
        [1, 3]
    """
    taken_out = np.cumsum(np.isin(images, ignored))
    return np.asarray((places - taken_out)[np.isin(images, positives)], dtype=np.int64)


def average_precision(positions: Ints, total: int) -> float:
    """Return the area below the precision-recall curve, a straight line between its points.

    The line to the j-th found image, j from 0, at position p goes from precision j / p, before it,
    to (j + 1) / (p + 1), with it; before the very first image precision is 1.

    Args:
        positions: of the images found, from 0, ascending.
        total: images to find, those not found included; at least 1.

    Example: found first and third; (1 + 1) / 2 and (1/2 + 2/3) / 2, each for half of the recall.

        >>> round(average_precision(np.array([0, 2]), 2), 4)
        0.7917
    """
    found = np.arange(len(positions))
    before = np.where(positions > 0, found / np.maximum(positions, 1), 1.0)
    after = (found + 1) / (positions + 1)
    return float((before + after).sum() / 2 / total)


def precision_at_k(positions: Ints, k: int) -> float:
    """Return the share of positives among the first k, or up to the last one found if that is less.

    So a query with one image to find, found first, has 1 at every k. Nothing found is 0.

    Args:
        positions: of the images found, from 0, ascending.
        k: at least 1.

    Example: found first and third: 2 of 3, though 10 are asked for.

        >>> round(precision_at_k(np.array([0, 2]), 10), 4)
        0.6667
    """
    if not len(positions):
        return 0.0
    depth = min(int(positions[-1]) + 1, k)
    return float((positions < depth).sum() / depth)


def _average(values: list[list[float]], precision_at: Sequence[int]) -> Scores:
    if not values:
        return Scores(None, dict.fromkeys(precision_at), 0)
    mean, *precisions = np.mean(values, axis=0).tolist()
    return Scores(mean, dict(zip(precision_at, precisions, strict=True)), len(values))
