"""Gather what is known of queries: neighbours, local features and geometry, pool, head.

The one path that `submit`, `query` and the calibration of the decision take. Reads the local
features of the run folder; writes nothing. Imports no torch: it starts from descriptors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import NEAREST_OF_NEIGHBOR, NEAREST_OF_POOL, Evidence
from embed.errors import InputError
from embed.head_scores import HeadScores
from embed.meter import Meter
from embed.shards import Embeddings
from index.images import ImageIndex
from index.neighbors import Neighbors
from pipelines.runs.recipe import Recipe
from rerank.expansion import expand_queries
from rerank.store import StoredFeatures
from rerank.superglobal import rerank_neighbors
from rerank.verifier import FindFeatures, Geometry, Verifier

from .class_candidates import add_class_images
from .database import Database
from .exclusion import Exclusion


@dataclass(frozen=True)
class Retriever:
    """A database ready to be searched."""

    database: Database
    pool: NDArray[np.float32]  # [P, V, dim] descriptors of images without a landmark
    features: StoredFeatures | None  # of the database images; None without re-ranking
    recipe: Recipe

    def gather(
        self,
        queries: Embeddings,
        find_features: FindFeatures,
        excluded: Exclusion | None = None,
        meter: Meter | None = None,
    ) -> tuple[Neighbors, Evidence]:
        """Search the neighbours of Q queries and verify the candidates among them.

        Where the recipe refines, neighbours and candidates are the first in the refined order.
        Where the recipe verifies the predicted class, its images follow the neighbours, if they are
        not among them: there are more columns than the recipe has neighbours.

        Args:
            queries: descriptors of Q images, and what the head says of them. Those of one id show
                one photo: no pair of photos is compared twice.
            find_features: local features of query 0 to Q - 1; not called without re-ranking.
            excluded: images left out for each query, as if they were not in the database; only
                `sizes` counts them all the same.
            meter: told of pairs of images that are compared.

        Raises:
            InputError: the predicted class is to be verified, and there is no head to predict it.
        """
        ids, searched = queries.ids, self._transform(queries.all_vectors)
        if excluded is None:
            excluded = Exclusion.none(len(ids))
        head = excluded.mask_head(queries.head, self.database)
        neighbors = self._search(searched, excluded)
        if self.recipe.search.expand_query:
            searched = self._expand(searched, neighbors)
            neighbors = self._search(searched, excluded)
        if self.recipe.rerank.refine:
            neighbors = self._refine(neighbors, searched)
        neighbors, candidates = self._choose_candidates(neighbors, head, searched, excluded)
        rows = neighbors.rows
        labels = self.database.rows.labels(rows)  # -1 for padding
        # An excluded query counts all the same: otherwise the right label, and no other, would be
        # one image smaller than it is, and whatever is fitted on that would learn it.
        sizes = np.where(rows < 0, 0, self.database.rows.class_sizes(labels))
        pool = self._pool_cosines(searched, NEAREST_OF_POOL), self._neighbor_pool(rows)
        geometry = Geometry.unknown(rows.shape)
        if self.verifier is not None:  # last: local features may still be being found
            self.verifier.verify(ids, rows, candidates, find_features, geometry, meter=meter)
        evidence = Evidence(
            ids,
            labels,
            np.maximum(neighbors.scores, np.float32(-1)),
            geometry.inliers,
            geometry.residuals,
            geometry.overlaps,
            sizes,
            *pool,
            head.labels,
            head.scores,
            self._score_landmarks(queries.vectors, excluded),
        )
        return neighbors, evidence

    def nearest(self, queries: Embeddings, count: int) -> Neighbors:
        """Return the nearest images of Q queries, by descriptors alone; fewer where there are."""
        count = min(count, self.database.images.live)
        return self.database.images.search(self._transform(queries.all_vectors), count)

    def best_regions(self, query: Embeddings, rows: Sequence[int]) -> list[tuple[int, int]]:
        """Return which vector of one query, and which of each image, are nearest; 0: the whole."""
        (vectors,) = self._transform(query.all_vectors)
        return [self.database.images.best_pair(vectors, row) for row in rows]

    def _transform(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return descriptors [n, V, dim] as the database was indexed with."""
        whitening = self.database.whitening
        return vectors if whitening is None else whitening.apply_all(vectors)

    def _expand(self, vectors: NDArray[np.float32], found: Neighbors) -> NDArray[np.float32]:
        """Add to each query [Q, 1, dim] what it finds."""
        settings = self.recipe.search
        rows = found.rows[:, : settings.expand_query]
        distinct, places = np.unique(rows, return_inverse=True)
        known = self.database.images.whole(distinct[distinct >= 0])
        first = int(distinct[0] < 0)  # padding sorts first, and stays -1
        expanded = expand_queries(
            vectors[:, 0],
            known,
            places.reshape(rows.shape) - first,
            found.scores[:, : settings.expand_query],
            count=settings.expand_query,
            alpha=settings.alpha,
        )
        return expanded[:, None]

    def _score_landmarks(
        self, vectors: NDArray[np.float32], excluded: Exclusion
    ) -> NDArray[np.float32]:
        """Return how likely each query shows a landmark [Q]; nan without a landmark head.

        Where its own row is excluded, the head that answers has not learned from the query. All
        heads have learned from its landmark: where that is excluded it is nan, too.
        """
        head = self.database.landmark_head
        if head is None:
            return np.full(len(vectors), np.nan, dtype=np.float32)
        probabilities = head.probability(vectors, excluded.rows).astype(np.float32)
        probabilities[excluded.landmarks >= 0] = np.nan
        return probabilities

    def _search(self, vectors: NDArray[np.float32], excluded: Exclusion) -> Neighbors:
        """Search all of the database but, for each query, what is excluded."""
        found = [
            self.database.images.search(vectors[places], self._searched, rows)
            for places, rows in excluded.list_rows(self.database)
        ]
        return Neighbors(
            np.concatenate([part.rows for part in found]),
            np.concatenate([part.scores for part in found]),
        )

    def _refine(self, found: Neighbors, vectors: NDArray[np.float32]) -> Neighbors:
        """Re-rank what is found by refined descriptors; return as many as the recipe asks for."""
        settings = self.recipe.rerank
        ranked = rerank_neighbors(
            *(found, vectors[:, 0], self.database.images.whole),
            count=settings.refine,
            nearest=settings.refine_nearest,
            beta=settings.refine_beta,
        )
        return ranked.first(self.recipe.search.neighbors)

    @property
    def _searched(self) -> int:
        """How many neighbours are looked for: more than are asked for, where more are refined."""
        refined = min(self.recipe.rerank.refine, self.database.images.live)
        return max(self.recipe.search.neighbors, refined)

    def _choose_candidates(
        self,
        neighbors: Neighbors,
        head: HeadScores,
        vectors: NDArray[np.float32],
        excluded: Exclusion,
    ) -> tuple[Neighbors, NDArray[np.bool_]]:
        """Mark the neighbours [Q, K] that are verified; those of a class are added."""
        settings = self.recipe.rerank
        if settings.of == "neighbors" or self.verifier is None:
            nearest = np.arange(neighbors.rows.shape[1]) < settings.candidates
            return neighbors, np.broadcast_to(nearest, neighbors.rows.shape)
        if not head.labels.shape[1]:
            raise InputError(
                'rerank.of = "predicted-class", but no classification head predicts one; embed '
                'with a model that has a head, or set rerank.of = "neighbors"'
            )
        return add_class_images(
            *(neighbors, self.database, vectors, head.labels[:, 0]),
            most=settings.candidates,
            own=excluded.rows,
        )

    def _neighbor_pool(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return [Q, K, G] the largest cosines of each neighbour to the pool; 0 for padding."""
        distinct, places = np.unique(rows, return_inverse=True)
        known = distinct[distinct >= 0]
        cosines = self._pool_cosines(self.database.images.vectors(known), NEAREST_OF_NEIGHBOR)
        padding = np.zeros((len(distinct) - len(known), cosines.shape[1]), dtype=np.float32)
        return np.concatenate([padding, cosines])[places.reshape(rows.shape)]  # -1 sorts first

    @cached_property
    def verifier(self) -> Verifier | None:
        """What compares local features; None without re-ranking."""
        if self.features is None:
            return None
        return Verifier(self.database.rows, self.features, self.recipe.rerank)

    def _pool_cosines(self, vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Return [n, min(count, P)] the largest cosines of images [n, V, dim] to the pool.

        They are measured as those to the database are, of the best regions: a photo with many is
        then no nearer to the one for chance alone than to the other.
        """
        if self._pool_index is None:
            return np.empty((len(vectors), 0), dtype=np.float32)
        return self._pool_index.nearest_cosines(vectors, count)

    @cached_property
    def _pool_index(self) -> ImageIndex | None:
        return ImageIndex.build(self._transform(self.pool)) if len(self.pool) else None

    def name(self, landmark_id: int) -> str:
        """Return the landmark's name, or its id where it has none."""
        return self.database.names.get(landmark_id, str(landmark_id))
