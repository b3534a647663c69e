"""Read the tables of a dataset for a report: what is in them, and how they go together.

Reads the tables of a dataset folder, as they are: what is wrong with them, repeated ids and the
like, Dataset.find_problems says. Opens no image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from classify_head.submission import Solution
from embed.errors import InputError
from pipelines.datasets.dataset import LABELLED, SPLITS, Dataset
from pipelines.datasets.derive import read_rows

LARGEST = 10  # classes that are named


@dataclass(frozen=True)
class Tables:
    """The ids of each split there is, and the labels of those that have them."""

    ids: Mapping[str, pa.ChunkedArray]  # of strings, by split
    landmark_ids: Mapping[str, NDArray[np.int64]]  # by split

    @property
    def database(self) -> str:
        """Name of the split that is searched."""
        return "index" if "index" in self.ids else "train"

    @property
    def classes(self) -> str:
        """Name of the split that says which classes there are: index where there is no train."""
        return "train" if "train" in self.ids else "index"

    def sizes(self, split: str) -> NDArray[np.int64]:
        """Return the images of each class [C] of a split, by ascending landmark_id."""
        return np.unique(self.landmark_ids[split], return_counts=True)[1]


@dataclass(frozen=True)
class TableFacts:
    """How much is in a table."""

    name: str
    rows: int
    classes: int | None  # None where the table has no labels


@dataclass(frozen=True)
class LargeClass:
    """One of the largest classes."""

    landmark_id: int
    name: str  # empty where labels.csv does not name it
    images: int


@dataclass(frozen=True)
class QueryFacts:
    """What the solution asks of the training set and of the database."""

    queries: int  # that are scored
    distractors: int  # of them, those that show no landmark
    classes: int  # that are asked about
    untrained_classes: int  # of them, those without a training image
    untrained_queries: int  # that show only such classes
    unknown_classes: int  # without an image in the database
    unanswerable: int  # queries that show only such classes

    @property
    def distractor_share(self) -> float:
        """Of the scored queries."""
        return self.distractors / self.queries if self.queries else 0.0


def read_tables(dataset: Dataset) -> Tables:
    """Read ids and labels of every split of a dataset.

    Raises:
        InputError: a table lacks a column or cannot be read, or train has no rows.
    """
    ids, landmark_ids = {}, {}
    for split in SPLITS:
        path = dataset.find_table(split)
        if path is None:
            continue
        rows = _read(path, ["id", "landmark_id"] if split in LABELLED else ["id"])
        ids[split] = rows["id"]
        if split in LABELLED:
            landmark_ids[split] = rows["landmark_id"].to_numpy()
    read = Tables(ids, landmark_ids)
    if not len(read.ids[read.classes]):
        path = dataset.find_table(read.classes)
        raise InputError(f"{path} has a header and no rows; add some")
    return read


def read_labels(path: Path) -> NDArray[np.int64]:
    """Return the landmark_id of each row of a table; errors as read_tables."""
    return np.asarray(_read(path, ["landmark_id"])["landmark_id"].to_numpy())


def _read(path: Path, columns: list[str]) -> pa.Table:
    rows = read_rows(path)
    for name in columns:
        if name not in rows.column_names:
            raise InputError(f"{path} has no column {name}, only {', '.join(rows.column_names)}")
        if rows[name].null_count:
            raise InputError(f"{path}: {rows[name].null_count} rows have no {name}; give them one")
    return rows.select(columns)


def count_tables(tables: Tables, dataset: Dataset) -> tuple[TableFacts, ...]:
    """Count rows and classes of the splits, and the landmarks that have a name."""
    facts = [
        TableFacts(split, len(ids), len(np.unique(labels)) if labels is not None else None)
        for split, ids in tables.ids.items()
        for labels in [tables.landmark_ids.get(split)]
    ]
    named = [TableFacts("labels", len(dataset.names), len(dataset.names))] if dataset.names else []
    return (*facts, *named)


def find_largest(tables: Tables, names: Mapping[int, str]) -> tuple[LargeClass, ...]:
    """Return the largest classes of the training set; of equal ones the lower id comes first."""
    labels, counts = np.unique(tables.landmark_ids[tables.classes], return_counts=True)
    rows = np.argsort(-counts, kind="stable")[:LARGEST]
    return tuple(
        LargeClass(label, names.get(label, ""), count)
        for label, count in zip(labels[rows].tolist(), counts[rows].tolist(), strict=True)
    )


def compare_queries(dataset: Dataset, tables: Tables) -> QueryFacts | None:
    """Compare the solution with the training set and the database; None without a solution."""
    if dataset.find_table("solution") is None:
        return None
    solution = dataset.solution
    trained, known = (
        set(tables.landmark_ids[split].tolist() if split in tables.ids else ())
        for split in ("train", tables.database)
    )
    truths = _scored(solution)
    landmarks = set().union(*truths)
    return QueryFacts(
        queries=len(truths),
        distractors=sum(not truth for truth in truths),
        classes=len(landmarks),
        untrained_classes=len(landmarks - trained),
        untrained_queries=sum(bool(truth) and truth.isdisjoint(trained) for truth in truths),
        unknown_classes=len(landmarks - known),
        unanswerable=sum(bool(truth) and truth.isdisjoint(known) for truth in truths),
    )


def _scored(solution: Solution) -> list[frozenset[int]]:
    pairs = zip(solution.truths, solution.usages, strict=True)
    return [truth for truth, usage in pairs if usage != "Ignored"]
