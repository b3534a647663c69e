"""Decide which of the images that are the same is kept. Reads and writes no files."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from .catalogue import ASKED, CLEANED
from .problems import Findings


def reject_duplicates(
    found: Findings, alive: NDArray[np.bool_], *, near: bool
) -> NDArray[np.object_]:
    """Return why each entry of a catalogue goes, [E] of str, or None where it stays.

    Of images of one table that are the same, the first one stays, which is the largest, or else
    the one with the smallest id; none does where one of test or validation is the same. Tables do
    not compete with one another otherwise: the database may repeat what was trained on.

    An image goes as a twin of one that stays, not as a twin of a twin: of a chain of images, each
    like the next and unlike the others, every other one stays.

    Args:
        found: the findings of a check.
        alive: [E], entries that do not go for another reason.
        near: count near duplicates, too.
    """
    entries, ids = found.catalogue.entries, found.catalogue.ids
    same, neighbors = _find_same(found), _list_neighbors(found) if near else {}
    twinned = np.isin(np.arange(len(ids)), [found.twins.first, found.twins.later])
    rows, tables = entries["row"].to_numpy(), entries["table"].to_numpy()
    candidates = np.flatnonzero(alive & twinned[rows])
    candidates = candidates[np.argsort(rows[candidates], kind="stable")]
    reasons = np.full(len(entries), None, dtype=object)
    asked: dict[int, int] = {}  # the image that stays, by the first of those of the same bytes
    for row in rows[candidates[tables[candidates] == "test"]].tolist():
        asked.setdefault(same[row], row)
    for table in CLEANED:
        kept = dict(asked)
        for entry in candidates[tables[candidates] == table].tolist():
            row = int(rows[entry])
            twins = [twin for twin in neighbors.get(same[row], ()) if twin in kept]
            if same[row] in kept:
                reasons[entry] = f"exact_duplicate of {ids[kept[same[row]]]}"
            elif twins:
                reasons[entry] = f"near_duplicate of {ids[kept[twins[0]]]}"
            else:
                kept[same[row]] = row
        if table in ASKED:
            asked = kept
    return reasons


def _find_same(found: Findings) -> list[int]:
    """Return the first image of the same bytes as each, [N]."""
    exact = found.twins.exact
    same = np.arange(len(found.catalogue.ids))
    same[found.twins.later[exact]] = found.twins.first[exact]
    return same.tolist()


def _list_neighbors(found: Findings) -> dict[int, list[int]]:
    """Return the near twins of each image that has some, in order."""
    near = ~found.twins.exact
    neighbors = defaultdict(list)
    for first, later in zip(found.twins.first[near], found.twins.later[near], strict=True):
        neighbors[int(first)].append(int(later))
        neighbors[int(later)].append(int(first))
    return {row: sorted(twins) for row, twins in neighbors.items()}
