"""Build and search a FAISS index of unit vectors by cosine, with ties in a fixed order.

Reads and writes index.faiss. Knows rows, not ids or labels.
"""

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError, MissingFileError

from .neighbors import Neighbors


def build_index(embeddings: NDArray[np.floating]) -> faiss.IndexFlatIP:
    """Return an exact index over embeddings [N, dim], rows of length 1.

    Raises:
        InputError: no rows, not a matrix, not finite, or rows that are not of length 1.
    """
    xb = check_vectors(embeddings, "database")
    if not len(xb):
        raise InputError("there are no database embeddings to index; embed some images first")
    index = faiss.IndexFlatIP(xb.shape[1])
    index.add(xb)
    return index


def search(index: faiss.Index, embeddings: NDArray[np.floating], k: int) -> Neighbors:
    """Find the k nearest database rows of each query.

    FAISS leaves the order of equal scores open, and which of them make the first k. Here the lower
    row comes first, as if all scores had been sorted.

    Args:
        index: of N rows.
        embeddings: [Q, dim], rows of length 1.
        k: at least 1; beyond N the result is padded.

    Raises:
        InputError: another dim than the index, vectors not of length 1, or k below 1.
    """
    xq = check_vectors(embeddings, "query")
    if xq.shape[1] != index.d:
        raise ValueError(
            f"query dim {xq.shape[1]} != index dim {index.d}; embed both with the same model"
        )
    if k < 1:
        raise ValueError(f"k is {k}, must be at least 1")
    rows = np.full((len(xq), k), -1, dtype=np.int64)
    scores = np.full((len(xq), k), -np.inf, dtype=np.float32)
    pending = np.arange(len(xq))
    fetch = min(k + 8, index.ntotal)
    while len(pending):
        found_scores, found = index.search(xq[pending], fetch)
        order = np.lexsort((found, -found_scores), axis=1)
        found = np.take_along_axis(found, order, axis=1)
        found_scores = np.take_along_axis(found_scores, order, axis=1)
        keep = min(k, fetch)
        rows[pending, :keep], scores[pending, :keep] = found[:, :keep], found_scores[:, :keep]
        # Unless a lower score was seen after the k-th, more rows may tie with it.
        undecided = found_scores[:, -1] >= found_scores[:, keep - 1]
        pending = pending[undecided] if fetch < index.ntotal else pending[:0]
        fetch = min(fetch * 4, index.ntotal)
    return Neighbors(rows, scores)


def save_index(index: faiss.Index, path: Path) -> None:
    """Write an index to a file."""
    faiss.write_index(index, str(path))


def load_index(path: Path) -> faiss.Index:
    """Read an index.

    Raises:
        MissingFileError: no file there.
        InputError: the file is no FAISS index.
    """
    if not path.is_file():
        raise MissingFileError(f"no index at {path}; run `cairn index` first")
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is not a FAISS index; run `cairn index --redo`") from error


def check_vectors(embeddings: NDArray[np.floating], name: str) -> NDArray[np.float32]:
    """Return embeddings [n, dim] as float32, contiguous.

    Args:
        embeddings: rows of length 1, but for the rounding of float16.
        name: of what they are, for the error.

    Raises:
        ValueError: not a matrix, or rows of another length.
    """
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"{name} embeddings have shape {vectors.shape}, want [N, dim]")
    # Float16 storage moves the length by at most 1e-3.
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) < 5e-3).all():
        row = int(np.flatnonzero(~(np.abs(lengths - 1) < 5e-3))[0])
        raise ValueError(f"{name} embedding {row} has length {lengths[row]:.4g}, want 1")
    return vectors
