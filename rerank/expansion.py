"""Query expansion and database augmentation: descriptors move towards their nearest neighbours.

Queries: search, expand_queries, search again. Database: search it with itself, augment_database,
index what comes out. Neither looks at labels. Arrays in, arrays out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Of an image itself and of its 9 nearest: from 1 down to 0.03.
DECAY = tuple(np.logspace(0, -1.5, 10).tolist())
CHUNK_VALUES = 1 << 23  # numbers of gathered neighbours in memory at a time; 32 MB


def expand_queries(
    queries: NDArray[np.floating],
    database: NDArray[np.floating],
    rows: NDArray[np.int64],
    scores: NDArray[np.floating],
    *,
    count: int,
    alpha: float,
) -> NDArray[np.float32]:
    """Add to each query its nearest database images, weighted by cosine^alpha (alpha-QE).

    A neighbour of negative cosine counts nothing, nor does padding. Alpha 0 weights the others
    alike (average query expansion); towards infinity the query stays as it is.

    Args:
        queries: [Q, D], rows of length 1.
        database: [N, D], rows of length 1.
        rows: [Q, K] rows of the database, nearest first; -1 is padding.
        scores: [Q, K] their cosines.
        count: neighbours to add; beyond K all are.
        alpha: exponent, 0 or more.

    Returns:
        [Q, D], rows of length 1: what to search with again.

    Raises:
        ValueError: shapes that do not fit, rows that the database does not have, a negative count
            or alpha.

    Source:
        Radenović, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, 2018
        (alpha = 3).

    >>> found = np.array([[0, 1]])
    >>> expand_queries(np.eye(2)[:1], np.array([[0.6, 0.8], [-1, 0]]), found, np.array([[0.6, -1]]),
    ...     count=2, alpha=1).round(3).tolist()
    [[0.9430000185966492, 0.3330000042915344]]
    """
    if count < 0 or not 0 <= alpha < np.inf:
        raise ValueError(f"count is {count} and alpha {alpha}, expected 0 or more of both")
    if rows.shape != scores.shape:
        raise ValueError(f"rows {rows.shape} and scores {scores.shape}, expected [Q, K] of both")
    _check_neighbors(queries, database, rows)
    rows, scores = rows[:, :count], scores[:, :count]
    used = (rows >= 0) & (scores > 0)
    weights = np.where(used, np.where(used, scores, 1.0) ** alpha, 0.0)
    return _add_weighted(queries, database, rows, weights)


def augment_database(
    vectors: NDArray[np.floating],
    rows: NDArray[np.int64],
    *,
    weights: Sequence[float] = DECAY,
    first: int = 0,
) -> NDArray[np.float32]:
    """Replace each image by the weighted sum of itself and its nearest (DBA), or n in a row.

    The image itself always comes first: it is taken out of its own neighbours, wherever exact
    duplicates have pushed it.

    Args:
        vectors: [N, D], rows of length 1.
        rows: [n, K] nearest rows of n of the same vectors, themselves included or not; -1 is
            padding. For all weights to be used K must be as many as they are.
        weights: of the image itself, of its nearest, of the next, and so on.
        first: the row of the first of the n.

    Returns:
        [n, D], rows of length 1.

    Raises:
        ValueError: shapes that do not fit, rows that there are not, weights that are none, negative
            or not finite, or a first one of 0.

    Source:
        Arandjelović, Zisserman: Three Things Everyone Should Know to Improve Object Retrieval,
        2012. The default weights were published with solutions of the Google Landmark Retrieval
        challenges.

    >>> vectors = np.array([[1, 0], [1, 0], [0, 1]])
    >>> augment_database(vectors, np.array([[0, 1], [0, 1], [2, 0]]), weights=[1, 0.75]).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.6000000238418579, 0.800000011920929]]
    """
    decay = np.asarray(weights, dtype=np.float64)
    if decay.ndim != 1 or not len(decay) or not (np.isfinite(decay) & (decay >= 0)).all():
        raise ValueError(f"weights are {weights}, expected some numbers of 0 or more")
    if decay[0] == 0:
        raise ValueError(f"weights are {weights}, expected the first, of the image itself, above 0")
    replaced = vectors[first : first + len(rows)]
    _check_neighbors(replaced, vectors, rows)
    own = first + np.arange(len(rows))[:, None]
    # A stable sort of False and True: the others in their order, then the image itself.
    order = np.argsort(rows == own, axis=1, kind="stable")[:, : len(decay) - 1]
    others = np.take_along_axis(rows, order, axis=1)
    used = (others >= 0) & (others != own)
    shares = np.where(used, decay[1 : 1 + others.shape[1]] / decay[0], 0.0)
    return _add_weighted(replaced, vectors, others, shares)


def _check_neighbors(
    queries: NDArray[np.floating], vectors: NDArray[np.floating], rows: NDArray[np.int64]
) -> None:
    if queries.ndim != 2 or vectors.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"vectors have shapes {queries.shape} and {vectors.shape}, expected [Q, D] and [N, D]; "
            "embed both with the same model"
        )
    if rows.ndim != 2 or len(rows) != len(queries):
        raise ValueError(f"rows have shape {rows.shape}, expected [{len(queries)}, K]")
    if rows.size and not -1 <= rows.min() <= rows.max() < len(vectors):
        raise ValueError(
            f"rows run from {rows.min()} to {rows.max()}, expected -1 to {len(vectors) - 1}; "
            "search the same vectors that are given"
        )


def _add_weighted(
    queries: NDArray[np.floating],
    vectors: NDArray[np.floating],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return queries + sum over k of weights[:, k] * vectors[rows[:, k]], rows of length 1."""
    total = np.array(queries, dtype=np.float32)
    shares = weights.astype(np.float32)[:, None, :]
    # In chunks: the neighbours of a million images, gathered at once, would not fit in memory.
    step = max(1, CHUNK_VALUES // max(1, rows.shape[1] * total.shape[1]))
    for start in range(0, len(rows), step):
        chunk = slice(start, start + step)
        # Row -1 gathers the last vector; its weight is 0.
        total[chunk] += np.matmul(shares[chunk], vectors[rows[chunk]])[:, 0]
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)
