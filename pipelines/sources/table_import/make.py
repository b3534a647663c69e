"""Make a dataset of a table and its images: files in a folder, or bytes in Parquet.

Reads the table through table_sources and table_rows; table_images places the images. Writes the
dataset's tables, and failures.parquet where images are missing; see renewal for how they take the
place of older ones.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.errors import InputError, MissingFileError
from embed.failure import Failure
from embed.files import writing
from embed.shards import write_failures
from pipelines.datasets.dataset import LABELLED, SPLITS, TABLES
from pipelines.datasets.derive import write_rows
from pipelines.datasets.origin import claim
from pipelines.datasets.renewal import renewing
from pipelines.sources.folders import assign_ids, check_test_every

from .images import link_files, open_images, write_bytes
from .rows import USUAL, Columns, Rows, read_rows
from .sources import open_source

logger = logging.getLogger(__name__)

FAILURES = "failures.parquet"
# What rows without a label are: photos of nothing known, or photos that nobody has labelled.
Unlabelled = Literal["non_landmark", "test"]


@dataclass(frozen=True)
class ImportResult:
    """How many rows each table got, and what became of the images."""

    tables: Mapping[str, int]
    landmarks: int
    requested: int
    failed: int

    @property
    def written(self) -> int:
        """Images that are there."""
        return self.requested - self.failed


def import_table(
    paths: Sequence[Path],
    folder: Path,
    *,
    images: Path | None = None,
    columns: Columns = USUAL,
    test_every: int = 5,
    unlabelled: Unlabelled = "non_landmark",
) -> ImportResult:
    """Write a dataset folder of a table.

    Labels that are whole numbers are landmark ids; others are names, which get ids. A name keeps
    its id when the table is imported again with more of them.

    Rows without a label show nothing known: they are the non-landmark pool and, in the test,
    distractors. With unlabelled="test" nobody knows what they show: they are asked about, and the
    solution ignores them. A test in which no row has a label has no solution.

    An image that is not there, or none, is recorded in failures.parquet, and left out of all tables
    but the test: a submission needs an answer to every row of that.

    Args:
        paths: one CSV file, or Parquet files, or folders of these.
        folder: the dataset folder to write.
        images: folder that files are named from; None if the table holds the images' bytes.
        columns: names of columns that are not called as usual.
        test_every: without a column of splits, 5 keeps every fifth row of each label, by id, for
            the test; 0 none.
        unlabelled: what rows without a label are.

    Raises:
        MissingFileError: the table or the folder with images is not there, or no image is.
        InputError: the dataset folder holds tables that this function has not written.
        InputError: test_every is 1 or negative; the table is not understood, see table_sources and
            table_rows; a split and a label contradict each other; or no row is for training.
    """
    check_test_every(test_every)
    if images is not None:
        if not images.is_dir():
            raise MissingFileError(f"no folder of images at {images}")
        if folder.resolve() == images.resolve():
            raise InputError(f"{folder} holds the images themselves; name another folder: --data")
    source = open_source(paths)
    rows = read_rows(source, columns, images)
    splits = _choose_splits(rows, test_every, unlabelled)
    _check_splits(rows, splits)
    numbered = pa.types.is_integer(rows.labels.type)
    claim(folder, {"table": "labelled by numbers" if numbered else "labelled by names"})
    place = open_images(folder, len(rows.ids))
    with renewing(folder, (*TABLES, FAILURES)) as renewal:
        if images is not None:
            failures = link_files(rows, images, place, renewal)
        else:
            failures = write_bytes(rows, source, place, renewal)
        if len(failures) == len(rows.ids):
            raise MissingFileError(
                f"none of the {len(rows.ids)} images of {source.name} is there, the first: "
                f"{failures[0].message}"
            )
        labels, names = _number_labels(rows, folder)
        tables = _make_tables(
            rows, splits, labels, names=names, failures=failures, unlabelled=unlabelled
        )
        for name, table in tables.items():
            write_rows(table, renewal.waiting / name)
        if failures:
            _write_failures(rows.ids, failures, renewal.waiting / FAILURES)
    if failures:
        _warn(rows.ids, failures, folder)
    kept = {name: tables[name] for name in SPLITS}
    counts = {name: table.num_rows for name, table in kept.items() if table is not None}
    return ImportResult(counts, len(pc.unique(labels.drop_null())), len(rows.ids), len(failures))


def _choose_splits(rows: Rows, test_every: int, unlabelled: Unlabelled) -> NDArray[Any]:
    """Return the split [N] of each row: of the table, or train with some held out for the test."""
    if rows.splits is not None:
        return np.asarray(rows.splits.to_numpy(zero_copy_only=False))
    missing = pc.is_null(rows.labels).to_numpy(zero_copy_only=False)
    splits = np.where(missing, unlabelled, "train")
    if test_every:
        splits[_hold_out(rows, test_every)] = "test"
    return splits


def _hold_out(rows: Rows, test_every: int) -> NDArray[np.int64]:
    """Return the rows of every so many-th image of each label, by id; no label is one, too."""
    table = pa.table({"label": rows.labels, "id": rows.ids})
    order = pc.sort_indices(table, sort_keys=[("label", "ascending"), ("id", "ascending")])
    order = order.to_numpy()
    codes = pc.dictionary_encode(rows.labels, null_encoding="encode").indices.to_numpy()[order]
    starts = np.append(True, codes[1:] != codes[:-1])
    places = np.arange(len(codes))
    within = places - np.maximum.accumulate(np.where(starts, places, 0))
    return np.asarray(order[within % test_every == test_every - 1], dtype=np.int64)


def _check_splits(rows: Rows, splits: NDArray[Any]) -> None:
    """Raise InputError if labels and splits contradict each other, or nothing is for training."""
    missing = pc.is_null(rows.labels).to_numpy(zero_copy_only=False)
    labelled = np.isin(splits, LABELLED)
    for wrong, problem in (
        (labelled & missing, "has no label; give it one, or make its split non_landmark or test"),
        ((splits == "non_landmark") & ~missing, "has a label; take it away, or name another split"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            more = f", as have {wrong.sum() - 1} more rows" if wrong.sum() > 1 else ""
            raise InputError(f"'{rows.ids[row]}' of {splits[row]} {problem}{more}")
    if not (splits == "train").any():
        raise InputError(
            "no row is for training: label some, or make the split of some train; a database of "
            "things that are not trained on is the split index"
        )


def _number_labels(rows: Rows, folder: Path) -> tuple[pa.Array, dict[int, str]]:
    """Return landmark ids [N], null without a label, and the names of landmarks."""
    if pa.types.is_integer(rows.labels.type):
        unnamed = pc.unique(rows.labels.drop_null()).to_pylist()
        # All or none: a landmark without a name among named ones is an error of a dataset.
        return rows.labels, {**{i: str(i) for i in unnamed}, **rows.names} if rows.names else {}
    names = sorted(pc.unique(rows.labels.drop_null()).to_pylist())
    ids = assign_ids(names, folder)
    numbers = pa.array([ids[name] for name in names], pa.int64())
    places = pc.index_in(rows.labels, pa.array(names, pa.string()))
    return pc.take(numbers, places), {number: name for name, number in ids.items()}


def _make_tables(
    rows: Rows,
    splits: NDArray[Any],
    labels: pa.Array,
    *,
    names: Mapping[int, str],
    failures: Sequence[Failure],
    unlabelled: Unlabelled,
) -> dict[str, pa.Table | None]:
    """Return the dataset's tables by name; None for one without rows."""
    there = np.ones(len(rows.ids), dtype=bool)
    there[[failure.position for failure in failures]] = False
    whole = pa.table({"id": rows.ids, "landmark_id": labels})
    tables: dict[str, pa.Table | None] = {}
    for name in SPLITS:
        chosen = (splits == name) & (there | (name == "test"))
        table = whole.filter(pa.array(chosen))
        if name == "test":
            tables["solution"] = _make_solution(table, unlabelled)
        tables[name] = table if name in LABELLED else table.select(["id"])
    if not tables["train"]:
        raise MissingFileError(
            f"none of the {(splits == 'train').sum()} images for training is there, the first: "
            f"{failures[0].message}"
        )
    ids = sorted(names)
    tables["labels"] = pa.table(
        {"landmark_id": pa.array(ids, pa.int64()), "name": pa.array([names[i] for i in ids])}
    )
    return {name: table if table else None for name, table in tables.items()}


def _make_solution(test: pa.Table, unlabelled: Unlabelled) -> pa.Table | None:
    """Return the truth of the test; None if nobody has labelled any of it."""
    labels = test["landmark_id"]
    if labels.null_count == len(labels):
        return None
    known = "Public" if unlabelled == "non_landmark" else "Ignored"
    return pa.table(
        {
            "id": test["id"],
            "landmarks": pc.fill_null(pc.cast(labels, pa.string()), ""),
            "Usage": pc.if_else(pc.is_null(labels), known, "Public"),
        }
    )


def _write_failures(ids: pa.Array, failures: Sequence[Failure], path: Path) -> None:
    named = {failure.position: ids[failure.position].as_py() for failure in failures}
    places = [Failure(row, f.reason, f.message) for row, f in enumerate(failures)]
    with writing(path) as temporary:
        write_failures(temporary, list(named.values()), places)


def _warn(ids: pa.Array, failures: Sequence[Failure], folder: Path) -> None:
    logger.warning(
        "%d of %d images are left out; %s says why, the first: %s: %s",
        *(len(failures), len(ids), folder / FAILURES),
        *(ids[failures[0].position], failures[0].message),
    )
