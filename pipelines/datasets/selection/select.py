"""Write a dataset of some of another's images, divided into training, validation and test.

Reads the tables of a dataset folder and its groups.parquet. Writes those of another folder,
groups.parquet, too, and, last, selection.json: what was asked for, and what came out.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.errors import InputError
from pipelines.datasets.checking.scan_parts import load_scanned_ids
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import read_rows, write_derived

from .filters import FilterStep, filter_images, find_classes
from .quotas import PARTS, TEST, TRAIN, VALIDATION, compute_quotas
from .settings import Filters, Split, Unknown
from .split import count_mixed, split_images
from .tables import (
    drop_images,
    drop_landmarks,
    find_unknown,
    load_groups,
    make_solution,
    number_groups,
    read_images,
)

logger = logging.getLogger(__name__)

Tables = dict[str, pa.Table | None]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PartCounts:
    """One of the PARTS."""

    images: int
    landmarks: int
    quota: int  # images; fewer come out where groups of near-duplicates did not fit


@dataclass(frozen=True)
class Selection:
    """What came out."""

    steps: tuple[FilterStep, ...]  # what each filter left; the first is all there was
    parts: dict[str, PartCounts]  # those that were asked for
    notes: tuple[str, ...]  # what else happened to rows


def select_dataset(
    source: Dataset,
    folder: Path,
    filters: Filters,
    split: Split,
    *,
    seed: int = 0,
    replace: bool = False,
    unknown: Unknown = "keep",
) -> Selection:
    """Write a dataset folder of the training images that pass the filters, divided into parts.

    The folder shares the images of the source. A validation or test set that is not made here is
    the source's; its index keeps the landmarks that training keeps, and loses what is held out
    and the near-duplicates of it.

    Args:
        source: the dataset, which stays as it is.
        folder: the dataset folder to write: new, or one selected from the same dataset before.
        filters: which classes, and how many images of each.
        split: how many of these are held out.
        seed: decides which.
        replace: give up the source's validation or test set where the split makes one.
        unknown: what becomes of the source's queries that show only landmarks which are not in
            the database.

    Raises:
        InputError: the folder holds another dataset; or the split makes a set that the source
            has, and replace is not given.
        InputError: a table is not what it should be, a filter leaves nothing, or a part that was
            asked for gets no image.
    """
    _check_sets(source, split, replace)
    rows = read_images(source.require_table("train"))
    all_landmarks = rows["landmark_id"].to_numpy()
    mask, steps = filter_images(rows["id"], all_landmarks, filters, seed)
    rows = rows.filter(pa.array(mask))
    landmark_ids = rows["landmark_id"].to_numpy()
    groups, notes = load_groups(source.folder), list[str]()
    numbers = None if groups is None else number_groups(rows["id"], groups)
    parts = split_images(rows["id"], landmark_ids, numbers, split, seed)
    counts = _count_parts(landmark_ids, parts, split)
    checked = (source.folder / "groups.parquet").is_file()
    notes += _explain_groups(landmark_ids, numbers, split, checked)
    if groups is not None and split.method != "none":
        notes += _find_beyond(source, rows["id"], groups, split)
    tables = _divide(rows, parts, split)
    notes += _filter_others(source, tables, np.setdiff1d(all_landmarks, landmark_ids), groups)
    if not split.makes_test:
        notes += _treat_queries(source, tables, unknown)
    selection = Selection(steps, counts, tuple(notes))
    _write(source, folder, tables, _describe(selection, filters, split, seed))
    return selection


def _check_sets(source: Dataset, split: Split, replace: bool) -> None:
    made = ["validation"] * split.makes_validation + ["test", "solution"] * split.makes_test
    there = [path.name for name in made if (path := source.find_table(name))]
    if there and not replace:
        raise InputError(
            f"{source.folder} has {' and '.join(there)}, and the split {split.method} makes "
            "another; choose a split that doesn't, or give up the images there: --replace"
        )


def _count_parts(
    landmark_ids: Ints, parts: NDArray[np.int8], split: Split
) -> dict[str, PartCounts]:
    """Count images and landmarks of each part. Raises InputError if one with a quota is empty."""
    class_counts = find_classes(landmark_ids).counts
    quotas = compute_quotas(class_counts, split).sum(axis=0)
    counts = {}
    wanted = {TRAIN: True, VALIDATION: split.makes_validation, TEST: split.makes_test}
    for part in (part for part, is_wanted in wanted.items() if is_wanted):
        shown = landmark_ids[parts == part]
        if not len(shown):
            raise InputError(
                f"no image is left for {PARTS[part]}: {quotas[part]} were asked for, of classes of "
                f"{class_counts.min()} to {class_counts.max()} images, with the split "
                f"{split.method}; ask for more of it, keep larger classes (--min-count), or draw "
                "from all classes together (--split random)"
            )
        counts[PARTS[part]] = PartCounts(len(shown), len(np.unique(shown)), int(quotas[part]))
    return counts


def _explain_groups(
    landmark_ids: Ints, groups: Ints | None, split: Split, checked: bool
) -> list[str]:
    if split.method == "none":
        return []
    notes = []
    if not checked:
        notes.append(
            "near-duplicates were not looked for, so they may be on both sides of the split; "
            "`cairn data check` finds them"
        )
    if groups is not None and split.method != "random":
        mixed = count_mixed(landmark_ids, groups)
        if mixed:
            notes.append(f"{mixed} groups of near-duplicates with several labels: in train")
    return notes


def _find_beyond(
    source: Dataset, ids: pa.ChunkedArray, groups: pa.Table, split: Split
) -> list[str]:
    """Say what the groups do not keep apart: kept sets, and images that were not checked."""
    notes = []
    made = {"validation": split.makes_validation, "test": split.makes_test}
    for name in (name for name, is_made in made.items() if not is_made):
        if (path := source.find_table(name)) is None:
            continue
        kept = read_rows(path)["id"]
        near = len(ids) - len(drop_images(pa.table({"id": ids}), kept, groups))
        if near:
            notes.append(
                f"{near} images are near-duplicates of some in {path.name}, which is kept; "
                "`cairn data check --remove across_split` leaves them out"
            )
    checked = load_scanned_ids(source.folder)
    if checked is not None:
        fresh = pc.sum(pc.invert(pc.is_in(ids, value_set=checked))).as_py()
        if fresh:
            notes.append(
                f"{fresh} images were not there when near-duplicates were looked for; "
                "`cairn data check` looks again"
            )
    return notes


def _divide(rows: pa.Table, parts: NDArray[np.int8], split: Split) -> Tables:
    """Return the tables of the parts that the split makes."""
    tables: Tables = {"train": rows.filter(pa.array(parts == TRAIN))}
    if split.makes_validation:
        tables["validation"] = rows.filter(pa.array(parts == VALIDATION))
    if split.makes_test:
        test = rows.filter(pa.array(parts == TEST))
        tables |= {"test": test.drop_columns(["landmark_id"]), "solution": make_solution(test)}
    return tables


def _filter_others(
    source: Dataset, tables: Tables, dropped: Ints, groups: pa.Table | None
) -> list[str]:
    """Add the source's own validation and index to the tables; say what became of them.

    They lose the landmarks that a filter dropped, and keep those that training never had.
    """
    notes = []
    held_out = [table["id"] for name in ("validation", "test") if (table := tables.get(name))]
    for name in ("validation", "index"):
        path = source.find_table(name)
        if path is None or name in tables:
            continue
        rows = read_images(path)
        left = drop_landmarks(rows, dropped)
        if name == "index" and held_out:
            left = drop_images(left, _chain(held_out), groups)
        tables[name] = left if left.num_rows else None
        if left.num_rows < rows.num_rows:
            gone = "" if left.num_rows else ", so the table is gone"
            notes.append(f"{left.num_rows} of {rows.num_rows} images of {path.name} kept{gone}")
    return notes


def _chain(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())


def _treat_queries(source: Dataset, tables: Tables, unknown: Unknown) -> list[str]:
    """Do what is wanted with the source's queries whose landmarks the database lost."""
    paths = {name: source.find_table(name) for name in ("solution", "test")}
    if paths["solution"] is None:
        return []
    solution = read_rows(paths["solution"])
    database = tables.get("index") or tables["train"]
    assert database is not None
    lost = find_unknown(solution, np.unique(database["landmark_id"].to_numpy()))
    if not lost.any():
        return []
    count = f"{lost.sum()} of {len(lost)} queries show only landmarks that are not in the database"
    if unknown == "keep":
        return [f"{count}: kept, and nothing can answer them (--unknown blank or drop)"]
    if unknown == "blank":
        column = pc.if_else(pa.array(lost), "", solution["landmarks"])
        place = solution.column_names.index("landmarks")
        tables["solution"] = solution.set_column(place, "landmarks", column)
        return [f"{count}: distractors from now on"]
    left = {"solution": solution.filter(pa.array(~lost))}
    if paths["test"] is not None:
        gone = solution["id"].filter(pa.array(lost))
        left["test"] = drop_images(read_rows(paths["test"]), gone, None)
    tables |= {name: rows if rows.num_rows else None for name, rows in left.items()}
    return [f"{count}: dropped"]


def _describe(selection: Selection, filters: Filters, split: Split, seed: int) -> dict[str, object]:
    """Return what selection.json says."""
    requested = asdict(split) | {
        "sizes": dict(_name_sizes(split)) if split.method == "by-size" else {}
    }
    return {"filters": asdict(filters), "split": requested, "seed": seed, **asdict(selection)}


def _name_sizes(split: Split) -> list[tuple[str, float]]:
    # JSON has no infinity.
    return [(f"{b:g}" if np.isfinite(b) else "rest", share) for b, share in split.sizes]


def _write(source: Dataset, folder: Path, tables: Tables, record: dict[str, object]) -> None:
    origin = {"selected from": str(source.folder.resolve())}
    write_derived(source, folder, tables, origin, record={"selection.json": record})
