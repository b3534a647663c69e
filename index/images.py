"""Search N images of V vectors each: one of the whole image, and those of its regions.

The cosine of a query and an image is the largest of any vector of the one and any of the other. An
index is what was built, its base, and what changed since: images that were added, which are
compared one by one, and images that were removed. Row numbers stay: first the images of the base,
then the added ones in their order; a removed one keeps its number and is never found. Reads and
writes no files; knows no ids and no labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .neighbors import Neighbors
from .search import build_index, check_vectors

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MOST_HITS = 1 << 22  # numbers that are sorted, or compared one by one, at a time


@dataclass(frozen=True, eq=False)
class Within:
    """What lies within a radius of each of Q queries, the nearest first."""

    starts: Ints  # [Q + 1]: of query q are rows[starts[q] : starts[q + 1]]
    rows: Ints  # [R] of the database
    scores: Floats  # [R] cosines, descending within a query


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """N images of V vectors, those of an image side by side; the first is of the whole image."""

    base: Any  # faiss.Index of N0 * V rows
    per_image: int = 1  # V
    added: Floats | None = None  # [M, V, dim], rows of length 1
    removed: Bools | None = None  # [N0 + M]

    @classmethod
    def build(cls, vectors: NDArray[np.floating]) -> Self:
        """Return an exact index over vectors [N, V, dim] of length 1. Errors as build_index."""
        count, per_image, dim = vectors.shape
        return cls(build_index(vectors.reshape(count * per_image, dim)), per_image)

    def with_changes(self, added: NDArray[np.floating], removed: Bools) -> Self:
        """Return an index of the same base with these changes, and no others.

        Args:
            added: [M, V, dim], vectors of length 1 of images that follow those of the base.
            removed: [N0 + M] the images that are not found any more.

        Raises:
            ValueError: another V or dim than the base, vectors not of length 1, or another number
                of flags than of images.
        """
        if added.ndim != 3 or added.shape[1:] != (self.per_image, self.dim):
            raise ValueError(
                f"added images have vectors {added.shape}, the index [N, {self.per_image}, "
                f"{self.dim}]; embed them with the model of the index"
            )
        vectors = check_vectors(added.reshape(-1, self.dim), "added").reshape(added.shape)
        count = self._base_count + len(added)
        if removed.shape != (count,) or removed.dtype != np.bool_:
            raise ValueError(f"removed is {removed.dtype} {removed.shape}, want bool [{count}]")
        kept = removed if removed.any() else None
        return type(self)(self.base, self.per_image, vectors if len(vectors) else None, kept)

    def __len__(self) -> int:
        """Return N, the images that have a row: removed ones count."""
        return self._base_count + (0 if self.added is None else len(self.added))

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self.base.d)

    @property
    def live(self) -> int:
        """The number of images that can be found: removed ones do not count."""
        return len(self) - (0 if self.removed is None else int(self.removed.sum()))

    @property
    def _base_count(self) -> int:
        return int(self.base.ntotal) // self.per_image

    def whole(self, images: Ints) -> Floats:
        """Return [n, dim] the vectors of whole images."""
        return self._read(images, 1)[:, 0]

    def vectors(self, images: Ints) -> Floats:
        """Return [n, V, dim] all vectors of images."""
        return self._read(images, self.per_image)

    def _read(self, images: Ints, count: int) -> Floats:
        """Return [n, count, dim] the first vectors of images."""
        late = images >= self._base_count
        early = images if self.added is None else images[~late]
        places = (early[:, None] * self.per_image + np.arange(count)).ravel()
        # Not reconstruct_n: of faiss with torch support it returns a tensor.
        found = np.asarray(self.base.reconstruct_batch(places)).reshape(-1, count, self.dim)
        if self.added is None or not late.any():
            return found
        both = np.empty((len(images), count, self.dim), dtype=np.float32)
        both[~late] = found
        both[late] = self.added[images[late] - self._base_count, :count]
        return both

    def search(
        self,
        queries: NDArray[np.floating],
        k: int,
        excluded: Ints | None = None,
        among: Bools | Ints | None = None,
    ) -> Neighbors:
        """Find the k nearest images of each query; of equal ones the lower row is first.

        Args:
            queries: [Q, U, dim], vectors of length 1.
            k: at least 1; beyond the images that can be found the result is padded.
            excluded: [Q, E] rows that are not found for that query; -1 for none.
            among: the only images that are compared: a mask [N], or distinct rows; None for all.

        Raises:
            ValueError: another dim than the index, vectors not of length 1, k below 1, or rows that
                the index does not have.
        """
        queries = self._check(queries, k)
        excluded = self._check_rows(excluded, len(queries))
        if among is not None:
            return self._compare(queries, k, excluded, self._list_live(among))
        found = self._search_base(queries, k, excluded)
        if self.added is None:
            return found
        late = np.arange(self._base_count, len(self))
        late = late if self.removed is None else late[~self.removed[late]]
        return _merge([found, self._compare(queries, k, excluded, late)], k)

    def search_radius(self, queries: NDArray[np.floating], least: float) -> Within:
        """Return all images whose cosine to a query [Q, U, dim] is `least` or more.

        Of equal ones the lower row is first. Errors as search.
        """
        queries = self._check(queries, 1)
        places, rows, scores = [], [], []
        for images, cosines in self._compare_blocks(queries, self._list_live(None)):
            query, place = np.nonzero(cosines >= least)
            places.append(query)
            rows.append(images[place])
            scores.append(cosines[query, place])
        query, row, score = (
            np.concatenate([np.empty(0, dtype), *parts])
            for parts, dtype in ((places, np.int64), (rows, np.int64), (scores, np.float32))
        )
        order = np.lexsort((row, -score, query))
        starts = np.searchsorted(query[order], np.arange(len(queries) + 1))
        return Within(starts, row[order], score[order])

    def nearest_cosines(self, queries: NDArray[np.floating], count: int) -> Floats:
        """Return the largest cosines of queries [Q, U, dim], descending: [Q, at most count]."""
        count = min(count, self.live)
        if not len(queries) or not count:
            return np.empty((len(queries), count), dtype=np.float32)
        return self.search(queries, count).scores

    def cosines(self, query: Floats, images: Ints) -> Floats:
        """Return [n] the cosines of one query [U, dim] to images."""
        vectors = self.vectors(images).reshape(-1, self.dim)
        products = np.stack([vectors @ one for one in query])
        pairs = products.reshape(len(query), len(images), self.per_image)
        return np.asarray(pairs.max(axis=(0, 2)))

    def best_pair(self, query: Floats, image: int) -> tuple[int, int]:
        """Return which vector of a query [U, dim] and which of an image are nearest; 0: whole."""
        products = query @ self.vectors(np.array([image]))[0].T
        best = np.unravel_index(int(products.argmax()), products.shape)
        return int(best[0]), int(best[1])

    def _check(self, queries: NDArray[np.floating], k: int) -> Floats:
        if queries.ndim != 3 or queries.shape[2] != self.dim:
            raise ValueError(
                f"query vectors have shape {queries.shape}, want [Q, U, {self.dim}]; embed queries "
                "with the model of the index"
            )
        if k < 1:
            raise ValueError(f"k is {k}, must be at least 1")
        return check_vectors(queries.reshape(-1, self.dim), "query").reshape(queries.shape)

    def _check_rows(self, excluded: Ints | None, count: int) -> Ints:
        if excluded is None:
            return np.empty((count, 0), dtype=np.int64)
        if excluded.ndim != 2 or len(excluded) != count:
            raise ValueError(f"excluded has shape {excluded.shape}, want [{count}, E]")
        if excluded.max(initial=-1) >= len(self) or excluded.min(initial=-1) < -1:
            raise ValueError(f"excluded rows are not all from -1 to {len(self) - 1}")
        return excluded

    def _list_live(self, among: Bools | Ints | None) -> Ints:
        """Return rows that can be found, ascending: all, or some of those that are named."""
        if among is None:
            among = np.ones(len(self), dtype=np.bool_)
        if among.dtype != np.bool_:
            if among.max(initial=0) >= len(self) or among.min(initial=0) < 0:
                raise ValueError(f"rows to search among are not all from 0 to {len(self) - 1}")
            rows = np.unique(among)
        elif among.shape != (len(self),):
            raise ValueError(f"the mask to search among is {among.shape}, want [{len(self)}]")
        else:
            rows = np.flatnonzero(among)
        return rows if self.removed is None else rows[~self.removed[rows]]

    def _search_base(self, queries: Floats, k: int, excluded: Ints) -> Neighbors:
        """Find images of the base, looking farther until k of each query are none left out."""
        count, each, dim = queries.shape
        rows = np.full((count, k), -1, dtype=np.int64)
        scores = np.full((count, k), -np.inf, dtype=np.float32)
        total = int(self.base.ntotal)
        several = each > 1 or self.per_image > 1
        pending, fetch = np.arange(count), min((4 if several else 1) * (k + 8), total)
        while len(pending):
            undecided = []
            step = max(MOST_HITS // (each * fetch), 1)
            for places in np.split(pending, range(step, len(pending), step)):
                near, found = self.base.search(queries[places].reshape(-1, dim), fetch)
                images = np.where(found < 0, -1, found // self.per_image)
                images = images.reshape(len(places), -1)
                images = self._drop(images, excluded[places])
                rows[places], scores[places] = keep_nearest(images, near.reshape(images.shape), k)
                # What no vector of the query has come to is no nearer than the last hit of any.
                unseen = near[:, -1].reshape(-1, each).max(axis=1)
                undecided.append(places[unseen >= scores[places, -1]])
            pending = np.concatenate(undecided) if fetch < total else pending[:0]
            fetch = min(4 * fetch, total)
        return Neighbors(rows, scores)

    def _drop(self, images: Ints, excluded: Ints) -> Ints:
        """Return images [Q, n] with -1 for those that are removed, or excluded [Q, E]."""
        out = np.zeros(images.shape, dtype=np.bool_)
        if self.removed is not None:
            out |= self.removed[images]
        if excluded.shape[1]:
            # One sorted list of (query, row) for all: a comparison of each with each is too much.
            query = np.arange(len(images))[:, None] * (len(self) + 1)
            out |= np.isin(images + query, np.where(excluded < 0, -1, excluded + query))
        return np.where(out, np.int64(-1), images)  # what is -1 stays so

    def _compare(self, queries: Floats, k: int, excluded: Ints, images: Ints) -> Neighbors:
        """Find the nearest of some images, ascending, by comparing all of them."""
        count = len(queries)
        best = Neighbors(
            np.full((count, k), -1, dtype=np.int64),
            np.full((count, k), -np.inf, dtype=np.float32),
        )
        for block, cosines in self._compare_blocks(queries, images):
            rows = self._drop(np.broadcast_to(block, cosines.shape), excluded)
            best = _merge([best, Neighbors(*keep_nearest(rows, cosines, k))], k)
        return best

    def _compare_blocks(self, queries: Floats, images: Ints) -> Iterator[tuple[Ints, Floats]]:
        """Yield some images [n] at a time, and the cosines [Q, n] of all queries to them."""
        count, each, dim = queries.shape
        step = max(MOST_HITS // max(count * each * self.per_image, dim * self.per_image), 1)
        for start in range(0, len(images), step):
            block = images[start : start + step]
            products = queries.reshape(-1, dim) @ self.vectors(block).reshape(-1, dim).T
            pairs = products.reshape(count, each, len(block), self.per_image)
            yield block, pairs.max(axis=(1, 3))


def keep_nearest(images: Ints, scores: Floats, k: int) -> tuple[Ints, Floats]:
    """Return the k nearest distinct images of each query, best first, ties by row.

    Args:
        images: [Q, n] found, in any order; one that was found again counts by its best score. -1
            is none.
        scores: [Q, n].
        k: beyond the images found the result is padded.

    Returns:
        Images [Q, k], -1 for padding, and their largest scores, -inf for padding.
    """
    scores = np.where(images < 0, np.float32(-np.inf), scores)
    images, scores = _sort(images, scores, np.lexsort((-scores, images), axis=1))
    again = np.zeros(images.shape, dtype=np.bool_)
    again[:, 1:] = images[:, 1:] == images[:, :-1]
    images, scores = np.where(again, -1, images), np.where(again, np.float32(-np.inf), scores)
    images, scores = _sort(images, scores, np.lexsort((images, -scores), axis=1)[:, :k])
    room = ((0, 0), (0, k - images.shape[1]))
    return np.pad(images, room, constant_values=-1), np.pad(scores, room, constant_values=-np.inf)


def _sort(images: Ints, scores: Floats, order: Ints) -> tuple[Ints, Floats]:
    return np.take_along_axis(images, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _merge(parts: list[Neighbors], k: int) -> Neighbors:
    rows = np.concatenate([part.rows for part in parts], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    return Neighbors(*keep_nearest(rows, scores, k))
