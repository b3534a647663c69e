"""Score a model in training on images held out of it, with distractors from the pool."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classify_head.gap import Answers, bootstrap_interval, gap
from embed.extract import extract_all
from embed.image_file import ImageFile
from embed.model import DescriptorModel
from embed.sampling import group_by_class
from index.metrics import recall_at_k
from index.search import build_index, search

DATABASE_PER_CLASS = 10  # images of a landmark that are searched; more would only cost time
MAX_DISTRACTORS = 100
FIGURES = ("gap", "gap_error", "recall_at_1")


@dataclass(frozen=True)
class Validation:
    """Queries with their truth, and the images that are searched."""

    queries: list[ImageFile]
    query_labels: NDArray[np.int64]  # [Q]; -1 for a distractor
    database: list[ImageFile]
    database_labels: NDArray[np.int64]  # [N]
    batch_size: int
    max_pixels: int
    workers: int

    def score(self, model: DescriptorModel) -> dict[str, float]:
        """Return gap, with distractors, its standard error, and recall_at_1.

        The nearest neighbour answers. All are nan if no landmark query, or no database image, could
        be read.
        """
        if not (self.query_labels >= 0).any():
            return dict.fromkeys(FIGURES, float("nan"))
        model.eval()
        found, xb, _ = self._extract(model, self.database)
        asked, xq, _ = self._extract(model, self.queries)
        truths = self.query_labels[asked]
        if not len(found) or not (truths >= 0).any():
            return dict.fromkeys(FIGURES, float("nan"))
        ids = tuple(f"{position:09d}" for position in asked)
        nearest = search(build_index(xb), ids, xq, 1)
        predicted = self.database_labels[found][nearest.rows[:, 0]]
        sets = tuple(frozenset([int(t)] if t >= 0 else []) for t in truths)
        answers = Answers(ids, predicted, nearest.scores[:, 0].astype(np.float64), sets)
        low, high = bootstrap_interval(answers, level=0.6827)  # one standard error either way
        return {
            "gap": gap(answers),
            "gap_error": (high - low) / 2,
            "recall_at_1": recall_at_k(predicted[:, None], sets, 1),
        }

    def _extract(
        self, model: DescriptorModel, paths: list[ImageFile]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], object]:
        return extract_all(
            model,
            paths,
            batch_size=self.batch_size,
            max_pixels=self.max_pixels,
            workers=self.workers,
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
