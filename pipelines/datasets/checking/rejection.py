"""Decide which lines of a dataset's tables go, by the kinds of problems that are to be removed.

No line of test ever goes. Reads and writes no files.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.datasets.dataset_problems import APART

from .catalogue import CLEANED, DATABASE, QUERIES
from .deduplication import reject_duplicates
from .groups import NO_GROUP
from .problems import KINDS, Findings, Kind, Problems, describe_labels, list_labels

Reasons = NDArray[np.object_]  # [E] of str, a reason for each entry of a catalogue that goes; None


def choose_rejected(found: Findings, problems: Problems, kinds: Sequence[Kind]) -> Reasons:
    """Return why each entry of the catalogue goes, or None where it stays.

    missing, corrupt, tiny, blank: the image goes.
    mixed_labels: of a group, the images stay that have the landmark of more than half of them;
        without such a landmark all go.
    across_split: images of the database go that are in a group with one of test or validation; of
        an id in two tables that may not share it the row of what is known goes, not the query, and
        the row of non_landmark goes rather than that of a landmark.
    exact_duplicate, near_duplicate: see reject_duplicates.
    """
    reasons = np.full(len(found.catalogue.entries), None, dtype=object)
    for kind in KINDS:
        if kind not in kinds or kind in ("exact_duplicate", "near_duplicate"):
            continue
        elif kind == "mixed_labels":
            more = _reject_mixed_labels(found)
        elif kind == "across_split":
            more = _reject_across_split(found)
        else:
            more = _reject_images(found, problems, kind)
        reasons = np.where(pd.isna(reasons), more, reasons)
    # Last: an image that goes for another reason is not the one to be kept.
    if {"exact_duplicate", "near_duplicate"} & set(kinds):
        more = reject_duplicates(found, pd.isna(reasons), near="near_duplicate" in kinds)
        reasons = np.where(pd.isna(reasons), more, reasons)
    return reasons


def _reject_images(found: Findings, problems: Problems, kind: Kind) -> Reasons:
    """Reject images that are a problem by themselves."""
    places = problems.of(kind)
    details = pd.Series(problems.detail[places], problems.row[places], dtype=object)
    return _explain(found, CLEANED, f"{kind}: " + details)


def _reject_mixed_labels(found: Findings) -> Reasons:
    """Reject the images of a group that have not the landmark of more than half of it."""
    labels = list_labels(found)
    counts = labels.groupby(["group", "landmark_id"])["row"].transform("size")
    wrong = labels[2 * counts <= labels.groupby("group")["row"].transform("size")]
    keys = ["row", "landmark_id"]  # an image may have two landmarks in two tables
    texts = pd.Series(describe_labels(wrong, labels), dtype=object)
    reasons = ("mixed_labels: " + texts).set_axis(pd.MultiIndex.from_frame(wrong[keys]))
    reasons = reasons.reindex(pd.MultiIndex.from_frame(found.catalogue.entries[keys]))
    return _keep_in(found, CLEANED, reasons)


def _reject_across_split(found: Findings) -> Reasons:
    """Reject images of the database in a group with a query."""
    queries = found.catalogue.in_tables(QUERIES)
    grouped = found.groups != NO_GROUP
    numbers, first = np.unique(found.groups[queries & grouped], return_index=True)
    names = found.catalogue.ids[np.flatnonzero(queries & grouped)[first]]
    rows = np.flatnonzero(~queries & np.isin(found.groups, numbers))
    duplicates = names[np.searchsorted(numbers, found.groups[rows])]
    texts = "across_split: with " + pd.Series(duplicates, rows, dtype=object)
    shared = _reject_shared(found)
    return np.where(pd.isna(shared), _explain(found, DATABASE, texts), shared)


def _reject_shared(found: Findings) -> Reasons:
    """Reject one of the two rows of an image that two tables list and may not share."""
    entries = found.catalogue.entries
    reasons = np.full(len(entries), None, dtype=object)
    for name, other in APART:
        stays, goes = (name, other) if name in QUERIES else (other, name)
        both = found.catalogue.in_tables([stays]) & found.catalogue.in_tables([goes])
        here = (entries["table"] == goes).to_numpy() & both[entries["row"]] & pd.isna(reasons)
        reasons[here] = f"across_split: in {stays}, too"
    return reasons


def _explain(found: Findings, tables: Sequence[str], texts: "pd.Series[str]") -> Reasons:
    """Return a text for each entry of some tables whose row is in the index of texts."""
    return _keep_in(found, tables, texts.reindex(found.catalogue.entries["row"]))


def _keep_in(found: Findings, tables: Sequence[str], texts: "pd.Series[str]") -> Reasons:
    """Return the texts [E] where they are of entries of some tables."""
    here = found.catalogue.entries["table"].isin(tables).to_numpy() & texts.notna().to_numpy()
    reasons = np.full(len(here), None, dtype=object)
    reasons[here] = texts[here]
    return reasons
