"""Search images that have several vectors each: of the whole image, and of its regions.

What is found is merged to images: the cosine of a query and an image is the largest of any vector
of the one and any of the other. Reads and writes no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .neighbors import Neighbors
from .search import build_index, search

MOST_HITS = 1 << 22  # rows of the index that are sorted at a time


@dataclass(frozen=True)
class ImageIndex:
    """A FAISS index of N images with V vectors each, those of an image side by side.

    The first of an image is that of the whole; with V = 1 there are no others, and all is as in
    index.search.
    """

    rows: Any  # faiss.Index of N * V rows
    per_image: int = 1  # V

    @classmethod
    def build(cls, vectors: NDArray[np.floating]) -> Self:
        """Return an exact index over vectors [N, V, dim] of length 1. Errors as build_index."""
        count, per_image, dim = vectors.shape
        return cls(build_index(vectors.reshape(count * per_image, dim)), per_image)

    def __len__(self) -> int:
        """Return N."""
        return int(self.rows.ntotal) // self.per_image

    def whole(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return [n, dim] the vectors of whole images."""
        # Not reconstruct_n: of faiss with torch support it returns a tensor.
        return np.asarray(self.rows.reconstruct_batch(images * self.per_image))

    def vectors(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return [n, V, dim] all vectors of images."""
        places = images[:, None] * self.per_image + np.arange(self.per_image)
        found = self.rows.reconstruct_batch(places.ravel())
        return np.asarray(found).reshape(len(images), self.per_image, self.rows.d)

    def search(self, query_ids: Sequence[str], queries: NDArray[np.floating], k: int) -> Neighbors:
        """Find the k nearest images of each query, exactly; of equal ones the lower row is first.

        Args:
            query_ids: [Q].
            queries: [Q, U, dim], vectors of length 1.
            k: at least 1; beyond N the result is padded.

        Raises:
            ValueError: another dim than the index, vectors not of length 1, or k below 1.
        """
        count, each, dim = queries.shape
        if each == self.per_image == 1:
            return search(self.rows, query_ids, queries[:, 0], k)
        rows = np.full((count, k), -1, dtype=np.int64)
        scores = np.full((count, k), -np.inf, dtype=np.float32)
        pending, fetch = np.arange(count), min(4 * k, self.rows.ntotal)
        while len(pending):
            undecided = []
            step = max(MOST_HITS // (each * fetch), 1)
            for places in np.split(pending, range(step, len(pending), step)):
                names = [query_ids[place] for place in np.repeat(places, each).tolist()]
                hits = search(self.rows, names, queries[places].reshape(-1, dim), fetch)
                found = merge_hits(hits, self.per_image, each, k)
                rows[places], scores[places] = found
                # What no vector of the query has come to is no nearer than the last hit of any.
                unseen = hits.scores[:, -1].reshape(-1, each).max(axis=1)
                undecided.append(places[unseen >= found[1][:, -1]])
            pending = np.concatenate(undecided) if fetch < self.rows.ntotal else pending[:0]
            fetch = min(4 * fetch, self.rows.ntotal)
        return Neighbors(tuple(query_ids), rows, scores)

    def nearest_cosines(self, queries: NDArray[np.floating], count: int) -> NDArray[np.float32]:
        """Return [Q, min(count, N)] the largest cosines of queries [Q, U, dim], descending."""
        count = min(count, len(self))
        if not len(queries):
            return np.empty((0, count), dtype=np.float32)
        return self.search([str(row) for row in range(len(queries))], queries, count).scores

    def cosines(self, query: NDArray[np.float32], images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return [n] the cosines of one query [U, dim] to images."""
        vectors = self.vectors(images).reshape(-1, self.rows.d)
        products = np.stack([vectors @ one for one in query])
        pairs = products.reshape(len(query), len(images), self.per_image)
        return np.asarray(pairs.max(axis=(0, 2)))

    def best_pair(self, query: NDArray[np.float32], image: int) -> tuple[int, int]:
        """Return which vector of a query [U, dim] and which of an image are nearest; 0: whole."""
        products = query @ self.vectors(np.array([image]))[0].T
        best = np.unravel_index(int(products.argmax()), products.shape)
        return int(best[0]), int(best[1])


def merge_hits(
    hits: Neighbors, per_image: int, each: int, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Merge the rows found by the vectors of each query to its k nearest images, best first.

    Args:
        hits: of [Q * each] vectors, those of a query side by side.
        per_image: rows of the index that an image has.
        each: vectors of a query.
        k: beyond the images found the result is padded.

    Returns:
        Images [Q, k], -1 for padding, and their largest scores, -inf for padding.
    """
    width = hits.rows.shape[1]
    images = np.where(hits.rows < 0, -1, hits.rows // per_image).reshape(-1, each * width)
    scores = hits.scores.reshape(images.shape)
    images, scores = _sort(images, scores, np.lexsort((-scores, images), axis=1))
    again = np.zeros(images.shape, dtype=np.bool_)
    again[:, 1:] = images[:, 1:] == images[:, :-1]
    images, scores = np.where(again, -1, images), np.where(again, np.float32(-np.inf), scores)
    images, scores = _sort(images, scores, np.lexsort((images, -scores), axis=1)[:, :k])
    room = ((0, 0), (0, k - images.shape[1]))
    return np.pad(images, room, constant_values=-1), np.pad(scores, room, constant_values=-np.inf)


def _sort(
    images: NDArray[np.int64], scores: NDArray[np.float32], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return np.take_along_axis(images, order, axis=1), np.take_along_axis(scores, order, axis=1)
