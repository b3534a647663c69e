"""Draw a small sample of a dataset: some landmarks with some photos, some of every other table.

Takes tables that were read; reads and writes no files.
"""

import math

import numpy as np
import pyarrow as pa

from embed.errors import InputError
from pipelines.datasets.facts.tables import Tables

# Of a landmark, where there are enough landmarks: so many that the usual share of a tenth holds one
# out.
PHOTOS = 6


def draw_sample(tables: Tables, photos: int, least: int, *, seed: int = 0) -> dict[str, pa.Table]:
    """Draw about so many training photos, and of queries and of the pool in proportion.

    Args:
        tables: to draw from.
        photos: of the training set, or of the database where there is none.
        least: photos that a landmark needs, 1 or more; those of fewer are not drawn.
        seed: decides which.

    Returns:
        A table for each split there is: id, and landmark_id where it has labels. Photos of the
        landmarks that were drawn come first into index and validation.

    Raises:
        InputError: no landmark has enough photos, or of 2 and more only one has.
    """
    rng = np.random.default_rng(seed)
    labels = tables.landmark_ids[tables.classes]
    landmarks, sizes = np.unique(labels, return_counts=True)
    enough = rng.permutation(np.flatnonzero(sizes >= least))
    if len(enough) < min(least, 2):
        raise InputError(
            f"training needs two landmarks of {least} photos and more, and {tables.classes} has "
            f"{len(enough)}; add photos, or leave the training out: --set train.epochs=0"
        )
    each = max(PHOTOS, least, math.ceil(photos / len(enough)))
    total = np.cumsum(np.minimum(sizes[enough], each))
    count = max(int(np.searchsorted(total, photos)) + 1, 2)  # training tells two apart at least
    chosen = landmarks[enough[:count]]
    counts = {"index": photos, "validation": max(photos // 4, 1), "test": max(photos // 3, 1)}
    counts["non_landmark"] = max(photos // 4, 2)  # either half of it has a use
    drawn = {}
    for split, ids in tables.ids.items():
        rows = rng.permutation(len(ids))
        of = tables.landmark_ids.get(split)
        if split == tables.classes:
            found = [rows[labels[rows] == landmark][:each] for landmark in chosen]
            rows = np.concatenate([rows[:0], *found])
        elif of is not None:
            rows = rows[np.argsort(~np.isin(of[rows], chosen), kind="stable")]
        if split != tables.classes:
            rows = rows[: counts[split]]
        columns = {"id": ids.take(pa.array(np.sort(rows)))}
        if of is not None:
            columns["landmark_id"] = pa.array(of[np.sort(rows)])
        drawn[split] = pa.table(columns)
    return drawn
