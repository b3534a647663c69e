"""Write a dataset without the images that a check found fault with.

Reads the tables of the dataset. Writes those of another folder, which shares the images, with
groups.parquet, rejected.csv and, last, train. test and solution stay as they are: a submission
needs every one of their ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from embed.errors import InputError
from pipelines.datasets.dataset import LABELLED, Dataset
from pipelines.datasets.derive import read_rows, write_derived
from pipelines.datasets.origin import claim

from .catalogue import CLEANED, DATABASE
from .groups import write_groups
from .problems import KINDS, Findings, Kind, Problems
from .rejection import Reasons, choose_rejected


@dataclass(frozen=True)
class RemainingCounts:
    """What is left of a table."""

    images: int
    of_images: int
    landmarks: int  # 0 of 0 in a table without labels
    of_landmarks: int


def parse_kinds(text: str) -> list[Kind]:
    """Return the kinds of problems that a text names, separated by commas.

    Raises:
        InputError: it names another one.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in KINDS:
            raise InputError(f"--remove: no kind of problem is called '{name}'; {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in names]


def remove_problems(
    dataset: Dataset, found: Findings, problems: Problems, kinds: Sequence[Kind], folder: Path
) -> dict[str, RemainingCounts]:
    """Write a dataset without the images of some kinds of problems; say what is left, by table.

    Args:
        dataset: stays as it is; its images are shared.
        found: what a check found in it.
        problems: the list of that.
        kinds: what is to be removed; `choose_rejected` says which image of several.
        folder: new, or written from the same dataset before.

    Raises:
        InputError: the folder holds another dataset.
        InputError: the folder is the dataset's, or nothing would be left of train or index.
    """
    if folder.resolve() == dataset.folder.resolve():
        raise InputError(f"{folder} would be written over itself; name another folder: --into")
    reasons = choose_rejected(found, problems, kinds)
    stays, listed = pd.isna(reasons), found.catalogue.entries["table"].to_numpy()
    tables: dict[str, pa.Table | None] = {}
    left = {}
    for name in CLEANED:
        path = dataset.find_table(name)
        if path is None:
            continue
        rows = read_rows(path)
        kept = rows.filter(pa.array(stays[listed == name]))  # entries are in the order of rows
        left[name] = RemainingCounts(
            *(kept.num_rows, rows.num_rows), *(_count_landmarks(part) for part in (kept, rows))
        )
        if not kept.num_rows and name in DATABASE:
            raise InputError(
                f"none of the {rows.num_rows} images of {path} would be left without "
                f"{', '.join(kinds)}; remove fewer kinds: --remove"
            )
        if kept.num_rows < rows.num_rows:  # the others are copied
            tables[name] = kept if kept.num_rows else None
    origin = {"checked from": str(dataset.folder.resolve())}
    claim(folder, origin)
    tables["rejected"] = _list_rejected(found, reasons)
    write_derived(dataset, folder, tables, origin)
    write_groups(found.catalogue.ids, found.groups, folder)
    return left


def _count_landmarks(rows: pa.Table) -> int:
    return len(pc.unique(rows["landmark_id"])) if "landmark_id" in rows.column_names else 0


def _list_rejected(found: Findings, reasons: Reasons) -> pa.Table:
    """Return id, landmark_id (null for one of the pool) and reason of all that goes."""
    gone = found.catalogue.entries[~pd.isna(reasons)]
    labelled = gone["table"].isin(LABELLED)
    frame = pd.DataFrame(
        {
            "id": found.catalogue.ids[gone["row"]],
            "landmark_id": gone["landmark_id"].where(labelled).astype("Int64"),
            "reason": reasons[~pd.isna(reasons)],
        }
    ).drop_duplicates()
    kinds = {"id": pa.string(), "landmark_id": pa.int64(), "reason": pa.string()}
    return pa.Table.from_pandas(frame, pa.schema(kinds), preserve_index=False)
