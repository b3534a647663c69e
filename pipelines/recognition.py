"""Recognise queries against the database of a run: neighbours, votes, geometry, answer.

The one path that both `submit` and `query` take. Reads the run folder; writes nothing. Imports no
torch: it starts from descriptors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from classify_head.fusion import Answer, FusionSettings, fuse, pool_penalty
from classify_head.prediction import Prediction
from index.neighbors import Neighbors
from index.search import search
from rerank.features import LocalFeatures
from rerank.store import FeatureStore
from rerank.verify import VerifySettings, verify_candidates

from .database import Database
from .parallel import run_parallel
from .recipe import Recipe

CHUNK = 10  # candidates verified at a time

# Returns the features of a query by its place in the batch; None where it has none.
FindFeatures = Callable[[int], LocalFeatures | None]


@dataclass(frozen=True)
class Evidence:
    """What is known of Q queries before they are answered."""

    neighbors: Neighbors  # [Q, K]
    labels: NDArray[np.int64]  # [Q, K] landmark of each neighbour, -1 for padding
    inliers: NDArray[np.int64]  # [Q, K]; -1 where a neighbour was not verified
    penalties: NDArray[np.float64]  # [Q] mean cosine to images without a landmark


@dataclass(frozen=True)
class Recognizer:
    """A database ready to be asked."""

    database: Database
    pool: NDArray[np.float32]  # [P, dim] descriptors of images without a landmark
    features: FeatureStore | None  # of the database images; None without re-ranking
    recipe: Recipe
    threshold: float  # confidence below which the answer is "no known landmark"

    def gather(
        self, ids: Sequence[str], vectors: NDArray[np.float32], find_features: FindFeatures
    ) -> Evidence:
        """Search the neighbours of Q queries and verify the first candidates.

        Args:
            ids: [Q].
            vectors: [Q, dim] descriptors, rows of length 1.
            find_features: local features of query 0 to Q - 1; not called without re-ranking.
        """
        neighbors = search(self.database.index, ids, vectors, self.recipe.search.neighbors)
        # Row -1 is padding: it takes the label -1 that is appended for it.
        labels = np.append(self.database.landmark_ids, -1)[neighbors.rows]
        inliers = np.full(neighbors.rows.shape, -1, dtype=np.int64)
        if self.features is not None:
            self._verify(neighbors.rows, find_features, inliers)
        count = self.recipe.decide.penalty_neighbors
        return Evidence(neighbors, labels, inliers, pool_penalty(vectors @ self.pool.T, count))

    def _verify(
        self, rows: NDArray[np.int64], find_features: FindFeatures, inliers: NDArray[np.int64]
    ) -> None:
        """Fill in the inliers of each query's first candidates; -1 stays where features lack."""
        # In chunks, so that the candidates of one query, too, are shared among the cores.
        last = min(self.recipe.rerank.candidates, rows.shape[1])
        chunks = [slice(start, min(start + CHUNK, last)) for start in range(0, last, CHUNK)]
        find = lru_cache(maxsize=16)(find_features)  # one query's chunks are done together
        tasks = [(query, chunk) for query in range(len(rows)) for chunk in chunks]

        def verify(task: tuple[int, slice]) -> list[int]:
            query, chunk = task
            return self._count_inliers(find(query), rows[query, chunk])

        for (query, chunk), counts in zip(tasks, run_parallel(verify, tasks), strict=True):
            inliers[query, chunk] = counts

    def _count_inliers(self, asked: LocalFeatures | None, rows: NDArray[np.int64]) -> list[int]:
        assert self.features is not None
        stored = [self.features.get(self.database.image_ids[r]) if r >= 0 else None for r in rows]
        if asked is None:
            return [-1] * len(stored)
        present = [features for features in stored if features is not None]
        verified = iter(verify_candidates(asked, present, verify_settings(self.recipe)))
        return [-1 if features is None else next(verified).n_inliers for features in stored]

    @property
    def fusion(self) -> FusionSettings:
        """The weights of the recipe; without a pool nothing is said by the penalty."""
        settings = fusion_settings(self.recipe)
        return settings if len(self.pool) else replace(settings, penalty_weight=0.0)

    def answer(self, evidence: Evidence, query: int, settings: FusionSettings) -> Answer:
        """Fuse the evidence of one query."""
        return fuse(
            evidence.labels[query],
            evidence.neighbors.scores[query],
            np.maximum(evidence.inliers[query], 0),
            float(evidence.penalties[query]),
            settings,
        )

    def predict(self, evidence: Evidence) -> list[Prediction]:
        """Answer each query, or say why there is no known landmark in it."""
        settings = self.fusion
        answers = [self.answer(evidence, query, settings) for query in range(len(evidence.labels))]
        ids = evidence.neighbors.query_ids
        return [self._decide(i, answer) for i, answer in zip(ids, answers, strict=True)]

    def _decide(self, query_id: str, answer: Answer) -> Prediction:
        evidence = {
            "votes": answer.votes,
            "similarity": answer.similarity,
            "inliers": float(answer.inliers),
            "penalty": answer.penalty,
        }
        if answer.label < 0:
            return Prediction(query_id, None, 0.0, {}, reason="the database is empty")
        label, confidence = answer.label, answer.confidence
        if confidence >= self.threshold:
            return Prediction(query_id, label, confidence, evidence, guess=label)
        reason = (
            f"confidence {confidence:.3f} is below {self.threshold:.3f}; nearest is "
            f"{self.name(label)} (similarity {answer.similarity:.2f}, "
            f"{answer.inliers} inliers)"
        )
        return Prediction(query_id, None, confidence, evidence, guess=label, reason=reason)

    def name(self, landmark_id: int) -> str:
        """Return the landmark's name, or its id where it has none."""
        return self.database.names.get(landmark_id, str(landmark_id))


def fusion_settings(recipe: Recipe) -> FusionSettings:
    """Return what the recipe says of votes and fusion."""
    return FusionSettings(
        policy=recipe.votes.policy,
        power=recipe.votes.power,
        inlier_weight=recipe.decide.inlier_weight if recipe.rerank.method != "none" else 0.0,
        inlier_scale=recipe.decide.inlier_scale,
        min_inliers=recipe.rerank.min_inliers,
        penalty_weight=recipe.decide.penalty_weight,
    )


def verify_settings(recipe: Recipe) -> VerifySettings:
    """Return what the recipe says of matching and geometry."""
    return VerifySettings(
        model=recipe.rerank.model,
        threshold_px=recipe.rerank.threshold,
        max_ratio=recipe.rerank.ratio,
    )
