"""Bring GLDv2's tables together, in one numbering of landmarks. Reads a mirror, writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from .catalog import Subset, Task
from .mirror_tables import read_index, read_published, read_retrieval, read_train
from .names import match_landmarks, name_landmarks

_TRAIN_NAMES = ("train_categories", "train_hierarchy")
_INDEX_NAMES = ("index_categories", "index_hierarchy")


@dataclass(frozen=True)
class Contents:
    """What GLDv2's tables say, in the landmark_ids of the dataset: those of the training set."""

    splits: dict[str, pa.Table]  # id, and landmark_id but of test
    solution: pa.Table | None  # id, landmarks, Usage
    labels: pa.Table  # landmark_id, name
    hierarchy: pa.Table | None  # landmark_id, category, supercategory, ...
    unlabelled: pa.Array  # ids of index images without a landmark: no use as a database
    index_landmarks: pa.Table | None = None  # index_landmark_id as published, landmark_id


def read_contents(mirror: Path, task: Task, subset: Subset) -> Contents:
    """Read the tables that a dataset of this task is made of.

    Raises:
        FileNotFoundError: one is not there that no dataset can be made without.
        ValueError: one is not what it should be.
    """
    train, test = read_train(mirror, subset), read_published(mirror, "test")
    if test is None:
        test = pa.table({"id": pa.array([], pa.string())})
    splits = {"train": train, "test": test}
    categories = _read_all(mirror, _TRAIN_NAMES)
    hierarchy = read_published(mirror, "train_hierarchy")
    if task == "recognition":
        labels = name_landmarks(categories, [_numbers(train)])
        solution = read_published(mirror, "recognition_solution")
        return Contents(splits, solution, labels, hierarchy, pa.array([], pa.string()))
    return _add_index(mirror, splits, categories, hierarchy)


def _add_index(
    mirror: Path,
    splits: dict[str, pa.Table],
    categories: Sequence[pa.Table],
    hierarchy: pa.Table | None,
) -> Contents:
    """Return the contents with the index, renumbered, and all that goes by its numbers."""
    published = read_index(mirror)
    index, index_categories = published.drop_null(), _read_all(mirror, _INDEX_NAMES)
    train = splits["train"]
    every = np.concatenate([_numbers(table) for table in (train, *categories)])
    numbers = match_landmarks(
        categories, index_categories, _numbers(index), int(every.max(initial=-1)) + 1
    )
    index = _renumber(index, numbers)
    index_hierarchy = read_published(mirror, "index_hierarchy")
    if index_hierarchy is not None:
        index_hierarchy = _renumber(index_hierarchy, numbers)
    renumbered = [_renumber(table, numbers) for table in index_categories]
    return Contents(
        {**splits, "index": index},
        read_retrieval(mirror, index),
        name_landmarks([*categories, *renumbered], [_numbers(train), _numbers(index)]),
        _join_hierarchies([t for t in (hierarchy, index_hierarchy) if t is not None]),
        published["id"].filter(published["landmark_id"].is_null()).combine_chunks(),
        pa.table({"index_landmark_id": numbers.index, "landmark_id": numbers.to_numpy()}),
    )


def _read_all(mirror: Path, names: Sequence[str]) -> list[pa.Table]:
    """Return landmark_id, category of those of the tables that are there."""
    tables = (read_published(mirror, name) for name in names)
    return [table.select(["landmark_id", "category"]) for table in tables if table is not None]


def _numbers(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(table["landmark_id"], dtype=np.int64)


def _renumber(table: pa.Table, numbers: "pd.Series[int]") -> pa.Table:
    """Replace the landmark_ids of the index by those of the dataset."""
    renumbered = numbers.reindex(_numbers(table)).to_numpy()
    place = table.column_names.index("landmark_id")
    return table.set_column(place, "landmark_id", pa.array(renumbered, pa.int64()))


def _join_hierarchies(tables: Sequence[pa.Table]) -> pa.Table | None:
    """Return all rows, the first of each landmark: that of the training set where both have it."""
    if not tables:
        return None
    joined = pa.concat_tables(tables)
    first = ~pd.Series(_numbers(joined)).duplicated().to_numpy()
    return joined.filter(pa.array(first))
