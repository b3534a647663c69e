"""Say which images of a dataset a recipe trains on, and which judge the training.

Reads the tables train and, where there is one, validation. Opens no image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embed.balance import draw_set, keep_large_classes
from embed.errors import InputError
from embed.sampling import split_validation
from embed.train_settings import TrainSettings
from embed.upsampling import Examples
from pipelines.datasets.dataset import Dataset, ImageTable

HELD_OUT = "held_out"  # name of what find_held_out finds, as of a split
# Landmarks that are left out of the training to judge it: so many at least, of so many and more.
LEAST_UNSEEN, LEAST_LANDMARKS = 3, 10


@dataclass(frozen=True)
class TrainingSet:
    """N images to train on, and those that are held out to judge what was learned."""

    table: ImageTable  # train, or index without it, all of it
    rows: NDArray[np.int64]  # [N] of the table, ascending
    landmarks: NDArray[np.int64]  # [C] of these images, ascending: class c is landmarks[c]
    examples: Examples | None  # [M] of the N images; none where each is trained on as it is
    held_out: ImageTable  # photos of the landmarks trained on, or left out of it
    unseen: ImageTable  # all photos of the landmarks left out: of all others but few are held out
    unknown: int  # rows of the validation table of other landmarks, which nothing is asked of

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the N images."""
        return tuple(self.table.ids[row] for row in self.rows)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class of each of the N images, 0 to C - 1."""
        return np.searchsorted(self.landmarks, self.table.landmark_ids[self.rows])

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each image or, with examples, of each of these."""
        return self.classes if self.examples is None else self.classes[self.examples.rows]


def load_training_set(dataset: Dataset, settings: TrainSettings) -> TrainingSet:
    """Leave out small classes, hold landmarks and photos out, and balance the rest.

    Without train.csv the classes are those of index.csv: of a model that is not trained.

    The photos of a validation table are held out; where there is none, a share of each class is.

    Raises:
        InputError: a table is unusable, or no landmark has balance.min_count photos.
    """
    table = dataset.load_split(dataset.class_split)
    large = keep_large_classes(table.landmark_ids, settings.balance.min_count)
    if not len(large):
        most = np.unique(table.landmark_ids, return_counts=True)[1].max()
        raise InputError(
            f"no landmark of {table.path} has train.balance.min_count = "
            f"{settings.balance.min_count} "
            f"photos, the largest has {most}; lower it"
        )
    landmarks, sizes = np.unique(table.landmark_ids[large], return_counts=True)
    unseen = landmarks[draw_unseen(sizes, settings)]
    shown = large[~np.isin(table.landmark_ids[large], unseen)]
    if dataset.find_table("validation"):
        validation = dataset.load_split("validation")
        known = np.isin(validation.landmark_ids, landmarks)
        held_out, unknown = _take(validation, np.flatnonzero(known)), int((~known).sum())
        rows = shown
    else:
        labels = table.landmark_ids[shown]
        kept, left = split_validation(labels, settings.validation_share, settings.seed)
        held_out, unknown = _take(table, shown[left]), 0
        rows = shown[kept]
    trained = np.setdiff1d(landmarks, unseen)
    left_out = _take(table, np.setdiff1d(large, shown))
    balance = settings.balance
    if not (balance.cap or balance.upsample_to):
        return TrainingSet(table, rows, trained, None, held_out, left_out, unknown)
    drawn = draw_set(
        table.landmark_ids[rows],
        cap=balance.cap,
        upsample_to=balance.upsample_to,
        set_number=balance.set_number,
        seed=settings.seed,
    )
    used, places = np.unique(drawn.rows, return_inverse=True)
    examples = Examples(places, drawn.variants)
    return TrainingSet(table, rows[used], trained, examples, held_out, left_out, unknown)


def find_held_out(dataset: Dataset, settings: TrainSettings) -> ImageTable | None:
    """Return the held-out photos of known landmarks that the database lacks; None if none."""
    if not settings.epochs or dataset.find_table("train") is None:
        return None
    table = load_training_set(dataset, settings).held_out
    database = dataset.load_split(dataset.database_split)
    there, known = set(database.ids), np.isin(table.landmark_ids, database.landmark_ids)
    lacking = np.array([image_id not in there for image_id in table.ids], dtype=np.bool_)
    rows = np.flatnonzero(lacking & known)
    return _take(table, rows) if len(rows) else None


def draw_unseen(sizes: NDArray[np.int64], settings: TrainSettings) -> NDArray[np.bool_]:
    """Choose the landmarks that are left out of the training, to judge it.

    Args:
        sizes: [C] photos of each landmark, ascending by id.
        settings: epochs, unseen_share and seed.

    Returns:
        [C], which they are: none of fewer than LEAST_LANDMARKS, LEAST_UNSEEN at least of more.
    """
    chosen = np.zeros(len(sizes), dtype=bool)
    if settings.epochs and settings.unseen_share and len(sizes) >= LEAST_LANDMARKS:
        count = max(LEAST_UNSEEN, round(settings.unseen_share * len(sizes)))
        count = min(count, len(sizes) - 2)  # two are trained on at least
        paired = np.flatnonzero(sizes > 1)  # one photo is searched, another one is the query
        chosen[np.random.default_rng(settings.seed).permutation(paired)[:count]] = True
    return chosen


def _take(table: ImageTable, rows: NDArray[np.int64]) -> ImageTable:
    ids = tuple(table.ids[row] for row in rows)
    return ImageTable(table.path, ids, table.landmark_ids[rows])
