"""Choose the database images of the class that is predicted for a query, to verify these.

They need not be among the query's neighbours: those that are not are put behind them. Arrays in,
arrays out; knows no head and no local features, reads and writes no files.
"""

import numpy as np
from numpy.typing import NDArray

from index.neighbors import Neighbors

from .database import Database

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def add_class_images(
    neighbors: Neighbors,
    database: Database,
    vectors: Floats,
    classes: Ints,
    *,
    most: int,
    own: Ints | None = None,
) -> tuple[Neighbors, Bools]:
    """Put the images of a class behind the neighbours of each query, where they are not among them.

    Columns 0 to K - 1 stay what they were. K' does not depend on the queries: it is K and as many
    more as `most` and the largest class of the database allow.

    Args:
        neighbors: the K nearest of Q queries.
        database: that was searched.
        vectors: [Q, U, dim] the queries as they were searched, of length 1.
        classes: [Q] landmark_id of the class of each query; -1, or a class that the database does
            not have, for none.
        most: images of the class that are chosen, the most similar; ties go to the lower row.
        own: [Q] the query's own row, which is never added; None where there is none.

    Returns:
        The neighbours [Q, K'], and which of them [Q, K'] are the images chosen.
    """
    width = min(most, database.rows.largest_class)
    rows = np.full((len(classes), width), -1, dtype=np.int64)
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    for label in np.unique(classes):
        members = database.rows.rows_of_landmark(int(label))
        for query in np.flatnonzero(classes == label):
            known = np.append(neighbors.rows[query], -1 if own is None else own[query])
            missing = most - int(np.isin(members, neighbors.rows[query]).sum())
            far, cosines = _nearest(database, np.setdiff1d(members, known), vectors[query], missing)
            rows[query, : len(far)] = far
            # A search may round otherwise than this product: none is nearer than the K-th.
            scores[query, : len(far)] = np.minimum(cosines, neighbors.scores[query, -1])
    merged = Neighbors(
        np.concatenate([neighbors.rows, rows], axis=1),
        np.concatenate([neighbors.scores, scores], axis=1),
    )
    labels = database.rows.labels(merged.rows)
    of_class = (labels == classes[:, None]) & (classes[:, None] >= 0)
    return merged, of_class & (np.cumsum(of_class, axis=1) <= most)


def _nearest(database: Database, rows: Ints, query: Floats, most: int) -> tuple[Ints, Floats]:
    """Return the rows most similar to a query [U, dim], and their cosines, descending."""
    if not len(rows) or most <= 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    cosines = database.images.cosines(query, rows)
    order = np.lexsort((rows, -cosines))[:most]
    return rows[order], cosines[order]
