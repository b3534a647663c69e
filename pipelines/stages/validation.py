"""Judge a model in training: by photos of its landmarks, and by landmarks it was not trained on.

Photos without a landmark are among the queries where there are some.
"""

import logging
import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from classify_head.answers import Answers, as_truths
from classify_head.gap import bootstrap_interval, gap
from classify_head.heads import Head
from classify_head.trained_head import TrainedHead
from embed.epoch_engine import EpochEngines
from embed.errors import InputError
from embed.extract import Extracted, extract_all
from embed.image_file import ImageFile
from embed.model import DescriptorModel
from embed.pooling import concatenate_weighted
from embed.sampling import group_by_class
from embed.views import Views
from index.metrics import recall_at_k
from index.settings import SearchSettings
from pipelines.datasets.dataset import Dataset, ImageTable
from pipelines.runs.engines import TORCH
from pipelines.runs.recipe import Recipe

from .fit_search import fit_search
from .training_set import TrainingSet

logger = logging.getLogger(__name__)

DATABASE_PER_CLASS = 3  # of a landmark that are searched; among more is a brother of each query
QUERIES_PER_CLASS = 30  # of a landmark that is not trained on; of the others a share is held out
MAX_DISTRACTORS = 200
Floats = NDArray[np.float32]
FIGURES = ("gap", "gap_error", "gap_unseen", "recall_at_1", "head_top1")


