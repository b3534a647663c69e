"""Say which images of a dataset a recipe trains on, and which judge the epochs.

Reads the tables train and, where there is one, validation. Opens no image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embed.balance import draw_set, keep_large_classes
from embed.errors import InputError
from embed.sampling import split_validation
from embed.settings import TrainSettings
from embed.upsampling import Examples

from .dataset import Dataset, ImageTable


@dataclass(frozen=True)
class TrainingSet:
    """N images to train on, and the photos of the same landmarks that are held out."""

    table: ImageTable  # train, or index without it, all of it
    rows: NDArray[np.int64]  # [N] of the table, ascending
    landmarks: NDArray[np.int64]  # [C] of these images, ascending: class c is landmarks[c]
    examples: Examples | None  # [M] of the N images; none where each is trained on as it is
    held_out: ImageTable
    strangers: int  # rows of the validation table of other landmarks, which nothing is asked of

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the N images."""
        return tuple(self.table.ids[row] for row in self.rows)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class of each of the N images, 0 to C - 1."""
        return np.searchsorted(self.landmarks, self.table.landmark_ids[self.rows])


def load_training_set(dataset: Dataset, settings: TrainSettings) -> TrainingSet:
    """Leave out small classes, hold photos out, and balance the rest.

    Without train.csv the classes are those of index.csv: of a model that is not trained.

    The photos of a validation table are held out; where there is none, a share of each class is.

    Raises:
        InputError: a table is unusable, or no landmark has balance.min_count photos.
    """
    table, balance = dataset.load_split(dataset.class_split), settings.balance
    large = keep_large_classes(table.landmark_ids, balance.min_count)
    if not len(large):
        most = np.unique(table.landmark_ids, return_counts=True)[1].max()
        raise InputError(
            f"no landmark of {table.path} has train.balance.min_count = {balance.min_count} "
            f"photos, the largest has {most}; lower it"
        )
    landmarks = np.unique(table.landmark_ids[large])
    if dataset.find_table("validation"):
        asked = dataset.load_split("validation")
        known = np.isin(asked.landmark_ids, landmarks)
        held_out, strangers = _take(asked, np.flatnonzero(known)), int((~known).sum())
        rows = large
    else:
        labels = table.landmark_ids[large]
        kept, left = split_validation(labels, settings.validation_share, settings.seed)
        held_out, strangers = _take(table, large[left]), 0
        rows = large[kept]
    if not (balance.cap or balance.upsample_to):
        return TrainingSet(table, rows, landmarks, None, held_out, strangers)
    drawn = draw_set(
        table.landmark_ids[rows],
        cap=balance.cap,
        upsample_to=balance.upsample_to,
        set_number=balance.set_number,
        seed=settings.seed,
    )
    used, places = np.unique(drawn.rows, return_inverse=True)
    examples = Examples(places, drawn.variants)
    return TrainingSet(table, rows[used], landmarks, examples, held_out, strangers)


def _take(table: ImageTable, rows: NDArray[np.int64]) -> ImageTable:
    ids = tuple(table.ids[row] for row in rows)
    return ImageTable(table.path, ids, table.landmark_ids[rows])
