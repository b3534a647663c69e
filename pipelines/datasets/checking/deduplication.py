"""Decide which of the images that are the same is kept. Reads and writes no files."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from .catalogue import CLEANED, QUERIES
from .problems import Findings


def reject_duplicates(
    found: Findings, alive: NDArray[np.bool_], *, near: bool
) -> NDArray[np.object_]:
    """Return why each entry of a catalogue goes, [E] of str, or None where it stays.

    Of images of one table that are the same, the first one stays, which is the largest, or else
    the one with the smallest id; none does where one of test or validation is the same. Tables do
    not compete with one another otherwise: the database may repeat what was trained on.

    An image goes as a duplicate of one that stays, not as one of one that goes: of a chain, each
    image like the next and unlike the others, every other one stays.

    Args:
        found: the findings of a check.
        alive: [E], entries that do not go for another reason.
        near: count near duplicates, too.
    """
    entries, ids = found.catalogue.entries, found.catalogue.ids
    same, neighbors = _find_same(found), _list_neighbors(found) if near else {}
    duplicated = np.isin(np.arange(len(ids)), [found.duplicates.first, found.duplicates.later])
    rows, tables = entries["row"].to_numpy(), entries["table"].to_numpy()
    candidates = np.flatnonzero(alive & duplicated[rows])
    candidates = candidates[np.argsort(rows[candidates], kind="stable")]
    reasons = np.full(len(entries), None, dtype=object)
    kept_queries = dict[int, int]()  # the image that stays, by the first of the same bytes
    for row in rows[candidates[tables[candidates] == "test"]].tolist():
        kept_queries.setdefault(same[row], row)
    for table in CLEANED:
        kept = dict(kept_queries)
        for entry in candidates[tables[candidates] == table].tolist():
            row = int(rows[entry])
            duplicates = [other for other in neighbors.get(same[row], ()) if other in kept]
            if same[row] in kept:
                reasons[entry] = f"exact_duplicate of {ids[kept[same[row]]]}"
            elif duplicates:
                reasons[entry] = f"near_duplicate of {ids[kept[duplicates[0]]]}"
            else:
                kept[same[row]] = row
        if table in QUERIES:
            kept_queries = kept
    return reasons


def _find_same(found: Findings) -> list[int]:
    """Return the first image of the same bytes as each, [N]."""
    exact = found.duplicates.exact
    same = np.arange(len(found.catalogue.ids))
    same[found.duplicates.later[exact]] = found.duplicates.first[exact]
    return same.tolist()


def _list_neighbors(found: Findings) -> dict[int, list[int]]:
    """Return the near duplicates of each image that has some, in order."""
    near = ~found.duplicates.exact
    neighbors = defaultdict(list)
    for first, later in zip(
        found.duplicates.first[near], found.duplicates.later[near], strict=True
    ):
        neighbors[int(first)].append(int(later))
        neighbors[int(later)].append(int(first))
    return {row: sorted(duplicates) for row, duplicates in neighbors.items()}
