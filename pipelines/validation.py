"""Score a model in training on images held out of it, with distractors from the pool."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from classify_head.gap import Answers, bootstrap_interval, gap
from classify_head.heads import Head
from classify_head.trained_head import TrainedHead
from embed.extract import Extracted, extract_all
from embed.image_file import ImageFile
from embed.model import DescriptorModel
from embed.sampling import group_by_class
from embed.views import Views
from index.metrics import recall_at_k
from index.search import build_index, search

DATABASE_PER_CLASS = 10  # images of a landmark that are searched; more would only cost time
MAX_DISTRACTORS = 100
FIGURES = ("gap", "gap_error", "recall_at_1", "head_top1")


@dataclass(frozen=True, eq=False)
class Validation:
    """Queries with their truth, and the images that are searched."""

    queries: list[ImageFile]
    query_labels: NDArray[np.int64]  # [Q] classes; -1 for a distractor
    database: list[ImageFile]
    database_labels: NDArray[np.int64]  # [N] classes
    head: Head  # that is trained beside the model
    judge: Literal["neighbors", "head"]  # whose answers are scored
    square: Literal["squeeze", "crop"]  # how images become square
    batch_size: int
    max_pixels: int
    workers: int

    def score(self, model: DescriptorModel) -> dict[str, float]:
        """Return gap, with distractors, its standard error, recall_at_1 and head_top1.

        The nearest neighbour answers, or the head: then nothing is searched, and recall_at_1 is
        nan. All are nan if no landmark query, or no database image, could be read.
        """
        nothing = dict.fromkeys(FIGURES, float("nan"))
        if not (self.query_labels >= 0).any():
            return nothing
        model.eval()
        self.head.eval()
        asked = self._extract(model, self.queries)
        truths = self.query_labels[asked.positions]
        if not (truths >= 0).any():
            return nothing
        sets = tuple(frozenset([int(t)] if t >= 0 else []) for t in truths)
        told = recall_at_k(asked.head.labels[:, :1], sets, 1)
        if self.judge == "head":
            predicted, confidences = asked.head.labels[:, 0], asked.head.probabilities[:, 0]
            recall = float("nan")
        else:
            found = self._extract(model, self.database)
            if not len(found.positions):
                return nothing
            names = [str(position) for position in asked.positions]
            nearest = search(build_index(found.vectors), names, asked.vectors, 1)
            predicted = self.database_labels[found.positions][nearest.rows[:, 0]]
            confidences = nearest.scores[:, 0]
            recall = recall_at_k(predicted[:, None], sets, 1)
        ids = tuple(f"{position:09d}" for position in asked.positions)
        answers = Answers(ids, predicted, confidences.astype(np.float64), sets)
        low, high = bootstrap_interval(answers, level=0.6827)  # one standard error either way
        return {
            "gap": gap(answers),
            "gap_error": (high - low) / 2,
            "recall_at_1": recall,
            "head_top1": told,
        }

    def _extract(self, model: DescriptorModel, paths: list[ImageFile]) -> Extracted:
        device = next(model.parameters()).device
        classes = np.arange(self.head.classes)
        return extract_all(
            model,
            paths,
            batch_size=self.batch_size,
            max_pixels=self.max_pixels,
            workers=self.workers,
            views=Views(square=self.square),
            classifier=TrainedHead(self.head.to(device), classes),
        )


def pick_database(
    labels: NDArray[np.int64], rows: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Choose at most DATABASE_PER_CLASS of the rows of each label, ascending."""
    generator = np.random.default_rng(seed)
    classes = group_by_class(labels[rows])
    parts = np.split(rows[classes.rows], classes.starts[1:])
    chosen = [generator.permutation(part)[:DATABASE_PER_CLASS] for part in parts]
    return np.sort(np.concatenate(chosen))
