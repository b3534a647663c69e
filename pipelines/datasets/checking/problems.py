"""Turn what a check found into a table of problems: which image, what is wrong, and its duplicate.

Writes problems.csv. Opens no image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from embed.files import writing
from pipelines.datasets.dataset_problems import APART

from .catalogue import DATABASE, NO_LABEL, QUERIES, Catalogue
from .duplicates import Duplicates, find_blank
from .groups import NO_GROUP

Kind = Literal[
    "missing",
    "corrupt",
    "tiny",
    "blank",
    "exact_duplicate",
    "near_duplicate",
    "across_split",
    "mixed_labels",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANINGS: dict[Kind, str] = {
    "missing": "no file",
    "corrupt": "the file cannot be decoded",
    "tiny": "the shorter side is too short",
    "blank": "all of one colour, or nearly",
    "exact_duplicate": "the same file as another image",
    "near_duplicate": "the same photo as another image, or nearly so",
    "across_split": "an image in two tables that may not share it, such as test and train",
    "mixed_labels": "images that are the same have different landmarks",
}
COLUMNS = ("kind", "id", "table", "other_id", "other_table", "detail")
# Of 15 x 10 pixels a network sees nothing; 32 are one cell of what its last layer sees.
MIN_SIDE = 32
NAMED_LABELS = 3  # landmarks that are named of a group; a placeholder may have thousands

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Problems:
    """Q problems, by kind; of one kind, sorted by id."""

    kind: NDArray[np.object_]  # [Q] of Kind
    row: Rows  # [Q] of the catalogue
    other: Rows  # [Q] of the catalogue, the image it is a problem with; -1: it is one by itself
    detail: NDArray[np.object_]  # [Q] of str

    def of(self, kind: Kind) -> NDArray[np.intp]:
        """Return where the problems of a kind are."""
        return np.flatnonzero(self.kind == kind)


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a check found out."""

    catalogue: Catalogue
    duplicates: Duplicates
    groups: Rows  # [N], -1 for an image without a duplicate
    min_side: int = MIN_SIDE  # pixels


