"""Search N images of V vectors each: one of the whole image, and those of its regions.

The cosine of a query and an image is the largest of any vector of the one and any of the other. An
index is what was built, its base, and what changed since: images that were added, which are all
compared, and images that were removed. Row numbers stay: first the images of the base, then the
added ones in their order; a removed one keeps its number and is never found. A cosine does not
depend on how an image was found, nor on the other queries. Reads and writes no files; knows no ids
and no labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .base import BaseIndex, check_vectors, pair_cosines
from .neighbors import Neighbors

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MOST_NUMBERS = 1 << 22  # numbers that are sorted, or compared, at a time: 16 MiB


@dataclass(frozen=True, eq=False)
class Within:
    """What lies within a radius of each of Q queries, the nearest first."""

    starts: Ints  # [Q + 1]: of query q are rows[starts[q] : starts[q + 1]]
    rows: Ints  # [R] of the database
    scores: Floats  # [R] cosines, descending within a query


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """N images of V vectors, those of an image side by side; the first is of the whole image."""

    base: BaseIndex  # of N0 * V vectors
    per_image: int = 1  # V
    added: BaseIndex | None = None  # of M * V vectors, exact
    removed: Bools | None = None  # [N0 + M]

    def __post_init__(self) -> None:
        """Raise ValueError unless the base has V vectors of each image."""
        if self.base.ntotal % self.per_image:
            raise ValueError(
                f"{self.base.ntotal} vectors are not of images with {self.per_image} each"
            )

    @classmethod
    def build(cls, vectors: NDArray[np.floating]) -> Self:
        """Return an exact index over vectors [N, V, dim]. Errors as BaseIndex.build."""
        count, per_image, dim = vectors.shape
        return cls(BaseIndex.build(vectors.reshape(count * per_image, dim)), per_image)

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
        late = BaseIndex.build(added.reshape(-1, self.dim)) if len(added) else None
        count = self._base_count + len(added)
        if removed.shape != (count,) or removed.dtype != np.bool_:
            raise ValueError(f"removed is {removed.dtype} {removed.shape}, want bool [{count}]")
        return type(self)(self.base, self.per_image, late, removed if removed.any() else None)

    def __len__(self) -> int:
        """Return N, the images that have a row: removed ones count."""
        late = 0 if self.added is None else self.added.ntotal // self.per_image
        return self._base_count + late

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self.base.dim

    @property
    def live(self) -> int:
        """The number of images that can be found: removed ones do not count."""
        return len(self) - (0 if self.removed is None else int(self.removed.sum()))

    @property
    def _base_count(self) -> int:
        return self.base.ntotal // self.per_image

    def whole(self, images: Ints) -> Floats:
        """Return [n, dim] the vectors of whole images."""
        return self._read(images, 1)[:, 0]

    def vectors(self, images: Ints) -> Floats:
        """Return [n, V, dim] all vectors of images."""
        return self._read(images, self.per_image)

    def _read(self, images: Ints, count: int) -> Floats:
        """Return [n, count, dim] the first vectors of images."""
        places = (images[:, None] * self.per_image + np.arange(count)).ravel()
        late = places >= self.base.ntotal
        if self.added is None or not late.any():
            found = self.base.vectors(places)
        else:
            found = np.empty((len(places), self.dim), dtype=np.float32)
            found[~late] = self.base.vectors(places[~late])
            found[late] = self.added.vectors(places[late] - self.base.ntotal)
        return found.reshape(len(images), count, self.dim)

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
            among: the only images that are compared, exactly: a mask [N], or rows; None for all.

        Raises:
            ValueError: another dim than the index, vectors not of length 1, k below 1, or rows that
                the index does not have.
        """
        queries = self._check(queries, k)
        excluded = self._check_rows(excluded, len(queries))
        if among is not None:
            return self._search_among(queries, k, excluded, self._list_live(among))
        found = self._search_part(self.base, 0, queries, k, excluded)
        if self.added is None:
            return found
        late = self._search_part(self.added, self._base_count, queries, k, excluded)
        return _merge(found, late, k)

    def search_radius(self, queries: NDArray[np.floating], least: float) -> Within:
        """Return all images whose cosine to a query [Q, U, dim] is `least` or more.

        Every image is compared, whatever the base. Of equal ones the lower row is first.

        Raises:
            ValueError: another dim than the index, or vectors not of length 1.
        """
        queries = self._check(queries, 1)
        count, each, _ = queries.shape
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        for images, vectors in self._read_blocks(self._list_live(None), count * each):
            rough = queries.reshape(-1, self.dim) @ vectors.reshape(-1, self.dim).T
            pairs = rough.reshape(count, each, len(images), self.per_image).max(axis=(1, 3))
            query, place = np.nonzero(pairs >= least - self.dim * np.finfo(np.float32).eps)
            scores = self._compare(queries[query], vectors[place])
            near = scores >= least
            parts.append((query[near], images[place[near]], scores[near]))
        queried, rows, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.lexsort((rows, -scores, queried))
        starts = np.searchsorted(queried[order], np.arange(count + 1))
        return Within(starts, rows[order], scores[order])

    def nearest_cosines(self, queries: NDArray[np.floating], count: int) -> Floats:
        """Return the largest cosines of queries [Q, U, dim], descending: [Q, at most count]."""
        count = min(count, self.live)
        if not len(queries) or not count:
            return np.empty((len(queries), count), dtype=np.float32)
        return self.search(queries, count).scores

    def cosines(self, query: Floats, images: Ints) -> Floats:
        """Return [n] the cosines of one query [U, dim] to images."""
        asked = np.broadcast_to(query, (len(images), *query.shape))
        return self._compare(asked, self.vectors(images))

    def best_pair(self, query: Floats, image: int) -> tuple[int, int]:
        """Return which vector of a query [U, dim] and which of an image are nearest; 0: whole."""
        vectors = self.vectors(np.array([image]))
        products = pair_cosines(query, np.broadcast_to(vectors, (len(query), *vectors.shape[1:])))
        best = np.unravel_index(int(products.argmax()), products.shape)
        return int(best[0]), int(best[1])

    def _compare(self, queries: Floats, images: Floats) -> Floats:
        """Return [n] the cosines of queries [n, U, dim] and images [n, V, dim], pair by pair."""
        cosines = [pair_cosines(queries[:, place], images) for place in range(queries.shape[1])]
        return np.asarray(np.max(cosines, axis=(0, 2)))

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
            rows = np.arange(len(self))
        elif among.dtype != np.bool_:
            if among.max(initial=0) >= len(self) or among.min(initial=0) < 0:
                raise ValueError(f"rows to search among are not all from 0 to {len(self) - 1}")
            rows = np.unique(among)
        elif among.shape != (len(self),):
            raise ValueError(f"the mask to search among is {among.shape}, want [{len(self)}]")
        else:
            rows = np.flatnonzero(among)
        return rows if self.removed is None else rows[~self.removed[rows]]

    def _search_among(self, queries: Floats, k: int, excluded: Ints, images: Ints) -> Neighbors:
        """Find the nearest of some images, ascending, by comparing all of them."""
        best = _nothing(len(queries), k)
        for block, vectors in self._read_blocks(images, len(queries) * queries.shape[1]):
            part = ImageIndex(BaseIndex(vectors.reshape(-1, self.dim)), self.per_image)
            places = np.searchsorted(block, excluded)
            places[np.append(block, -1)[places] != excluded] = -1
            found = part.search(queries, k, places)
            rows = np.where(found.rows < 0, -1, block[found.rows])
            best = _merge(best, Neighbors(rows, found.scores), k)
        return best

    def _read_blocks(self, images: Ints, queries: int) -> Iterator[tuple[Ints, Floats]]:
        """Yield some images at a time and their vectors, for so many query vectors."""
        step = max(MOST_NUMBERS // (self.per_image * max(queries, self.dim)), 1)
        for start in range(0, len(images), step):
            yield images[start : start + step], self.vectors(images[start : start + step])

    def _search_part(
        self, part: BaseIndex, first: int, queries: Floats, k: int, excluded: Ints
    ) -> Neighbors:
        """Find images of a part, whose first has row `first`, farther until k are not left out."""
        count, each, dim = queries.shape
        best = _nothing(count, k)
        several = each > 1 or self.per_image > 1
        fetch = min(4 * k if several else k + excluded.shape[1], part.ntotal)
        pending = np.arange(count)
        while len(pending):
            undecided = []
            step = max(MOST_NUMBERS // (each * fetch), 1)
            for places in np.split(pending, range(step, len(pending), step)):
                hits = part.search(queries[places].reshape(-1, dim), fetch)
                images = np.where(hits.rows < 0, -1, hits.rows // self.per_image + first)
                images = self._drop(images.reshape(len(places), -1), excluded[places])
                scores = hits.scores.reshape(images.shape)
                keep = keep_nearest if several else _close_gaps
                best.rows[places], best.scores[places] = keep(images, scores, k)
                # What no vector of the query has come to is no nearer than the last hit of any.
                unseen = hits.scores[:, -1].reshape(-1, each).max(axis=1)
                last = best.scores[places, -1]
                near = unseen >= last if several else best.rows[places, -1] < 0
                undecided.append(places[near & (unseen > -np.inf)])
            pending = np.concatenate(undecided) if fetch < part.ntotal else pending[:0]
            fetch = min(4 * fetch, part.ntotal)
        return best

    def _drop(self, images: Ints, excluded: Ints) -> Ints:
        """Return images [Q, n] with -1 for those that are removed, or excluded [Q, E]."""
        out = images < 0
        if self.removed is not None:
            out |= self.removed[images]
        if excluded.shape[1]:
            # One sorted list of (query, row) for all: a comparison of each with each is too much.
            query = np.arange(len(images))[:, None] * (len(self) + 1)
            out |= np.isin(images + query, np.where(excluded < 0, -1, excluded + query))
        return np.where(out, np.int64(-1), images)


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
    return _pad(images, scores, k)


def _close_gaps(images: Ints, scores: Floats, k: int) -> tuple[Ints, Floats]:
    """Do as keep_nearest, where images [Q, n] come in their order, but for those that are -1."""
    if (images < 0).any():
        images, scores = _sort(images, scores, np.argsort(images < 0, axis=1, kind="stable"))
        scores = np.where(images < 0, np.float32(-np.inf), scores)
    return _pad(images[:, :k], scores[:, :k], k)


def _pad(images: Ints, scores: Floats, k: int) -> tuple[Ints, Floats]:
    room = ((0, 0), (0, k - images.shape[1]))
    return np.pad(images, room, constant_values=-1), np.pad(scores, room, constant_values=-np.inf)


def _sort(images: Ints, scores: Floats, order: Ints) -> tuple[Ints, Floats]:
    return np.take_along_axis(images, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _nothing(count: int, k: int) -> Neighbors:
    """Return padding alone, to be written into."""
    scores = np.full((count, k), -np.inf, dtype=np.float32)
    return Neighbors(np.full((count, k), -1, dtype=np.int64), scores)


def _merge(one: Neighbors, other: Neighbors, k: int) -> Neighbors:
    """Return the k nearest of both; all rows of the second are behind those of the first."""
    rows = np.concatenate([one.rows, other.rows], axis=1)
    scores = np.concatenate([one.scores, other.scores], axis=1)
    return Neighbors(*_sort(rows, scores, np.argsort(-scores, axis=1, kind="stable")[:, :k]))
