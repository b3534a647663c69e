"""Group photos that show the same thing, without labels: pairs that geometry verifies, merged.

Knows rows of photos, their neighbours and inliers; no files and no labels. Reads and writes none.

Of 2,009 photos of cartons and shelves, 56 % of the pairs with more inliers than chance gives are of
one product: packages of a brand share their design. Connected components of them chain 1,316 photos
into one. tests/benchmarks/bench_discover.py has the figures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError

from .geometry import CHANCE_INLIERS

MIN_SHARE = 0.5  # of the pairs compared between two groups that must be verified to merge them
ALONE = -1  # the group of a photo that is in none

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class GroupingSettings:
    """What a pair and a group of photos need."""

    # That verify a pair: as many as confirmed an image in the cleaning of Google Landmarks v2, see
    # rerank.cleaning.
    min_inliers: int = 30
    min_photos: int = 2  # of a group

    def __post_init__(self) -> None:
        """Raise InputError for as few inliers as chance gives, or groups of one photo."""
        if self.min_inliers <= CHANCE_INLIERS:
            raise InputError(
                f"min_inliers is {self.min_inliers}, but chance gives up to {CHANCE_INLIERS}; ask "
                f"for {CHANCE_INLIERS + 1} at least"
            )
        if self.min_photos < 2:
            raise InputError(f"min_photos is {self.min_photos}, but a group has 2 at least")


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of photos that were compared.

    Attributes:
        first: [P] int64 rows.
        second: [P] int64 rows, each greater than its first.
        inliers: [P] int64, at least 0.
    """

    first: Ints
    second: Ints
    inliers: Ints

    def take(self, places: NDArray[np.bool_] | Ints) -> "Pairs":
        """Return some of the pairs."""
        return Pairs(self.first[places], self.second[places], self.inliers[places])


