"""A run, opened as it is at one moment: photos in, answers out.

Reads a run folder and the photos. Writes nothing. Everything is loaded once, then photos that are
asked about together take passes of the network together, one search, and the verification of their
candidates.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from classify_head.policies import Decisions
from embed.decode import DecodedImage, ImageError
from embed.errors import InputError, MissingFileError, NotFoundError
from embed.image_file import ImageFile
from embed.parallel import run_parallel
from embed.printable import printable
from embed.regions import region_boxes, to_pixels
from embed.shards import Embeddings
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.image_table import Labels
from pipelines.datasets.naming import MAX_ID
from pipelines.runs.changes import Generation, read_generation
from pipelines.runs.job import find_data, read_run
from pipelines.runs.members import list_members
from pipelines.runs.names import load_labels
from pipelines.runs.recipe import Recipe, make_recipe
from rerank.features import LocalFeatures
from rerank.geometry import is_verified
from rerank.hulls import Box, convex_hull, inlier_points

from .answer import Answer, Match, Point, RankedLabel, make_answers
from .decision import Decision, at_precision, is_made, load_decision, read_made
from .describer import RunDescriber, find_models, load_describer
from .explanation import explain
from .extras import make_extras
from .further import add_further
from .live import find_file
from .open_run import follow, open_retriever
from .photo import Photo
from .retriever import Retriever
from .supporters import order_supporters

logger = logging.getLogger(__name__)

TOP = 5  # labels that come with an answer
SAY_WHERE = "--data FOLDER says where the dataset is"
Size = tuple[int, int]  # width, height: pixels of an upright original


@dataclass(frozen=True, eq=False)
class PhotoComparison:
    """Where a photo and a database photo show the same."""

    points: NDArray[np.float32]  # [I, 2] of the inliers, x and y in pixels of the upright photo
    stored_points: NDArray[np.float32]  # [I, 2] the same in the database photo
    size: tuple[int, int]  # of the photo, or of the part that is meant: width, height in pixels
    stored_size: tuple[int, int]
    verified: bool  # there are more inliers than chance gives


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run with the changes of its database until one moment. Threads may share it."""

    run: Path
    data: Path  # dataset folder; it may be gone
    recipe: Recipe
    describer: RunDescriber
    indexed: Retriever  # without changes
    retriever: Retriever  # with those of the generation
    generation: Generation
    decision: Decision
    made: tuple[int, ...]  # when index and decision were
    again: Callable[[], "OpenedRun"]  # opens it as it was opened

    @classmethod
    def open(
        cls,
        run: Path,
        min_precision: float | None = None,
        *,
        engine: str = "",
        data: Path | None = None,
    ) -> "OpenedRun":
        """Load model, index, features and decision.

        Args:
            run: run folder.
            min_precision: answers shall be right so often; None for what the run was made with.
            engine: that describes photos, as embed.engine names it; empty: the recipe's.
            data: dataset folder that has the photos; None for that of the run.

        Raises:
            MissingFileError: the run is not there, or not indexed.
            ValueError: its parts do not belong together.
        """
        recorded = read_run(run)
        if recorded is None:
            raise MissingFileError(
                f"no run in {run}; make one: cairn index --data FOLDER --run {run}"
            )
        made = read_made(run)  # before: what is made while it is read is seen next
        recipe = make_recipe(recorded["settings"], str(run))
        indexed = open_retriever(run, recipe, find_models(run, recipe), changes=False)
        decision = load_decision(run, recipe, indexed.database)
        if min_precision is not None:
            decision = at_precision(decision, run, min_precision)
        describer = load_describer(run, recipe, engine=engine)  # last: it may wait for a thread
        opened = cls(
            run,
            data or find_data(run, recorded),
            recipe,
            describer,
            indexed=indexed,
            retriever=indexed,
            generation=(),
            decision=decision,
            made=made,
            again=partial(cls.open, run, min_precision, engine=engine, data=data),
        ).followed()
        opened._compare_engines()
        return opened

    def followed(self) -> "OpenedRun":
        """Return the run as it is by now: itself, where nothing was added or removed since.

        What is made anew is opened anew when all of it is there, and answers as it was until then.
        """
        if read_made(self.run) != self.made:
            return self.again() if is_made(self.run) else self
        generation = read_generation(self.run)  # before: what comes while it is read is seen next
        if generation == self.generation:
            return self
        return replace(self, retriever=follow(self.run, self.indexed), generation=generation)

    def answer(self, photos: Sequence[Photo], neighbors: int = 5) -> list[Answer]:
        """Recognise photos; one that cannot be read is an answer with an error.

        Args:
            photos: any number.
            neighbors: how many database photos come with each answer, see order_supporters.

        Raises:
            FileNotFoundError: changes were put into one since: follow, and ask again.
        """
        decoded = run_parallel(self._decode, photos)
        readable = [image for image in decoded if isinstance(image, DecodedImage)]
        answered = iter(self._answer(readable, neighbors) if readable else ())
        answers = []
        for photo, image in zip(photos, decoded, strict=True):
            if isinstance(image, InputError):
                answers.append(Answer(photo.name, error=str(image)))
                continue
            answer = replace(next(answered), image=photo.name)
            answers.append(answer.moved(*_corner(photo)) if photo.box else answer)
        return answers

    def find_neighbors(self, photo: Photo, count: int) -> list[Match]:
        """Return the database photos that are nearest to a photo, by descriptors alone.

        Raises:
            InputError: the photo cannot be read.
        """
        query, _ = self.describer.describe([self.decode(photo)], [photo.name], features=False)
        found = self.retriever.nearest(query, count)
        rows = self.retriever.database.rows
        ids, labels = rows.ids(found.rows[0]).to_pylist(), rows.labels(found.rows[0]).tolist()
        each = zip(ids, labels, found.scores[0].tolist(), strict=True)
        return [
            Match(image_id, label, self.retriever.name(label), rank, score, None, False)
            for rank, (image_id, label, score) in enumerate(each)
        ]

    def compare(self, photo: Photo, image_id: str) -> PhotoComparison | None:
        """Compare a photo with one of the database; None where no local features are compared.

        Raises:
            InputError: the photo cannot be read.
            NotFoundError: the database has no such photo.
        """
        row = self.retriever.database.rows.row_of(image_id)
        if row < 0:
            raise NotFoundError(f"the database has no photo '{printable(image_id[:MAX_ID])}'")
        features, verifier = self.find_features(photo), self.retriever.verifier
        if features is None or verifier is None:
            return None
        for compared in verifier.compare(features, [row]):
            found = compared.verification
            pairs = found.matches[found.inliers]
            left_top = np.array(_corner(photo), dtype=np.float32)
            return PhotoComparison(
                features.keypoints[pairs[:, 0]] + left_top,
                compared.features.keypoints[pairs[:, 1]],
                features.image_size,
                compared.features.image_size,
                is_verified(found.n_inliers),
            )
        return None

    def decode(self, photo: Photo) -> DecodedImage:
        """Decode a photo as those of the database were. Raises InputError."""
        return self.describer.decode(photo)

    def find_features(self, photo: Photo) -> LocalFeatures | None:
        """Return the local features of a photo; None where the run compares none.

        Raises:
            InputError: the photo cannot be read.
        """
        extractor = self.describer.extractor
        return None if extractor is None else extractor.extract(self.decode(photo))

    def locate(self, image_id: str) -> ImageFile:
        """Return a photo of the database as it is shown: its file, or a thumbnail of it.

        Raises:
            MissingFileError: it is gone, and there is no thumbnail.
        """
        added = find_file(self.retriever.database.added, image_id)
        if added is not None:
            return added
        found = self.dataset.find_photo(image_id) if self.data.is_dir() else None
        if found is None:
            raise MissingFileError(f"the photo {image_id} of the database is gone; {SAY_WHERE}")
        return found

    @cached_property
    def dataset(self) -> Dataset:
        """That of the run. Raises MissingFileError where it is gone."""
        return Dataset(self.data)

    @cached_property
    def labels(self) -> Labels:
        """What is said of landmarks."""
        return load_labels(self.run)

    def _compare_engines(self) -> None:
        """Say so where photos are described by another engine than those of the database."""
        folders = list_members(self.run, self.recipe)
        for folder, member in zip(folders, self.describer.members, strict=True):
            made = load_manifest(folder / "embeddings" / self.retriever.database.split)
            if made and (before := made.model["described_by"]) != member.engine.name:
                logger.info(
                    "photos are described by %s, those of the database were by %s: cosines differ "
                    "by less than .001",
                    *(member.engine.name, before),
                )

    def _decode(self, photo: Photo) -> DecodedImage | InputError:
        try:
            return self.decode(photo)
        except InputError as error:
            return error

    def _answer(self, images: Sequence[DecodedImage], neighbors: int) -> list[Answer]:
        """Answer photos that could be read; they are called 0, 1 and so on."""
        retriever, decision = self.retriever, self.decision
        names = [str(place) for place in range(len(images))]
        queries, features = self.describer.describe(images, names)
        found, evidence = retriever.gather(queries, lambda query: features[query])
        extras = make_extras(decision.policy, retriever.database, queries.vectors, found.rows)
        decisions = decision.answer(evidence, extras)
        answers = make_answers(retriever, evidence, decisions)
        ranked = self._rank(evidence, decisions)
        for query, image in enumerate(images):
            answer = answers[query]
            matches = order_supporters(
                self._matches(query, found.rows[query], evidence, decisions), answer.guess
            )
            best = matches[0] if matches and matches[0].label == answer.guess else None
            shown = order_supporters(matches, answer.guess, neighbors)
            one = queries.take(slice(query, query + 1))
            if queries.regions is not None:
                shown = self._place(shown, one, image)
                best = self._place([best], one, image)[0] if best else None
            known = replace(
                answer,
                top=tuple(ranked[query]),
                neighbors=tuple(shown),
                best=best,
                region=self._find_region(best, features[query]),
                details=self.labels.details.get(-1 if answer.label is None else answer.label, {}),
            )
            why = explain(known, evidence, query, matches, decision=decision)
            answers[query] = replace(known, explanation=why)
        gathered = retriever, decision, evidence, found.rows
        return add_further(answers, *gathered, find_features=lambda query: features[query])

    def _rank(self, evidence: Evidence, decisions: Decisions) -> list[list[RankedLabel]]:
        """Return the likeliest labels of each query, the guess first."""
        model = self.decision.model
        probabilities = model.rank(evidence) if model else [[] for _ in range(len(evidence))]
        guesses = decisions.guesses.labels.tolist()
        voted = zip(decisions.ranked.labels.tolist(), decisions.ranked.scores.tolist(), strict=True)
        return [
            self._rank_labels(guess, dict(likely), dict(zip(*votes, strict=True)))
            for guess, likely, votes in zip(guesses, probabilities, voted, strict=True)
        ]

    def _rank_labels(
        self, guess: int, probabilities: dict[int, float], votes: dict[int, float]
    ) -> list[RankedLabel]:
        """Return the guess and what is likeliest after it, by labels' probabilities or votes."""
        labels = [guess, *(label for label in probabilities or votes if label != guess)]
        return [
            RankedLabel(
                label, self.retriever.name(label), probabilities.get(label), votes.get(label, 0.0)
            )
            for label in labels
            if label >= 0
        ][:TOP]

    def _find_region(self, best: Match | None, features: LocalFeatures | None) -> tuple[Point, ...]:
        """Return the corners around what was verified of a photo; none where nothing was."""
        verifier = self.retriever.verifier
        if best is None or not best.verified or features is None or verifier is None:
            return ()
        row = self.retriever.database.rows.row_of(best.image_id)
        for compared in verifier.compare(features, [row]):
            points = inlier_points(features.keypoints, compared.verification)
            if len(points):
                return tuple((x, y) for x, y in convex_hull(points).tolist())
        return ()

    def _place(
        self, matches: Sequence[Match], query: Embeddings, image: DecodedImage
    ) -> list[Match]:
        """Say where in a photo, and where in theirs, matches are most alike."""
        rows = self.retriever.database.rows.rows_of(match.image_id for match in matches)
        pairs = zip(matches, self.retriever.best_regions(query, rows.tolist()), strict=True)
        return [
            replace(
                match,
                query_box=self._find_box(mine, image.original_size) if mine else None,
                box=self._find_box(other, self._find_size(match.image_id)) if other else None,
            )
            for match, (mine, other) in pairs
        ]

    def _find_box(self, place: int, size: Size | None) -> Box | None:
        """Return where the region is that is vector `place` of an image, from 1."""
        if size is None:
            return None
        boxes = region_boxes(self.recipe.embed.regions, size)
        left, top, right, bottom = to_pixels(boxes, size)[place - 1].tolist()
        return left, top, right, bottom

    def _find_size(self, image_id: str) -> Size | None:
        """Return the size of a database photo; None where it is gone and nothing says so."""
        stored = self.retriever.features
        if stored is not None and (features := stored.get(image_id)) is not None:
            return features.image_size
        if self.data.is_dir() and (small := self.dataset.find_thumbnail(image_id)) is not None:
            return small.size
        try:
            return self.decode(Photo.of(self.locate(image_id))).original_size
        except (FileNotFoundError, ImageError):
            return None

    def _matches(
        self, query: int, rows: NDArray[np.int64], evidence: Evidence, decisions: Decisions
    ) -> Iterator[Match]:
        """Yield the neighbours [K] of one query, nearest first."""
        places = np.flatnonzero(rows >= 0)
        ids = self.retriever.database.rows.ids(rows[places]).to_pylist()
        votes = decisions.ranked.added
        for place, image_id in zip(places.tolist(), ids, strict=True):
            label = int(evidence.labels[query, place])
            inliers = int(evidence.inliers[query, place])
            yield Match(
                image_id,
                label,
                self.retriever.name(label),
                # Behind the neighbours are images that were verified for their class.
                place if place < self.recipe.search.neighbors else None,
                float(evidence.similarities[query, place]),
                inliers if inliers >= 0 else None,
                is_verified(inliers),
                0.0 if votes is None else float(votes[query, place]),
            )


def _corner(photo: Photo) -> tuple[int, int]:
    """Return where the part of a photo that is meant begins."""
    return (max(round(photo.box[0]), 0), max(round(photo.box[1]), 0)) if photo.box else (0, 0)
