"""Make databases of arrays, for tests of what searches them. Reads and writes no files."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embed.whitening import Whitening
from index.images import ImageIndex
from index.rows import RowTable
from pipelines.answers.database import Database


def make_database(
    images: ImageIndex | NDArray[np.float32],
    ids: Iterable[str],
    labels: NDArray[np.int64],
    *,
    names: Mapping[int, str] | None = None,
    whitening: Whitening | None = None,
) -> Database:
    """Return a database of an index, or of vectors [N, dim] or [N, V, dim] as they are searched."""
    if not isinstance(images, ImageIndex):
        images = ImageIndex.build(images[:, None] if images.ndim == 2 else images)
    rows = RowTable.build(ids, labels)
    return Database(images, rows, dict(names or {}), "m", "train", False, "key", whitening)


def take_rows(database: Database, kept: NDArray[np.bool_]) -> Database:
    """Return a database of some rows, as if it had been built of these."""
    rows = np.flatnonzero(kept)
    return replace(
        database,
        images=ImageIndex.build(database.images.vectors(rows)),
        rows=RowTable.build(database.rows.ids(rows), database.rows.landmark_ids[rows]),
    )
