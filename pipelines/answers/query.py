"""Stage `query`: which known thing is in these photos?

Reads a run folder and the photos. Writes nothing. Everything is loaded once, then each photo takes
one forward pass, one search and the verification of its candidates.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from embed.decode import DecodedImage, ImageError
from embed.errors import MissingFileError
from embed.image_file import ImageFile
from embed.regions import region_boxes, to_pixels
from embed.shards import Embeddings
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import Dataset
from pipelines.runs.changes import Generation, read_generation
from pipelines.runs.job import read_run
from pipelines.runs.members import list_members
from pipelines.runs.recipe import Recipe, make_recipe
from rerank.features import LocalFeatures
from rerank.geometry import is_verified
from rerank.hulls import Box

from .answer import Answer, Match, make_answers
from .decision import at_precision, load_decision
from .describer import load_describer
from .extras import make_extras
from .further import add_further
from .live import find_file
from .open_run import follow, open_recognizer
from .recognition import Recognizer
from .supporters import order_supporters

logger = logging.getLogger(__name__)


class QueryEngine:
    """A run, loaded and ready to be asked."""

    def __init__(self, run: Path, min_precision: float | None = None, *, engine: str = "") -> None:
        """Load model, index, features and decision.

        Answers shall be right so often: min_precision; None for what the run was made with.
        Photos are described by the engine, as embed.engine names it; empty: by the recipe's.

        Raises:
            MissingFileError: the run is not there, or not indexed.
            ValueError: its parts do not belong together.
        """
        recorded = read_run(run)
        if recorded is None:
            raise MissingFileError(
                f"no run in {run}; make one: cairn index --data FOLDER --run {run}"
            )
        self.run, self.data = run, Path(recorded["data"])
        self.recipe: Recipe = make_recipe(recorded["settings"], str(run))
        self.describer = load_describer(run, self.recipe, engine=engine)
        fingerprint = self.describer.fingerprint
        self._indexed = open_recognizer(run, self.recipe, fingerprint, changes=False)
        self.recognizer: Recognizer = self._indexed
        self._generation: Generation = ()
        self.follow()
        self._compare_engines()
        self.decision = load_decision(run, self.recipe, self.recognizer.database)
        if min_precision is not None:
            self.decision = at_precision(self.decision, run, min_precision)

    def follow(self) -> bool:
        """Take over what was added to the database, or removed, meanwhile; tell if there was."""
        generation = read_generation(self.run)  # before: what comes while it is read is seen next
        if generation == self._generation:
            return False
        self.recognizer = follow(self.run, self._indexed)
        self._generation = generation
        return True

    def locate(self, image_id: str) -> ImageFile:
        """Return where a photo of the database is. Raises MissingFileError without the dataset."""
        added = find_file(self.recognizer.database.added, image_id)
        return self._dataset.locate(image_id) if added is None else added

    @cached_property
    def _dataset(self) -> Dataset:
        return Dataset(self.data)

    def _compare_engines(self) -> None:
        """Say so where photos are described by another engine than those of the database."""
        folders = list_members(self.run, self.recipe)
        for folder, member in zip(folders, self.describer.members, strict=True):
            made = load_manifest(folder / "embeddings" / self.recognizer.database.split)
            if made and (before := made.model["described_by"]) != member.engine.name:
                logger.info(
                    "photos are described by %s, those of the database were by %s: cosines differ "
                    "by less than .001",
                    *(member.engine.name, before),
                )

    def ask(self, path: ImageFile, neighbors: int = 5) -> Answer:
        """Recognise one photo; a photo that cannot be read is an answer with an error.

        What was added or removed before is known to the answer, all or none of each change.

        Args:
            path: of the photo.
            neighbors: how many database photos come with the answer, see order_supporters.
        """
        self.follow()
        try:
            image = self.describer.decode(path)
        except ImageError as error:
            return Answer(str(path), error=str(error))
        try:
            return self._ask(path, image, neighbors)
        except FileNotFoundError:  # changes were put into one meanwhile
            if not self.follow():
                raise
            return self._ask(path, image, neighbors)

    def _ask(self, path: ImageFile, image: DecodedImage, neighbors: int) -> Answer:
        query, features = self.describer.describe(image, str(path))
        neighbors_found, evidence = self.recognizer.gather(query, lambda row: features)
        database, rows = self.recognizer.database, neighbors_found.rows
        extras = make_extras(self.decision.policy, database, query.vectors, rows)
        decisions = self.decision.answer(evidence, extras)
        answer = make_answers(self.recognizer, evidence, decisions)[0]
        matches = order_supporters(self._matches(rows[0], evidence), answer.guess)
        best = matches[0] if matches and matches[0].landmark_id == answer.guess else None
        shown = order_supporters(matches, answer.guess, neighbors)
        if query.regions is not None:
            shown = self._place(shown, query, image)
            best = self._place([best], query, image)[0] if best else None
        answer = replace(answer, neighbors=tuple(shown), best=best)
        gathered = self.recognizer, self.decision, evidence, rows
        return add_further([answer], *gathered, find_features=lambda row: features)[0]

    def _place(
        self, matches: Sequence[Match], query: Embeddings, image: DecodedImage
    ) -> list[Match]:
        """Say where in a photo, and where in theirs, matches are most alike."""
        rows = self.recognizer.database.rows.rows_of(match.image_id for match in matches)
        pairs = zip(matches, self.recognizer.best_regions(query, rows.tolist()), strict=True)
        return [
            replace(
                match,
                query_box=self._find_box(mine, image) if mine else None,
                box=self._find_box(other, self._decode(match)) if other else None,
            )
            for match, (mine, other) in pairs
        ]

    def _find_box(self, place: int, image: DecodedImage | None) -> Box | None:
        """Return where the region is that is vector `place` of an image, from 1."""
        if image is None:
            return None
        height, width = image.pixels.shape[:2]
        boxes = region_boxes(self.recipe.embed.regions, (width, height))
        left, top, right, bottom = to_pixels(boxes, image.original_size)[place - 1].tolist()
        return left, top, right, bottom

    def _decode(self, match: Match) -> DecodedImage | None:
        """Decode a database photo; None where it is not there any more."""
        try:
            return self.describer.decode(self.locate(match.image_id))
        except (FileNotFoundError, ImageError):
            return None

    def find_features(self, path: ImageFile) -> LocalFeatures | None:
        """Return the local features of a photo; None where the run compares none.

        Raises:
            ImageError: the photo cannot be read.
        """
        extractor = self.describer.extractor
        return None if extractor is None else extractor.extract(self.describer.decode(path))

    def _matches(self, rows: NDArray[np.int64], evidence: Evidence) -> Iterator[Match]:
        """Yield the neighbours [K] of the one query, nearest first."""
        places = np.flatnonzero(rows >= 0)
        ids = self.recognizer.database.rows.ids(rows[places]).to_pylist()
        for place, image_id in zip(places.tolist(), ids, strict=True):
            landmark_id = int(evidence.labels[0, place])
            inliers = int(evidence.inliers[0, place])
            yield Match(
                image_id,
                landmark_id,
                self.recognizer.name(landmark_id),
                # Behind the neighbours are images that were verified for their class.
                place if place < self.recipe.search.neighbors else None,
                float(evidence.similarities[0, place]),
                inliers if inliers >= 0 else None,
                is_verified(inliers),
            )
