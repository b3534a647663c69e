"""Count what each stage will have to do for a dataset and a recipe. Times nothing."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.datasets.facts.tables import Tables
from pipelines.runs.recipe import Recipe
from rerank.settings import RerankSettings

from .model_work import ModelWork, divide_images, list_models, plan_model


@dataclass(frozen=True)
class Counts:
    """What the plan needs to know of a dataset."""

    class_sizes: NDArray[np.int64]  # [C] of the training set
    database_sizes: NDArray[np.int64]  # [C'] of the classes of the database
    database: int  # images that are searched
    searched: int  # training images among them
    validation: int  # images held out by a table; 0: training holds a share of each class out
    unsearched: int  # of them, those that are not in the database
    test: int
    pool: int  # images without a landmark


@dataclass(frozen=True)
class Workload:
    """How many images, queries and pairs the stages of a run meet."""

    models: tuple[ModelWork, ...]  # one, or the members of an ensemble
    training: int  # images in train
    database: int
    pool: int
    test: int
    held_out: int  # images held out of training that the database has not
    known: int  # queries with a known answer, to calibrate the decision by
    neighbors: int  # of a query, with the images of its predicted class that are added
    candidates: float  # of a query, that are verified on average; 0 without local features
    most_candidates: int  # of any query

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
    train, database = tables.ids[tables.classes], tables.ids[tables.database]
    held_out = tables.ids.get("validation", pa.chunked_array([], pa.string()))
    return Counts(
        class_sizes=tables.sizes(tables.classes),
        database_sizes=tables.sizes(tables.database),
        database=len(database),
        searched=_count_common(train, database)
        if tables.database != tables.classes
        else len(train),
        validation=len(held_out),
        unsearched=len(held_out) - _count_common(held_out, database),
        test=len(tables.ids.get("test", ())),
        pool=len(tables.ids.get("non_landmark", ())),
    )


def _count_common(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> int:
    """Return how many of the ids are among the others."""
    return int(pc.sum(pc.is_in(ids, value_set=others)).as_py() or 0)


def plan_work(counts: Counts, recipe: Recipe) -> Workload:
    """Count what a recipe makes of a dataset, its section [data] left aside.

    The rules are those of training_set, validation, known_queries and recognition; where only the
    images themselves would tell who is in two tables, they are taken to be spread evenly.
    """
    models = tuple(_plan_models(counts, recipe))
    trained, outside = _count_seen(counts, recipe)
    known = min(counts.database - trained + outside, recipe.decide.calibration_queries)
    nearest = min(recipe.search.neighbors, counts.database)
    candidates, most = count_candidates(counts.database_sizes, recipe.rerank, nearest)
    added = most if recipe.rerank.of == "predicted-class" else 0
    return Workload(
        models=models,
        training=int(counts.class_sizes.sum()),
        database=counts.database,
        pool=counts.pool,
        test=counts.test,
        held_out=outside,
        known=known + counts.pool // 2,
        neighbors=nearest + added,
        candidates=candidates,
        most_candidates=most,
    )


def _plan_models(counts: Counts, recipe: Recipe) -> list[ModelWork]:
    models = []
    for name, each in list_models(recipe).items():
        divided = divide_images(counts.class_sizes, each.train, from_table=counts.validation > 0)
        held_out = counts.validation or divided.held_out
        models.append(plan_model(name, divided, each.train, held_out=held_out, pool=counts.pool))
    return models


def _count_seen(counts: Counts, recipe: Recipe) -> tuple[int, int]:
    """Return the images of the database that a model was trained on, and those held out beside it.

    Members of an ensemble that draw their images themselves are taken to have drawn the same.
    """
    searched = counts.searched / max(int(counts.class_sizes.sum()), 1)
    divided = [
        divide_images(counts.class_sizes, each.train, from_table=counts.validation > 0)
        for each in list_models(recipe).values()
        if each.train.epochs
    ]
    trained = np.max([each.used for each in divided], axis=0).sum() if divided else 0
    if not recipe.train.epochs:
        outside = 0
    elif counts.validation:
        outside = counts.unsearched
    else:
        whole = divide_images(counts.class_sizes, recipe.train, from_table=False)
        outside = round(whole.held_out * (1 - searched))
    return round(int(trained) * searched), outside


def count_candidates(
    database_sizes: NDArray[np.int64], settings: RerankSettings, nearest: int
) -> tuple[float, int]:
    """Return how many images are verified of a query, on average and at most.

    A class is taken to be predicted as often as its share of the database.

    Args:
        database_sizes: [C] images of the classes of the database.
        settings: which images are verified.
        nearest: neighbours that a query has.
    """
    if settings.method == "none":
        return 0, 0
    if settings.of == "neighbors":
        most = min(settings.candidates, nearest)
        return most, most
    chosen = np.minimum(database_sizes, settings.candidates)
    return float(np.average(chosen, weights=database_sizes)), int(chosen.max())
