"""Stage `query`: which known thing is in these photos?

Reads a run folder and the photos. Writes nothing. Everything is loaded once, then each photo takes
one forward pass, one search and the verification of its candidates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from embed.decode import ImageError, decode_image
from embed.image_file import ImageFile
from rerank.features import LocalFeatures

from .decision import at_precision, load_decision
from .describer import load_describer
from .extractors import build_extractor
from .extras import make_extras
from .job import read_run
from .predictions import make_predictions
from .prepare import open_recognizer
from .recipe import Recipe, make_recipe
from .recognition import Recognizer


@dataclass(frozen=True)
class Match:
    """One neighbour of a photo."""

    image_id: str
    landmark_id: int
    name: str
    similarity: float  # cosine
    inliers: int | None  # None where it was not verified


@dataclass(frozen=True)
class Recognition:
    """The answer to one photo; error is set, and nothing else, where it could not be read."""

    image: str
    landmark_id: int | None = None
    name: str | None = None
    confidence: float = 0.0
    reason: str = ""  # why there is no known landmark
    neighbors: tuple[Match, ...] = ()
    best: Match | None = None  # what speaks most for the landmark, or for the one it might be
    error: str = ""


class QueryEngine:
    """A run, loaded and ready to be asked."""

    def __init__(self, run: Path, min_precision: float | None = None) -> None:
        """Load model, index, features and decision.

        Answers shall be right so often: min_precision; None for what the run was made with.

        Raises:
            FileNotFoundError: the run is not there, or not indexed.
            ValueError: its parts do not belong together.
        """
        recorded = read_run(run)
        if recorded is None:
            raise FileNotFoundError(
                f"no run in {run}; make one: cairn index --data FOLDER --run {run}"
            )
        self.run, self.data = run, Path(recorded["data"])
        self.recipe: Recipe = make_recipe(recorded["settings"], str(run))
        self.describer = load_describer(run, self.recipe)
        self.recognizer: Recognizer = open_recognizer(run, self.recipe, self.describer.fingerprint)
        self.decision = load_decision(run, self.recipe, self.recognizer.database)
        if min_precision is not None:
            self.decision = at_precision(self.decision, run, min_precision)
        if self.recognizer.features is not None:
            self.extractor = build_extractor(run, self.recipe.rerank)

    def ask(self, path: ImageFile, neighbors: int = 5) -> Recognition:
        """Recognise one photo; a photo that cannot be read is an answer with an error."""
        try:
            # Decoded for each use as stages `embed` and `index` do: a JPEG that is scaled down
            # while it is decoded differs a little from one that is resized after.
            asked = self.describer.describe(path)
            features = self.find_features(path)
        except ImageError as error:
            return Recognition(str(path), error=str(error))
        neighbors_found, evidence = self.recognizer.gather(asked, lambda query: features)
        database, rows = self.recognizer.database, neighbors_found.rows
        extras = make_extras(self.decision.policy, database, asked.vectors, rows)
        decisions = self.decision.answer(evidence, extras)
        prediction = make_predictions(self.recognizer, evidence, decisions)[0]
        known = prediction.landmark_id
        return Recognition(
            str(path),
            known,
            None if known is None else self.recognizer.name(known),
            prediction.confidence,
            prediction.reason,
            tuple(self._matches(rows[0], evidence, neighbors)),
            self._best_match(rows[0], evidence, prediction.guess),
        )

    def find_features(self, path: ImageFile) -> LocalFeatures | None:
        """Return the local features of a photo; None where the run compares none.

        Raises:
            ImageError: the photo cannot be read.
        """
        if self.recognizer.features is None:
            return None
        limit = self.recipe.decode.max_pixels
        image = decode_image(path, min_side=self.extractor.min_side, max_pixels=limit)
        return self.extractor.extract(image)

    def _matches(self, rows: NDArray[np.int64], evidence: Evidence, count: int) -> Iterator[Match]:
        """Yield the nearest neighbours of the one query."""
        for rank in range(min(count, len(rows))):
            if rows[rank] < 0:
                return
            yield self._match(rows, evidence, rank)

    def _best_match(
        self, rows: NDArray[np.int64], evidence: Evidence, landmark_id: int | None
    ) -> Match | None:
        """Return the neighbour with the most inliers, then the nearest, of a landmark."""
        ranks = np.flatnonzero((evidence.labels[0] == landmark_id) & (rows >= 0))
        if not len(ranks):
            return None
        best = int(ranks[np.argmax(evidence.inliers[0, ranks])])
        return self._match(rows, evidence, best)

    def _match(self, rows: NDArray[np.int64], evidence: Evidence, rank: int) -> Match:
        landmark_id = int(evidence.labels[0, rank])
        inliers = int(evidence.inliers[0, rank])
        return Match(
            self.recognizer.database.image_ids[rows[rank]],
            landmark_id,
            self.recognizer.name(landmark_id),
            float(evidence.similarities[0, rank]),
            inliers if inliers >= 0 else None,
        )
