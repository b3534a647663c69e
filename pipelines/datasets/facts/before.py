"""Find the training set that a dataset was selected or cleaned from, to show what was filtered.

Reads dataset.json, rejected.csv (or .parquet) and the train table of the other dataset.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import read_rows

from .class_sizes import ClassSizes, describe_sizes
from .tables import Tables, read_labels


@dataclass(frozen=True)
class Before:
    """The training set before it was filtered, and why images were left out."""

    name: str  # of the other dataset's folder; "train and rejected" where that is gone
    sizes: ClassSizes
    reasons: tuple[tuple[str, int], ...]  # (reason, images), the commonest first


def describe_before(dataset: Dataset, tables: Tables, other: Path | None) -> Before | None:
    """Describe the training set before filtering; None for a dataset that was not derived.

    Args:
        dataset: that is reported on.
        tables: its tables.
        other: folder of the dataset to compare with; None: the one that dataset.json names, or
            where that is gone, the training images with those of rejected.csv.

    Raises:
        FileNotFoundError: `other` is no dataset folder.
        ValueError: its train table cannot be read.
    """
    rejected = _find_rejected(dataset.folder)
    reasons = _count_reasons(rejected) if rejected else ()
    source = Dataset(other) if other is not None else find_source(dataset)
    if source is not None:
        path = source.require_table(source.class_split)
        return _describe(source.folder.resolve().name, read_labels(path), reasons)
    if rejected is None:
        return None
    labels = np.concatenate([tables.landmark_ids[tables.classes], read_labels(rejected)])
    return _describe("train and rejected", labels, reasons)


def find_source(dataset: Dataset) -> Dataset | None:
    """Return the dataset that this one was selected or cleaned from, if it is still there."""
    marker = dataset.folder / "dataset.json"
    if not marker.is_file():
        return None
    origin = json.loads(marker.read_text(encoding="utf-8"))
    folders = [Path(value) for key, value in origin.items() if key.endswith(" from")]
    try:
        return Dataset(folders[0]) if folders else None
    except FileNotFoundError:
        return None


def _describe(name: str, labels: NDArray[np.int64], reasons: tuple[tuple[str, int], ...]) -> Before:
    return Before(name, describe_sizes(np.unique(labels, return_counts=True)[1]), reasons)


def _find_rejected(folder: Path) -> Path | None:
    paths = [folder / "rejected.csv", folder / "rejected.parquet"]
    return next((path for path in paths if path.is_file()), None)


def _count_reasons(rejected: Path) -> tuple[tuple[str, int], ...]:
    """Count the reasons, each up to its colon: what follows is of one image."""
    rows = read_rows(rejected)
    if "reason" not in rows.column_names:
        return ()
    reasons = pc.replace_substring_regex(rows["reason"], ":.*", "")
    return tuple(Counter(reasons.to_pylist()).most_common())