@dataclass(frozen=True, eq=False)
class Validation:
    """Queries with their truth, and the images that are searched."""

    queries: list[ImageFile]
    query_labels: NDArray[np.int64]  # [Q] landmark ids; -1 for a distractor
    database: list[ImageFile]
    database_labels: NDArray[np.int64]  # [N] landmark ids
    trained: NDArray[np.int64]  # [C] landmark ids of the classes that are trained
    head: Head  # that is trained beside the model
    judge: Literal["neighbors", "head"]  # whose answers are scored
    search: SearchSettings
    engines: EpochEngines  # that describe them
    batch_size: int
    max_pixels: int
    workers: int
    before: DescriptorModel | None  # whose descriptors lie beside those of the model that is judged
    before_share: float  # of the cosine that they have

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        training: TrainingSet,
        recipe: Recipe,
        head: Head,
        *,
        workers: int,
        before: DescriptorModel | None = None,
    ) -> Self:
        """Query the held-out images and some of the pool; search some of each landmark.

        Of a landmark that is not trained on half of the photos at most are searched. Where that is
        more than train.validation_images, some are drawn: see draw_images.

        Args:
            dataset: where the images are.
            training: what is trained on.
            recipe: how images are described and searched.
            head: that is trained.
            workers: as extract_all takes them.
            before: the pretrained model, where its share of the recipe is above 0.
        """
        settings, unseen = recipe.train, training.unseen
        pool: tuple[str, ...] = ()
        if dataset.find_table("non_landmark"):
            pool = dataset.load_split("non_landmark").ids[:MAX_DISTRACTORS]
        searched, queried = _divide(unseen, settings.seed)
        ids, labels = np.array(training.ids, dtype=object), training.landmarks[training.classes]
        shown = pick_database(labels, np.arange(len(labels)), settings.seed)
        queries = np.array([*training.held_out.ids, *_ids(unseen, queried)], dtype=object)
        truths = np.append(training.held_out.landmark_ids, unseen.landmark_ids[queried])
        images = np.array([*ids[shown], *_ids(unseen, searched)], dtype=object)
        shown_labels = np.append(labels[shown], unseen.landmark_ids[searched])
        if settings.judge == "head":  # which searches nothing
            images, shown_labels = images[:0], shown_labels[:0]
        most = settings.validation_images
        kept, database = draw_images(truths, shown_labels, most, settings.seed)
        if len(kept) + len(database) < len(queries) + len(images):
            logger.info(
                "validation: queries %d of %d photos and searches %d of %d, as "
                "train.validation_images = %d",
                *(len(kept), len(queries), len(database), len(images), most),
            )
        asked = [*queries[kept], *pool]
        return cls(
            queries=list(dataset.images.locate_all(asked)),
            query_labels=np.append(truths[kept], np.full(len(pool), -1)),
            database=list(dataset.images.locate_all(images[database].tolist())),
            database_labels=shown_labels[database],
            trained=training.landmarks,
            head=head,
            judge=settings.judge,
            search=recipe.search if settings.unseen_share else SearchSettings(),
            engines=EpochEngines(
                len(asked) + len(database),
                Views(square=recipe.embed.square),
                exports=recipe.embed.engine != TORCH,
            ),
            batch_size=recipe.embed.batch_size,
            max_pixels=recipe.decode.max_pixels,
            workers=workers,
            before=before,
            before_share=settings.pretrained_share,
        )

    def score(self, model: DescriptorModel) -> dict[str, float]:
        """Return the FIGURES of a model: those of `figures` of its answers."""
        return self.figures(*self.answer(model))

    def answer(
        self, model: DescriptorModel, *, alone: bool = False
    ) -> tuple[Answers | None, Answers | None]:
        """Answer the queries: by the nearest neighbour, or by the head, which searches nothing.

        Args:
            model: to be judged, on any device.
            alone: without the descriptors of `before` beside its own, and without the head.

        Returns:
            The answers, None if no landmark query, or no database image, could be read; and those
            of the head, None without it.
        """
        if not (self.query_labels >= 0).any():
            return None, None
        kept = alone and model is self.before
        queries, database = self._before if kept else self._describe(model, with_head=not alone)
        truths = self.query_labels[queries.positions]
        if not (truths >= 0).any():
            return None, None
        ids = tuple(f"{position:09d}" for position in queries.positions)

        def beside_truths(labels: NDArray[np.int64], confidences: Floats) -> Answers:
            return Answers(labels, confidences.astype(np.float64), ids, as_truths(truths))

        head = None
        if not alone:
            head = beside_truths(queries.head.labels[:, 0], queries.head.probabilities[:, 0])
            if self.judge == "head":
                return head, head
        if not len(database.positions):
            return None, head
        labels = self.database_labels[database.positions]
        vectors, searched = queries.vectors, database.vectors
        if self.before is not None and not alone:
            vectors, searched = (
                self._concatenate(mine.vectors, before.vectors)
                for mine, before in zip((queries, database), self._before, strict=True)
            )
        whitening, index = fit_search(searched, labels, self.search)
        vectors = vectors if whitening is None else whitening.apply(vectors)
        nearest = index.search(vectors, 1)
        return beside_truths(labels[nearest.rows[:, 0]], nearest.scores[:, 0]), head

    def figures(self, answers: Answers | None, head: Answers | None) -> dict[str, float]:
        """Return the FIGURES of answers, and of those of the head.

        Returns:
            gap, with distractors, and its standard error; gap_unseen, that of the landmarks that
            are not trained on, with distractors; recall_at_1 of the neighbours, nan where the head
            judges; head_top1, of the landmarks trained on. What is not known is nan.
        """
        if answers is None:
            return dict.fromkeys(FIGURES, math.nan)
        low, high = bootstrap_interval(answers, level=0.6827)  # one standard error either way
        shown = np.isin(answers.first_truths, self.trained)
        unseen = answers.has_landmark & ~shown
        recall = math.nan
        if self.judge == "neighbors":
            recall = recall_at_k(answers.labels[:, None], answers.truths, 1)
        return {
            "gap": gap(answers),
            "gap_error": (high - low) / 2,
            "gap_unseen": gap(answers.take(~shown)) if unseen.any() else math.nan,
            "recall_at_1": recall,
            "head_top1": math.nan if head is None else _share(head.correct, shown),
        }

    @cached_property
    def _before(self) -> tuple[Extracted, Extracted]:
        """The queries and the database as `before` describes them, once and for all."""
        assert self.before is not None
        return self._describe(self.before, with_head=False)

    def _concatenate(self, vectors: Floats, before: Floats) -> Floats:
        """Return what DescriptorModel.with_pretrained would describe the same images as."""
        if len(vectors) != len(before):
            raise InputError("photos came, or went, while they were trained on; train again")
        trained, pretrained = torch.from_numpy(vectors), torch.from_numpy(before)
        return np.asarray(concatenate_weighted(trained, pretrained, self.before_share).numpy())

    def _describe(self, model: DescriptorModel, *, with_head: bool) -> tuple[Extracted, Extracted]:
        """Describe the queries, which the head may be asked about, and the database."""
        model.eval()
        self.head.eval()
        device = next(model.parameters()).device
        head = TrainedHead(self.head.to(device), self.trained) if with_head else None
        engine_of = self.engines.open(model)
        extract = partial(
            extract_all,
            batch_size=self.batch_size,
            max_pixels=self.max_pixels,
            workers=self.workers,
            views=self.engines.views,
        )
        return extract(engine_of(head), self.queries), extract(engine_of(None), self.database)


