"""Ask known queries twice: of the database as it is, and of one that lacks their landmark.

The second time they are what distractors mostly are in life: photos of landmarks that the database
does not have. Nothing in the evidence tells that one was taken out. Reads and writes no files.
"""

from dataclasses import dataclass, replace

import numpy as np

from classify_head.evidence import Evidence
from classify_head.promise import LANDMARK, POOL, REMOVED, Kinds
from embed.shards import Embeddings
from index.neighbors import Neighbors
from pipelines.answers.database import Database
from pipelines.answers.hidden import Hidden, Ints
from pipelines.answers.recognition import Recognizer
from rerank.features import LocalFeatures

from .fit_search import fit_search
from .known_queries import KnownQueries

FOLDS = 5  # of the photos of the database, where a search is fitted without those that are asked


@dataclass(frozen=True)
class Askings:
    """A askings of known queries; a photo that is asked twice has one id."""

    queries: Embeddings  # of A; landmark_ids are the truths, -1 for a distractor
    kinds: Kinds  # [A] LANDMARK, POOL or REMOVED
    photos: Ints  # [A] places of the known queries
    hidden: Hidden

    def gather(self, known: KnownQueries, recognizer: Recognizer) -> tuple[Neighbors, Evidence]:
        """Gather the evidence of each asking; errors as Recognizer.gather.

        Whitening that learns from labels knows the photos of the database too well: each of these
        is asked of a search that was fitted without it, and without some others.
        """
        every = np.arange(len(self.photos))
        if recognizer.recipe.search.whiten != "within-class" or not len(every):
            return self._ask(every, known, recognizer)
        folds = np.where(self.hidden.rows >= 0, 1 + self.photos % FOLDS, 0)
        order = np.argsort(folds, kind="stable")
        found = [
            self._ask(np.flatnonzero(folds == fold), known, _refit(recognizer, known, out))
            for fold, out in ((fold, self.hidden.rows[folds == fold]) for fold in np.unique(folds))
        ]
        back = np.argsort(order)
        evidence = Evidence.concatenate([part for _, part in found]).take(back)
        rows, scores = (
            np.concatenate([getattr(part, name) for part, _ in found])[back]
            for name in ("rows", "scores")
        )
        return Neighbors(evidence.query_ids, rows, scores), evidence

    def _ask(
        self, places: Ints, known: KnownQueries, recognizer: Recognizer
    ) -> tuple[Neighbors, Evidence]:
        def find_features(row: int) -> LocalFeatures | None:
            return known.find_features(int(self.photos[places[row]]))

        hidden = Hidden(self.hidden.rows[places], self.hidden.landmarks[places])
        return recognizer.gather(self.queries.take(places), find_features, hidden)


def _refit(recognizer: Recognizer, known: KnownQueries, out: Ints) -> Recognizer:
    """Return a recognizer whose whitening has not learned from some rows of the database."""
    rows = out[out >= 0]
    if not len(rows):
        return recognizer
    database = recognizer.database
    fitted = np.ones(len(known.database), dtype=np.bool_)
    fitted[rows] = False
    whitening, index = fit_search(
        known.database, database.landmark_ids, recognizer.recipe.search, fitted
    )
    return replace(recognizer, database=replace(database, whitening=whitening, index=index))


def ask_twice(known: Embeddings, database: Database, *, twice: bool = True) -> Askings:
    """List the askings: each query once, then those of landmarks without their landmark.

    Args:
        known: queries; landmark_ids are the truths, -1 without a landmark.
        database: that is asked.
        twice: False for the first askings alone. A database of one landmark has no others, either.
    """
    truths, count = known.landmark_ids, len(known.ids)
    again = np.flatnonzero(truths >= 0)
    if not twice or len(np.unique(database.landmark_ids)) < 2:
        again = again[:0]
    photos = np.concatenate([np.arange(count), again])
    own = Hidden.themselves(known.ids, database)
    asked, second = known.take(photos), np.arange(len(photos)) >= count
    labels = np.where(second, -1, asked.landmark_ids)
    kinds = np.where(second, REMOVED, np.where(labels >= 0, LANDMARK, POOL))
    return Askings(
        Embeddings(asked.ids, labels, asked.vectors, asked.head),
        kinds,
        photos,
        Hidden(own.rows[photos], np.where(second, asked.landmark_ids, -1)),
    )