def list_problems(findings: Findings) -> Problems:
    """Return all problems of a dataset.

    A duplicate is listed once, with the image that would be kept, or the most similar one of those
    that might be. A photo of test or validation is listed with one of the database.
    """
    finders: dict[Kind, Callable[[Findings], tuple[Rows, Rows, list[str]]]] = {
        "missing": lambda found: _find_unreadable(found, missing=True),
        "corrupt": lambda found: _find_unreadable(found, missing=False),
        "tiny": _find_tiny,
        "blank": _find_blank,
        "exact_duplicate": lambda found: _find_duplicates(found, exact=True),
        "near_duplicate": lambda found: _find_duplicates(found, exact=False),
        "across_split": _find_across_split,
        "mixed_labels": _find_mixed_labels,
    }
    parts = []
    for kind in KINDS:
        row, other, detail = finders[kind](findings)
        order = np.argsort(findings.catalogue.ids[row], kind="stable")
        details = np.array(detail, dtype=object)
        parts.append(
            (np.full(len(row), kind, dtype=object), row[order], other[order], details[order])
        )
    return Problems(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def write_problems(problems: Problems, catalogue: Catalogue, path: Path) -> None:
    """Write COLUMNS as CSV: table is train+index for an image of both, other_id may be empty."""
    ids, known = catalogue.ids, problems.other >= 0
    others = np.flatnonzero(known)
    columns = {name: np.full(len(known), "", dtype=object) for name in COLUMNS}
    columns["kind"], columns["detail"] = problems.kind, problems.detail
    columns["id"] = ids[problems.row]
    columns["table"][:] = catalogue.name_tables(problems.row)
    columns["other_id"][others] = ids[problems.other[others]]
    columns["other_table"][others] = catalogue.name_tables(problems.other[others])
    with writing(path) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def _find_unreadable(found: Findings, *, missing: bool) -> tuple[Rows, Rows, list[str]]:
    scan = found.catalogue.scan
    reasons = np.asarray(scan["reason"].to_pylist(), dtype=object)
    rows = np.flatnonzero(~found.catalogue.readable & ((reasons == "missing") == missing))
    columns = ("file",) if missing else ("reason", "found")
    texts = (scan[name].take(rows).to_pylist() for name in columns)
    return rows, _none(rows), [": ".join(text) for text in zip(*texts, strict=True)]


def _find_tiny(found: Findings) -> tuple[Rows, Rows, list[str]]:
    sizes = [np.asarray(found.catalogue.scan[name].fill_null(0)) for name in ("width", "height")]
    rows = np.flatnonzero(found.catalogue.readable & (np.minimum(*sizes) < found.min_side))
    return rows, _none(rows), [f"{sizes[0][row]} x {sizes[1][row]} pixels" for row in rows]


def _find_blank(found: Findings) -> tuple[Rows, Rows, list[str]]:
    rows = np.flatnonzero(find_blank(found.catalogue))
    contrasts = np.asarray(found.catalogue.scan["contrast"].take(rows))
    return rows, _none(rows), [f"contrast {contrast:.1f} of 127" for contrast in contrasts]


def _none(rows: Rows) -> Rows:
    return np.full(len(rows), -1, dtype=np.int64)


def _find_duplicates(found: Findings, *, exact: bool) -> tuple[Rows, Rows, list[str]]:
    """Return each image with the most similar one of its duplicates that come before it."""
    duplicates = found.duplicates
    pairs = np.flatnonzero(duplicates.exact == exact)
    first, later, similarities = duplicates.first, duplicates.later, duplicates.similarity
    pairs = pairs[np.lexsort((first[pairs], -similarities[pairs], later[pairs]))]
    pairs = pairs[np.diff(later[pairs], prepend=-1) != 0]
    rows, others = later[pairs], first[pairs]
    if exact:
        return rows, others, ["the same bytes"] * len(pairs)
    details = [
        f"similarity {similarity:.3f}, hashes differ in {distance} of 64 bits"
        for similarity, distance in zip(
            similarities[pairs], duplicates.distance[pairs], strict=True
        )
    ]
    return rows, others, details


def _find_across_split(found: Findings) -> tuple[Rows, Rows, list[str]]:
    """Return each query with the first of its group in the database.

    And, with itself, each that is in two tables that may not share any.
    """
    catalogue, groups = found.catalogue, found.groups
    grouped, queries = groups != NO_GROUP, catalogue.in_tables(QUERIES)
    database = np.flatnonzero(catalogue.in_tables(DATABASE) & grouped & ~queries)
    numbers, first = np.unique(groups[database], return_index=True)
    rows = np.flatnonzero(queries & np.isin(groups, numbers))
    others = database[first[np.searchsorted(numbers, groups[rows])]]
    details = [f"group {groups[row]}" for row in rows]
    for name, other in APART:
        both = np.flatnonzero(catalogue.in_tables([name]) & catalogue.in_tables([other]))
        rows, others = np.append(rows, both), np.append(others, both)
        details += [f"the same id in {name} and {other}"] * len(both)
    return rows, others, details


def _find_mixed_labels(found: Findings) -> tuple[Rows, Rows, list[str]]:
    """Return each image of groups of several landmarks with the first that has another one."""
    labels = list_labels(found)
    mixed = labels[labels.groupby("group")["landmark_id"].transform("nunique") > 1]
    leading = mixed.drop_duplicates("group").set_index("group")  # the first of each group
    its_label, its_row = (mixed["group"].map(leading[name]) for name in ("landmark_id", "row"))
    differs = mixed["landmark_id"] != its_label
    differing = mixed[differs].drop_duplicates("group").set_index("group")["row"]
    others = its_row.where(differs, mixed["group"].map(differing))
    return mixed["row"].to_numpy(), others.to_numpy(dtype=np.int64), describe_labels(mixed, labels)


def describe_labels(images: pd.DataFrame, labels: pd.DataFrame) -> list[str]:
    """Say of some images which landmark they have, and which their group has.

    Args:
        images: some rows of labels.
        labels: what list_labels returned.
    """
    concerned = labels[labels["group"].isin(images["group"])]
    counts = concerned.groupby(["group", "landmark_id"]).size().reset_index(name="images")
    counts = counts.sort_values(["group", "images", "landmark_id"], ascending=[True, False, True])
    shares: dict[int, list[str]] = {}
    for group, label, count in counts.itertuples(index=False):
        shares.setdefault(group, []).append(f"{name_label(label)} ({count})")
    return [
        f"{name_label(label)}; its group: {_shorten(shares[group])}"
        for group, label in zip(images["group"], images["landmark_id"], strict=True)
    ]


def _shorten(texts: list[str]) -> str:
    more = len(texts) - NAMED_LABELS
    return ", ".join(texts[:NAMED_LABELS]) + (f" and {more} more landmarks" if more > 0 else "")


def list_labels(found: Findings) -> pd.DataFrame:
    """Return row, landmark_id and group of all images that a table gives a landmark, or none.

    Rows are sorted and distinct. The pool without landmarks gives -1. An image without a
    duplicate is a group of its own, -2 and below: two tables may give it different landmarks.
    """
    entries = found.catalogue.entries
    labels = entries[~entries["table"].eq("test")][["row", "landmark_id"]].drop_duplicates()
    labels = labels.sort_values(["row", "landmark_id"])
    groups = found.groups[labels["row"]]
    alone = -2 - labels["row"].to_numpy()
    return labels.assign(group=np.where(groups == NO_GROUP, alone, groups))


def name_label(label: object) -> str:
    """Return how a landmark id is called in the table of problems."""
    return "no landmark" if label == NO_LABEL else f"landmark {label}"
