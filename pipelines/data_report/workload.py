"""Count what each stage will have to do for a dataset and a recipe. Times nothing."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.settings import TrainSettings

from ..recipe import Recipe
from ..validation import DATABASE_PER_CLASS, MAX_DISTRACTORS
from .tables import Tables


@dataclass(frozen=True)
class Counts:
    """What the plan needs to know of a dataset."""

    class_sizes: NDArray[np.int64]  # [C] of the training set
    database: int  # images that are searched
    searched: int  # training images among them
    validation: int  # images held out by a table; 0: training holds a share of each class out
    unsearched: int  # of them, those that are not in the database
    test: int
    pool: int  # images without a landmark


@dataclass(frozen=True)
class Workload:
    """How many images, queries and pairs the stages of a run meet."""

    classes: int
    training: int  # images in train
    epochs: int
    epoch_images: int  # trained on in an epoch
    validated: int  # described after each epoch, from one view
    database: int
    pool: int
    test: int
    held_out: int  # images held out of training that the database has not
    known: int  # queries with a known answer, to calibrate the decision by
    neighbors: int  # of a query
    candidates: int  # of a query, that are verified; 0 without local features

    @property
    def embedded(self) -> int:
        """Images that are described for the run, by `embed` and `index`."""
        return self.database + self.pool + self.test + self.held_out

    @property
    def indexed(self) -> int:
        """Images whose local features `index` extracts."""
        return self.database + self.pool + self.held_out


def count_images(tables: Tables) -> Counts:
    """Count what the plan needs of the tables."""
    train, database = tables.ids["train"], tables.ids[tables.database]
    held_out = tables.ids.get("validation", pa.chunked_array([], pa.string()))
    return Counts(
        class_sizes=tables.sizes("train"),
        database=len(database),
        searched=_count_common(train, database) if tables.database != "train" else len(train),
        validation=len(held_out),
        unsearched=len(held_out) - _count_common(held_out, database),
        test=len(tables.ids.get("test", ())),
        pool=len(tables.ids.get("non_landmark", ())),
    )


def _count_common(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> int:
    """Return how many of the ids are among the others."""
    return int(pc.sum(pc.is_in(ids, value_set=others)).as_py() or 0)


def plan_work(counts: Counts, recipe: Recipe) -> Workload:
    """Count what a recipe makes of a dataset.

    The rules are those of training_set, validation and known_queries; where only the images
    themselves would tell who is in two tables, they are taken to be spread evenly.
    """
    settings, balance = recipe.train, recipe.train.balance
    sizes = counts.class_sizes[counts.class_sizes >= balance.min_count]
    held = np.zeros_like(sizes) if counts.validation else _hold_out(sizes, settings)
    held_out = counts.validation or int(held.sum())
    kept = sizes - held
    used = np.minimum(kept, balance.cap or kept)  # without variants
    examples = int(np.maximum(used, balance.upsample_to).sum())
    searched = counts.searched / max(int(counts.class_sizes.sum()), 1)
    outside = counts.unsearched if counts.validation else round(held_out * (1 - searched))
    trained = round(int(used.sum()) * searched)  # and in the database
    if not settings.epochs:
        held_out = outside = trained = examples = 0
    batch = min(settings.classes_per_batch, max(len(sizes), 1)) * settings.images_per_class
    asked = held_out + min(counts.pool, MAX_DISTRACTORS)
    asked += int(np.minimum(used, DATABASE_PER_CLASS).sum())
    known = min(counts.database - trained + outside, recipe.decide.calibration_queries)
    deep = min(recipe.search.neighbors, counts.database)
    return Workload(
        classes=len(sizes),
        training=int(counts.class_sizes.sum()),
        epochs=settings.epochs,
        epoch_images=max(examples // batch, 1) * batch if examples else 0,
        validated=asked if held_out else 0,
        database=counts.database,
        pool=counts.pool,
        test=counts.test,
        held_out=outside,
        known=known + counts.pool // 2,
        neighbors=deep,
        candidates=0 if recipe.rerank.method == "none" else min(recipe.rerank.candidates, deep),
    )


def _hold_out(sizes: NDArray[np.int64], settings: TrainSettings) -> NDArray[np.int64]:
    """Return how many images of each class [C] embed.sampling.split_validation holds out."""
    wanted = (sizes * settings.validation_share + 0.5).astype(np.int64)
    return np.minimum(wanted, np.maximum(sizes - 2, 0))