def _share(right: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(right[of].mean()) if of.any() else math.nan


def pick_database(
    labels: NDArray[np.int64], rows: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Choose at most DATABASE_PER_CLASS of the rows of each label, ascending."""
    generator = np.random.default_rng(seed)
    classes = group_by_class(labels[rows])
    parts = np.split(rows[classes.rows], classes.starts[1:])
    chosen = [generator.permutation(part)[:DATABASE_PER_CLASS] for part in parts]
    return np.sort(np.concatenate(chosen))


def draw_images(
    queries: NDArray[np.int64], database: NDArray[np.int64], most: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw queries and database images, so that they are at most so many.

    All are kept where they are no more. Else all of the database is, if a quarter of `most` is left
    for queries; of more, first the images of the landmarks of these queries, then the others, a
    landmark at a time.

    Args:
        queries: [Q] landmarks of the queries.
        database: [N] landmarks of the database images, at most DATABASE_PER_CLASS of each.
        most: how many both are at most, together.
        seed: of the draw.

    Returns:
        Rows of the queries and of the database images, ascending.

    >>> draw_images(np.array([4, 5]), np.array([4, 4, 5]), 5, seed=0)
    (array([0, 1]), array([0, 1, 2]))
    """
    generator = np.random.default_rng(seed)
    room = max(most // (1 + DATABASE_PER_CLASS), most - len(database))
    kept = np.sort(generator.permutation(len(queries))[:room])
    landmarks, places = np.unique(database, return_inverse=True)
    order = generator.permutation(len(landmarks))
    order = order[np.argsort(~np.isin(landmarks[order], queries[kept]), kind="stable")]
    total = np.cumsum(np.bincount(places, minlength=len(landmarks))[order])
    chosen = order[total <= most - len(kept)]
    return kept, np.flatnonzero(np.isin(places, chosen))


def divide_unseen(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many images of each landmark are searched, half at most, and how many are queries.

    Args:
        sizes: [U] images of the landmarks that are not trained on; 2 or more each.
    """
    searched = np.minimum(sizes // 2, DATABASE_PER_CLASS)
    return searched, np.minimum(sizes - searched, QUERIES_PER_CLASS)


def _divide(table: ImageTable, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that are searched and those that are queries, of other images."""
    classes = group_by_class(table.landmark_ids, np.random.default_rng(seed))
    searched, queried = (np.repeat(of, classes.sizes) for of in divide_unseen(classes.sizes))
    ranks = classes.ranks()
    queries = (ranks >= searched) & (ranks < searched + queried)
    return np.sort(classes.rows[ranks < searched]), np.sort(classes.rows[queries])


def _ids(table: ImageTable, rows: NDArray[np.int64]) -> list[str]:
    return [table.ids[row] for row in rows]
