"""Cosines of a query's descriptors to those of its candidates, by the fastest product there is.

Rows of 8 bits are multiplied exactly, as integers or in float32, which holds their sums: both give
the same bits on any processor. Knows nothing of matches. Reads and writes no files.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .integer_graph import find_graph, invert_norms

Floats = NDArray[np.float32]

MAX_EXACT_DIM = 2**24 // 255**2  # float32 holds every sum of so many products of 8 bits


def list_cosines(
    descriptors0: NDArray[Any], candidates: Sequence[NDArray[Any]]
) -> Iterator[Floats]:
    """Yield the cosines of a query's rows to those of one candidate after the other.

    Args:
        descriptors0: [N, D] of the query: uint8, as those of all candidates, or float16 or float32.
        candidates: [N_c, D] arrays, one a candidate.

    Yields:
        [N, N_c] float32, whose memory the next one takes; 0 for rows of zeros.
    """
    # One buffer for all products: of 1,000 rows each, fresh pages took a tenth of the time.
    buffer = np.empty(len(descriptors0) * max(map(len, candidates), default=0), np.float32)

    def place(descriptors1: NDArray[Any]) -> Floats:
        shape = len(descriptors0), len(descriptors1)
        return buffer[: shape[0] * shape[1]].reshape(shape)

    if descriptors0.dtype != np.uint8 or descriptors0.shape[1] > MAX_EXACT_DIM:
        units0 = unit_rows(descriptors0)
        for descriptors1 in candidates:
            yield np.matmul(units0, unit_rows(descriptors1).T, out=place(descriptors1))
        return
    graph = find_graph(descriptors0.shape[1]).get(descriptors0.size * sum(map(len, candidates)))
    if graph is not None:
        yield from graph.list_cosines(descriptors0, candidates)
        return
    rows0 = descriptors0.astype(np.float32)
    inverses0 = invert_norms(rows0)
    for descriptors1 in candidates:
        rows1 = descriptors1.astype(np.float32)
        found = np.matmul(rows0, rows1.T, out=place(descriptors1))
        found *= invert_norms(rows1)  # in this order, as the graph does: else bits would differ
        found *= inverses0[:, None]
        yield found


def unit_rows(descriptors: NDArray[Any]) -> Floats:
    """Return the rows as float32 of length 1; rows of zeros stay zeros."""
    rows = descriptors.astype(np.float32)
    rows *= invert_norms(rows)[:, None]
    return rows
