"""Gather what is known of queries: neighbours, local features and geometry, pool, head.

The one path that `submit`, `query` and the calibration of the decision take. Reads the local
features of the run folder; writes nothing. Imports no torch: it starts from descriptors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import NEAREST_OF_NEIGHBOR, NEAREST_OF_POOL, Evidence
from index.neighbors import Neighbors
from index.search import build_index, search
from rerank.expansion import expand_queries
from rerank.features import LocalFeatures
from rerank.store import FeatureStore
from rerank.verify import VerifySettings, verify_candidates

from .database import Database
from .parallel import run_parallel
from .recipe import Recipe

CHUNK = 10  # candidates verified at a time
HEAD_CLASSES = 10  # the likeliest of the classification head that are kept

# Returns the features of a query by its place in the batch; None where it has none.
FindFeatures = Callable[[int], LocalFeatures | None]


@dataclass(frozen=True)
class HeadDirections:
    """The classification head without its network: one direction a class it was trained on."""

    labels: NDArray[np.int64]  # [C] landmark_id of each class
    directions: NDArray[np.float32]  # [C, dim], rows of length 1


@dataclass(frozen=True)
class Recognizer:
    """A database ready to be asked."""

    database: Database
    pool: NDArray[np.float32]  # [P, dim] descriptors of images without a landmark
    features: FeatureStore | None  # of the database images; None without re-ranking
    head: HeadDirections
    recipe: Recipe

    def gather(
        self,
        ids: Sequence[str],
        vectors: NDArray[np.float32],
        find_features: FindFeatures,
        *,
        leave_out: bool = False,
    ) -> tuple[Neighbors, Evidence]:
        """Search the neighbours of Q queries and verify the first candidates.

        Args:
            ids: [Q].
            vectors: [Q, dim] descriptors, rows of length 1.
            find_features: local features of query 0 to Q - 1; not called without re-ranking.
            leave_out: treat a query that is itself in the database as if it were not.
        """
        searched = self._transform(vectors)
        neighbors = self._search(ids, searched, leave_out)
        if self.recipe.search.expand_query:
            searched = self._expand(searched, neighbors)
            neighbors = self._search(ids, searched, leave_out)
        rows, shape = neighbors.rows, neighbors.rows.shape
        # Row -1 is padding: it takes the last value, which is appended for it.
        labels = np.append(self.database.landmark_ids, -1)[rows]
        # A query that is left out counts all the same: otherwise the right label, and no other,
        # would be one image smaller than it is, and whatever is fitted on that would learn it.
        sizes = np.append(self.database.class_sizes, 0)[rows]
        inliers = np.full(shape, -1, dtype=np.int64)
        residuals = np.full(shape, np.nan, dtype=np.float32)
        overlaps = np.zeros(shape, dtype=np.float32)
        if self.features is not None:
            self._verify(rows, find_features, inliers, residuals, overlaps)
        head_labels, head_cosines = self._ask_head(vectors)
        evidence = Evidence(
            tuple(ids),
            labels,
            np.maximum(neighbors.scores, np.float32(-1)),
            inliers,
            residuals,
            overlaps,
            sizes,
            nearest_cosines(searched, self._pool_index, NEAREST_OF_POOL),
            self._neighbor_pool(rows),
            head_labels,
            head_cosines,
        )
        return neighbors, evidence

    def _transform(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return descriptors as the database was indexed with."""
        whitening = self.database.whitening
        return vectors if whitening is None else whitening.apply(vectors)

    def _expand(self, vectors: NDArray[np.float32], found: Neighbors) -> NDArray[np.float32]:
        """Add to each query what it finds."""
        settings = self.recipe.search
        rows = found.rows[:, : settings.expand_query]
        distinct, places = np.unique(rows, return_inverse=True)
        known = self.database.index.reconstruct_batch(distinct[distinct >= 0])
        first = int(distinct[0] < 0)  # padding sorts first, and stays -1
        return expand_queries(
            vectors,
            known,
            places.reshape(rows.shape) - first,
            found.scores[:, : settings.expand_query],
            count=settings.expand_query,
            alpha=settings.alpha,
        )

    def _search(
        self, ids: Sequence[str], vectors: NDArray[np.float32], leave_out: bool
    ) -> Neighbors:
        count = self.recipe.search.neighbors
        if not leave_out:
            return search(self.database.index, ids, vectors, count)
        found = search(self.database.index, ids, vectors, count + 1)
        own = np.array([self.database.row_of.get(image_id, -2) for image_id in ids])
        # Stable: the query's own row goes last and is cut off; else the farthest neighbour is.
        order = np.argsort(found.rows == own[:, None], axis=1, kind="stable")[:, :count]
        return Neighbors(
            found.query_ids,
            np.take_along_axis(found.rows, order, axis=1),
            np.take_along_axis(found.scores, order, axis=1),
        )

    def _verify(
        self,
        rows: NDArray[np.int64],
        find_features: FindFeatures,
        inliers: NDArray[np.int64],
        residuals: NDArray[np.float32],
        overlaps: NDArray[np.float32],
    ) -> None:
        """Fill in what geometry says of each query's first candidates, where features are there."""
        # In chunks, so that the candidates of one query, too, are shared among the cores.
        last = min(self.recipe.rerank.candidates, rows.shape[1])
        chunks = [slice(start, min(start + CHUNK, last)) for start in range(0, last, CHUNK)]
        find = lru_cache(maxsize=16)(find_features)  # one query's chunks are done together
        tasks = [(query, chunk) for query in range(len(rows)) for chunk in chunks]
        settings = verify_settings(self.recipe)

        def verify(task: tuple[int, slice]) -> None:
            query, chunk = task
            places, candidates = self._load_candidates(rows[query], chunk)
            asked = find(query)
            if asked is None:
                return
            found = verify_candidates(asked, candidates, settings)
            for place, candidate, verified in zip(places, candidates, found, strict=True):
                fewer = max(min(len(asked), len(candidate)), 1)
                inliers[query, place] = verified.n_inliers
                residuals[query, place] = verified.residual
                overlaps[query, place] = verified.n_inliers / fewer

        run_parallel(verify, tasks)

    def _load_candidates(
        self, rows: NDArray[np.int64], chunk: slice
    ) -> tuple[list[int], list[LocalFeatures]]:
        """Return the ranks in a chunk whose image has stored features, and these."""
        assert self.features is not None
        places, found = [], []
        for place in range(chunk.start, chunk.stop):
            if rows[place] < 0:
                continue
            features = self.features.get(self.database.image_ids[rows[place]])
            if features is not None:
                places.append(place)
                found.append(features)
        return places, found

    def _neighbor_pool(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return [Q, K, G] the largest cosines of each neighbour to the pool; 0 for padding."""
        distinct, places = np.unique(rows, return_inverse=True)
        known = distinct[distinct >= 0]
        vectors = self.database.index.reconstruct_batch(known)
        cosines = nearest_cosines(vectors, self._pool_index, NEAREST_OF_NEIGHBOR)
        padding = np.zeros((len(distinct) - len(known), cosines.shape[1]), dtype=np.float32)
        return np.concatenate([padding, cosines])[places.reshape(rows.shape)]  # -1 sorts first

    def _ask_head(
        self, vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if self._head_index is None:
            empty = np.empty((len(vectors), 0))
            return empty.astype(np.int64), empty.astype(np.float32)
        names = [str(row) for row in range(len(vectors))]
        count = min(HEAD_CLASSES, self._head_index.ntotal)
        found = search(self._head_index, names, vectors, count)
        return self.head.labels[found.rows], found.scores

    @cached_property
    def _pool_index(self) -> Any:
        return build_index(self._transform(self.pool)) if len(self.pool) else None

    @cached_property
    def _head_index(self) -> Any:
        return build_index(self.head.directions) if len(self.head.labels) else None

    def name(self, landmark_id: int) -> str:
        """Return the landmark's name, or its id where it has none."""
        return self.database.names.get(landmark_id, str(landmark_id))


def nearest_cosines(vectors: NDArray[np.float32], index: Any, count: int) -> NDArray[np.float32]:
    """Return [N, min(count, P)] each vector's largest cosines to an index of P, descending.

    No index (None) is one of no rows.
    """
    count = min(count, index.ntotal) if index is not None else 0
    if not count or not len(vectors):
        return np.empty((len(vectors), count), dtype=np.float32)
    return search(index, [str(row) for row in range(len(vectors))], vectors, count).scores


def verify_settings(recipe: Recipe) -> VerifySettings:
    """Return what the recipe says of matching and geometry."""
    return VerifySettings(
        model=recipe.rerank.model,
        threshold_px=recipe.rerank.threshold,
        max_ratio=recipe.rerank.ratio,
        max_distance=recipe.rerank.max_distance,
    )