def mutual_neighbors(neighbors: Ints) -> Ints:
    """Return the pairs of photos that are each among the other's neighbours.

    >>> mutual_neighbors(np.array([[1, 2], [0, -1], [1, 3], [2, 0]]))
    array([[0, 1],
           [2, 3]])

    Args:
        neighbors: [N, K] rows of each photo's nearest others; -1 is padding.

    Returns:
        [P, 2] rows, the lower one first, sorted.
    """
    count = len(neighbors)
    own, near = np.repeat(np.arange(count), neighbors.shape[1]), neighbors.ravel()
    there = (near >= 0) & (near != own)
    found = own[there] * count + near[there]
    back = near[there] * count + own[there]
    both = np.unique(found[np.isin(found, back) & (own[there] < near[there])])
    return np.stack([both // max(count, 1), both % max(count, 1)], axis=1)


@dataclass(frozen=True, eq=False)
class Groups:
    """What N photos were grouped into, and by what.

    Attributes:
        group: [N] int64, from 0 by falling size, then by the first photo; -1 in none.
        joined_to: [N] int64, the row of the photo of its group that it has most in common with; -1.
        inliers: [N] int64, of these two, perhaps fewer than verify a pair (join_alone); -1 for
            near-duplicates, which are not compared.
    """

    group: Ints
    joined_to: Ints
    inliers: Ints


def group_photos(originals: Ints, pairs: Pairs, settings: GroupingSettings) -> Groups:
    """Group photos by the pairs that show the same thing.

    Near-duplicates are of one group. Other photos are by verified pairs, as far as merge_pairs
    finds that a group holds together; what is alone then may join one by join_alone.

    Args:
        originals: [N] the photo that each is a near-duplicate of, or its own.
        pairs: of originals, that were compared.
        settings: what a pair and a group need.
    """
    verified = pairs.inliers >= settings.min_inliers
    label = join_alone(merge_pairs(len(originals), pairs, verified), pairs)[originals]
    beyond_chance = pairs.inliers > CHANCE_INLIERS
    kept = pairs.take(beyond_chance & (label[pairs.first] == label[pairs.second]))
    joined_to, inliers = _find_strongest(len(originals), kept)
    copies = originals != np.arange(len(originals))
    joined_to[copies], inliers[copies] = originals[copies], ALONE
    # An original that only its copies keep company.
    lonely, first = np.unique(originals[copies], return_index=True)
    bare = joined_to[lonely] == ALONE
    joined_to[lonely[bare]] = np.flatnonzero(copies)[first[bare]]
    group = _number_groups(label, settings.min_photos)
    alone = group == ALONE
    joined_to[alone], inliers[alone] = ALONE, ALONE
    return Groups(group, joined_to, inliers)


def merge_pairs(count: int, pairs: Pairs, verified: NDArray[np.bool_]) -> Ints:
    """Merge photos by verified pairs, the strongest first; return a label of each, [count].

    Two groups become one only where at least MIN_SHARE of the pairs of photos that were compared
    between them are verified: one photo that shows two things, or one pair that is wrong, does not
    chain what they show.

    Args:
        count: of the photos.
        pairs: all that were compared.
        verified: [P] which of them show the same thing.
    """
    label = np.arange(count)
    members = {row: [row] for row in range(count)}
    # By group, and by the one on the other side: pairs that are verified, and all.
    between: list[dict[int, tuple[int, int]]] = [{} for _ in range(count)]
    columns = (column.tolist() for column in (pairs.first, pairs.second, verified))
    for first, second, agrees in zip(*columns, strict=True):
        between[first][second] = between[second][first] = int(agrees), 1
    chosen = np.flatnonzero(verified)
    order = chosen[np.lexsort((chosen, -pairs.inliers[chosen]))]
    merged = True
    while merged:  # a pair that was turned down may be one of many by now
        merged = False
        for place in order:
            one, other = int(label[pairs.first[place]]), int(label[pairs.second[place]])
            if one == other:
                continue
            agreeing, all_pairs = between[one][other]
            if agreeing < MIN_SHARE * all_pairs:
                continue
            if len(members[one]) < len(members[other]):
                one, other = other, one
            label[members[other]] = one
            members[one] += members.pop(other)
            for third, (agree, every) in between[other].items():
                del between[third][other]
                if third != one:
                    agreed, counted = between[one].get(third, (0, 0))
                    total = agreed + agree, counted + every
                    between[one][third] = between[third][one] = total
            between[other] = {}
            merged = True
    return label


def join_alone(label: Ints, pairs: Pairs) -> Ints:
    """Let photos that are alone join a group in which several are like them; return the labels.

    With two of its photos at least, and MIN_SHARE of those that it was compared with, a photo must
    have more inliers than chance gives. Of several groups it joins the one with most inliers. None
    of them becomes larger by who has joined before.

    Args:
        label: [N] as merge_pairs returns.
        pairs: all that were compared.
    """
    joined, alone = label.copy(), np.bincount(label, minlength=len(label))[label] == 1
    one = np.concatenate([pairs.first, pairs.second])
    other = np.concatenate([pairs.second, pairs.first])
    asks = alone[one] & ~alone[other]
    inliers = np.tile(pairs.inliers, 2)[asks]
    found = inliers > CHANCE_INLIERS
    asked, place = np.unique(np.stack([one[asks], label[other[asks]]]), axis=1, return_inverse=True)
    compared, like, total = (
        np.bincount(place, weights, minlength=asked.shape[1])
        for weights in (None, found, np.where(found, inliers, 0))
    )
    enough = (like >= 2) & (like >= MIN_SHARE * compared)
    for choice in np.flatnonzero(enough)[np.argsort(total[enough], kind="stable")]:
        joined[asked[0, choice]] = asked[1, choice]  # the last, which counts, has most inliers
    return joined


def _find_strongest(count: int, pairs: Pairs) -> tuple[Ints, Ints]:
    """Return [count] the photo with most inliers to each, and these; -1 for one without a pair."""
    one = np.concatenate([pairs.first, pairs.second])
    other = np.concatenate([pairs.second, pairs.first])
    inliers = np.tile(pairs.inliers, 2)
    order = np.lexsort((other, -inliers, one))
    rows, first = np.unique(one[order], return_index=True)
    joined_to, most = np.full(count, ALONE), np.full(count, ALONE)
    joined_to[rows], most[rows] = other[order][first], inliers[order][first]
    return joined_to, most


def _number_groups(label: Ints, min_photos: int) -> Ints:
    """Return the groups of at least so many photos, numbered from 0, the largest first."""
    labels, first, inverse, sizes = np.unique(
        label, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    order = order[sizes[order] >= min_photos]
    number = np.full(len(labels), ALONE)
    number[order] = np.arange(len(order))
    return number[inverse]
