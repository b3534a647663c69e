"""Re-rank the nearest images by descriptors that are refined with one another (SuperGlobal).

No training and no local features: of each query only the descriptors of its candidates are needed.
Arrays in, arrays out; knows no labels.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embed.parallel import count_cores, map_parallel
from index.neighbors import Neighbors

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CHUNK_VALUES = 1 << 23  # numbers of candidates' descriptors that a core holds at a time; 32 MB


def rerank_neighbors(
    neighbors: Neighbors,
    queries: Floats,
    find_vectors: Callable[[Ints], Floats],
    *,
    count: int,
    nearest: int,
    beta: float,
) -> Neighbors:
    """Put the first neighbours of each query in the order of their refined similarity.

    Args:
        neighbors: of Q queries, the K nearest.
        queries: [Q, D] as they were searched, rows of length 1.
        find_vectors: returns the database's descriptors [n, D], rows of length 1, of rows [n].
        count: neighbours that are re-ranked; beyond K all are.
        nearest: see refine_similarities.
        beta: see refine_similarities.

    Returns:
        The same neighbours. Scores of the first `count` are their refined similarities, those of
        the others their cosines, at most the lowest refined one, so that scores descend. Ties stay
        in the order they had.
    """
    rows = neighbors.rows[:, :count]
    refined = np.empty(rows.shape, dtype=np.float32)
    fitting = CHUNK_VALUES // max(1, rows.shape[1] * queries.shape[1])
    step = max(1, min(fitting, -(-len(rows) // count_cores())))

    def refine(start: int) -> None:
        chunk = slice(start, start + step)
        there = rows[chunk] >= 0
        found = find_vectors(np.maximum(rows[chunk], 0).ravel()).reshape(*there.shape, -1)
        candidates = found if there.all() else np.where(there[..., None], found, np.float32(0))
        similar = refine_similarities(queries[chunk], candidates, nearest=nearest, beta=beta)
        refined[chunk] = np.where(there, similar, -np.inf)

    # A core a chunk: the threads of BLAS would wait for one another where cores are busy.
    for _ in map_parallel(refine, range(0, len(rows), step)):
        pass
    order = np.argsort(-refined, axis=1, kind="stable")
    scores = np.take_along_axis(refined, order, axis=1)
    others = np.minimum(neighbors.scores[:, count:], scores[:, -1:])
    return Neighbors(
        np.concatenate(
            [np.take_along_axis(rows, order, axis=1), neighbors.rows[:, count:]], axis=1
        ),
        np.concatenate([scores, others], axis=1),
    )


def refine_similarities(
    queries: Floats, candidates: Floats, *, nearest: int, beta: float
) -> Floats:
    """Return how similar each query is to its candidates once both are refined.

    A candidate is refined by its nearest other candidates: itself plus beta times each, weighted by
    cosine; a negative one counts nothing. A query is refined to the largest value that each
    dimension has in the nearest + 1 refined candidates that are most similar to it. The similarity
    of a candidate is the mean of two cosines: of the refined candidate to the query as it is, and
    to the refined query.

    Args:
        queries: [Q, D], rows of length 1.
        candidates: [Q, M, D], rows of length 1; a row of zeros is padding, and helps no other.
        nearest: candidates that refine another, and all but one of those that refine the query;
            beyond M - 1 all.
        beta: weight of a neighbour of cosine 1 beside the candidate's own 1, 0 or more.

    Returns:
        [Q, M], from -1 to 1; 0 for padding.

    Raises:
        ValueError: shapes that do not fit, no neighbours, or a negative beta.

    Source:
        Shao et al.: Global Features are All You Need for Image Retrieval and Reranking, 2023,
        section 3.3 (M = 400, K = 9, beta = 0.15), read with their code, but for the lengths: there
        refined descriptors are means and maxima of any length, here of length 1, so that the result
        is a cosine.

    >>> pair = np.array([[[1, 0], [0.8, 0.6]]], dtype=np.float32)
    >>> refine_similarities(pair[:, 0], pair, nearest=1, beta=0).round(2).tolist()
    [[0.9300000071525574, 0.8999999761581421]]
    """
    _check(queries, candidates, nearest, beta)
    at = np.arange(len(queries))[:, None, None]
    cosines = candidates @ candidates.swapaxes(1, 2)  # of one array with itself: half the time
    near = _find_nearest(cosines, nearest)
    own = np.take_along_axis(cosines, near, axis=2)
    weights = np.float32(beta) * np.maximum(own, np.float32(0))
    # Lengths follow from cosines: only those that refine the query are summed as vectors.
    among = cosines[at[..., None], near[..., None], near[:, :, None]]  # [Q, M, K, K]
    squares = 2 * (weights * own) + weights * (among @ weights[..., None])[..., 0]
    lengths = np.sqrt(1 + squares.sum(axis=2))

    def compare(vectors: Floats) -> Floats:
        """Return the cosines [Q, M] of vectors [Q, D] to the refined candidates."""
        plain = (candidates @ vectors[:, :, None])[:, :, 0]
        return np.asarray((plain + (weights * plain[at, near]).sum(axis=2)) / lengths)

    first = compare(queries)
    padding = np.logical_not(candidates.any(axis=2))
    best = np.argsort(np.where(padding, np.inf, -first), axis=1, kind="stable")[:, : nearest + 1]
    query = at[:, :, 0]
    helped = (weights[query, best][:, :, None] @ candidates[at, near[query, best]])[:, :, 0]
    refined = (candidates[query, best] + helped) / lengths[query, best][:, :, None]
    # The first is no padding unless all are: those are maxima of nothing but zeros.
    refined = np.where(padding[query, best][:, :, None], refined[:, :1], refined)
    largest = refined.max(axis=1)
    largest /= np.maximum(np.linalg.norm(largest, axis=1, keepdims=True), np.float32(1e-12))
    return np.clip((first + compare(largest)) / 2, -1, 1)


def _find_nearest(cosines: Floats, count: int) -> Ints:
    """Return [Q, M, K] the other candidates with the largest cosines [Q, M, M], in rising order.

    K is count, or M - 1 if that is less. Of equal ones the first are taken.
    """
    total, many, _ = cosines.shape
    count = min(count, many - 1)
    every = np.arange(many)
    cosines = cosines.copy()
    cosines[:, every, every] = -np.inf
    least = (
        np.partition(cosines, many - count, axis=2)[:, :, many - count, None] if count else np.inf
    )
    found = np.flatnonzero(cosines >= least)
    if len(found) == total * many * count:  # three times as fast as argpartition
        return np.asarray((found % many).reshape(total, many, count), dtype=np.int64)
    ranked = np.argsort(-cosines, axis=2, kind="stable")[:, :, :count]
    return np.sort(ranked, axis=2)


def _check(queries: Floats, candidates: Floats, nearest: int, beta: float) -> None:
    if candidates.ndim != 3 or queries.shape != (len(candidates), candidates.shape[2]):
        raise ValueError(
            f"queries {queries.shape} and candidates {candidates.shape}, expected [Q, D] and "
            "[Q, M, D]"
        )
    if not candidates.shape[1]:
        raise ValueError("there are no candidates to re-rank; search for some")
    if nearest < 1 or not 0 <= beta < np.inf:
        raise ValueError(f"nearest is {nearest} and beta {beta}, expected 1 and 0 or more")
