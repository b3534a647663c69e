"""The calibration set: known queries, and the same with their landmark left out of the database.

The second are what distractors mostly are in life: photos of landmarks that the database does not
have. Nothing in the evidence tells that one was left out. Reads and writes no files.
"""

from dataclasses import dataclass, replace

import numpy as np

from classify_head.evidence import Evidence
from classify_head.promise import LANDMARK, POOL, REMOVED, Kinds
from embed.meter import Meter
from embed.shards import Embeddings
from index.images import ImageIndex
from index.neighbors import Neighbors
from pipelines.answers.database import Database
from pipelines.answers.exclusion import Exclusion, Ints
from pipelines.answers.retriever import Retriever
from pipelines.progress import progress_meter
from rerank.features import LocalFeatures

from .fit_search import fit_search
from .known_queries import KnownQueries

FOLDS = 5  # of the photos of the database, where a search is fitted without those that are queries


@dataclass(frozen=True)
class CalibrationSet:
    """A queries that decisions are fitted on; a photo that is there twice has one id."""

    queries: Embeddings  # of A; landmark_ids are the truths, -1 for a distractor
    kinds: Kinds  # [A] LANDMARK, POOL or REMOVED
    photos: Ints  # [A] places of the known queries
    excluded: Exclusion

    def gather(self, known: KnownQueries, retriever: Retriever) -> tuple[Neighbors, Evidence]:
        """Gather the evidence of each query; errors as Retriever.gather.

        Whitening that learns from labels knows the photos of the database too well: each of these
        is searched with one that was fitted without it, and without some others.
        """
        with progress_meter("compare known pairs") as meter:
            return self._gather_all(known, retriever, meter)

    def _gather_all(
        self, known: KnownQueries, retriever: Retriever, meter: Meter
    ) -> tuple[Neighbors, Evidence]:
        every = np.arange(len(self.photos))
        if retriever.recipe.search.whiten != "within-class" or not len(every):
            return self._gather(every, known, retriever, meter)
        folds = np.where(self.excluded.rows >= 0, 1 + self.photos % FOLDS, 0)
        order = np.argsort(folds, kind="stable")
        found = [
            self._gather(np.flatnonzero(folds == fold), known, _refit(retriever, known, out), meter)
            for fold, out in (
                (fold, self.excluded.rows[folds == fold]) for fold in np.unique(folds)
            )
        ]
        back = np.argsort(order)
        evidence = Evidence.concatenate([part for _, part in found]).take(back)
        rows, scores = (
            np.concatenate([getattr(part, name) for part, _ in found])[back]
            for name in ("rows", "scores")
        )
        return Neighbors(rows, scores), evidence

    def _gather(
        self, places: Ints, known: KnownQueries, retriever: Retriever, meter: Meter
    ) -> tuple[Neighbors, Evidence]:
        def find_features(row: int) -> LocalFeatures | None:
            return known.find_features(int(self.photos[places[row]]))

        excluded = Exclusion(self.excluded.rows[places], self.excluded.landmarks[places])
        return retriever.gather(self.queries.take(places), find_features, excluded, meter)


def _refit(retriever: Retriever, known: KnownQueries, out: Ints) -> Retriever:
    """Return a retriever whose whitening has not learned from some rows of the database."""
    rows = out[out >= 0]
    if not len(rows):
        return retriever
    database = retriever.database
    fitted = np.ones(len(known.database), dtype=np.bool_)
    fitted[rows] = False
    whitening, index = fit_search(
        *(
            known.database,
            database.rows.landmark_ids,
            retriever.recipe.search,
            fitted,
            retriever.pool,
        ),
        folder=known.folder,
    )
    images = ImageIndex(index, database.images.per_image)
    return replace(retriever, database=replace(database, whitening=whitening, images=images))


def build_calibration_set(
    known: Embeddings, database: Database, *, twice: bool = True
) -> CalibrationSet:
    """List each query once, then those of landmarks with their landmark left out.

    Args:
        known: queries; landmark_ids are the truths, -1 without a landmark.
        database: that is searched.
        twice: False for the first ones alone. A database of one landmark has no others, either.
    """
    truths, count = known.landmark_ids, len(known.ids)
    again = np.flatnonzero(truths >= 0)
    if not twice or len(database.rows.landmarks) < 2:
        again = again[:0]
    photos = np.concatenate([np.arange(count), again])
    own = Exclusion.own_rows(known.ids, database)
    queries, second = known.take(photos), np.arange(len(photos)) >= count
    labels = np.where(second, -1, queries.landmark_ids)
    kinds = np.where(second, REMOVED, np.where(labels >= 0, LANDMARK, POOL))
    return CalibrationSet(
        replace(queries, landmark_ids=labels),
        kinds,
        photos,
        Exclusion(own.rows[photos], np.where(second, queries.landmark_ids, -1)),
    )
