"""Read what a selection needs of a dataset's tables, as Arrow: no row becomes a Python object.

Reads train and the tables beside it, variants, and groups.parquet: id, group, a row for each image
that has near-duplicates.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embed.errors import InputError
from pipelines.datasets.derive import read_rows
from pipelines.datasets.renewal import SUFFIXES

from .order import order_keys

Ints = NDArray[np.int64]


def read_images(path: Path) -> pa.Table:
    """Read all columns of a table of labelled images.

    Raises:
        InputError: it cannot be read, lacks a column, has no rows, a row without id or
            landmark_id, a negative landmark_id, or an id twice.
    """
    rows = read_rows(path)
    for name in ("id", "landmark_id"):
        if name not in rows.column_names:
            raise InputError(
                f"{path} has no column {name}, only {', '.join(rows.column_names)}; a table of "
                "labelled images needs id and landmark_id"
            )
        if rows[name].null_count:
            place = pc.index(pc.is_null(rows[name]), value=True).as_py()
            raise InputError(f"{path}: row {place + 1} has no {name}; give it one")
    if not rows.num_rows:
        raise InputError(f"{path} has a header and no rows; add some")
    if (least := pc.min(rows["landmark_id"]).as_py()) < 0:
        raise InputError(f"{path} has landmark_id {least}; they are integers of 0 or more")
    repeated = find_repeated(rows["id"])
    if len(repeated):
        raise InputError(
            f"{path} has {len(repeated)} ids more than once, the first is '{repeated[0]}'; keep "
            "one row for each image"
        )
    return rows


def find_repeated(ids: pa.ChunkedArray) -> pa.Array:
    """Return the ids that are there more than once, in order."""
    # Hashes are compared in half the time that texts take, and in a fifth of the memory.
    alike = pd.Series(order_keys(ids, seed=0)).duplicated(keep=False)
    counts = pc.value_counts(ids.filter(pa.array(alike.to_numpy())))
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def load_groups(folder: Path) -> pa.Table | None:
    """Read which images of a dataset are never to be divided, or None if nobody has looked.

    These are near-duplicates, and the variants of a photo that `balance` has written as files.

    Returns:
        Columns id, group: a row for each image in a group.

    Raises:
        InputError: groups.parquet is no such table, or an image is in two groups.
    """
    groups = _load_near(folder)
    found = [path for suffix in SUFFIXES if (path := folder / f"variants{suffix}").is_file()]
    if not found:
        return groups
    links = [read_rows(found[0]).select(["id", "image_id"])]
    if groups is not None:
        # Linked to a name that no id has: ids are without slashes.
        names = pc.binary_join_element_wise("group/", pc.cast(groups["group"], pa.string()), "")
        links.append(pa.table({"id": groups["id"], "image_id": names}))
    return _join_linked(*pa.concat_tables(links).columns)


def _join_linked(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.Table:
    """Return a group for each of what is linked [L] to [L], directly or by something else."""
    nodes = pa.chunked_array([*ids.chunks, *others.chunks]).unique()
    ends = [np.asarray(pc.index_in(column, value_set=nodes)) for column in (ids, others)]
    ones = np.ones(len(ids), dtype=bool)
    graph = coo_array((ones, ends), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(graph, directed=False)
    return pa.table({"id": nodes, "group": pa.array(labels, pa.int64())})


def _load_near(folder: Path) -> pa.Table | None:
    path = folder / "groups.parquet"
    if not path.is_file():
        return None
    try:
        groups = pq.read_table(path, columns=["id", "group"])
    except (pa.ArrowInvalid, KeyError) as error:
        raise InputError(f"{path} is not a Parquet file of id and group: {error}") from error
    groups = groups.set_column(0, "id", groups["id"].cast(pa.string()))
    repeated, without = find_repeated(groups["id"]), groups["group"].null_count
    if len(repeated) or without:
        raise InputError(
            f"{path}: {len(repeated)} images are in several groups, {without} rows have none; each "
            "row puts one image into one group"
        )
    return groups


def number_groups(ids: pa.ChunkedArray, groups: pa.Table) -> Ints:
    """Return a number for the group of each image [N]; -1 for one in none."""
    numbers = groups["group"].combine_chunks().dictionary_encode().indices.cast(pa.int64())
    found = pc.index_in(ids, value_set=groups["id"].combine_chunks())
    return np.asarray(pc.fill_null(numbers.take(found.combine_chunks()), -1))


def drop_images(rows: pa.Table, ids: pa.ChunkedArray, groups: pa.Table | None) -> pa.Table:
    """Return the rows of a table that are neither these images nor near-duplicates of them."""
    rows = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=ids.combine_chunks())))
    if groups is None:
        return rows
    found = groups.filter(pc.is_in(groups["id"], value_set=ids.combine_chunks()))
    near = groups.filter(pc.is_in(groups["group"], value_set=found["group"].combine_chunks()))
    return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=near["id"].combine_chunks())))


def drop_landmarks(rows: pa.Table, landmark_ids: Ints) -> pa.Table:
    """Return the rows of a table that show none of the landmarks."""
    shown = pc.is_in(rows["landmark_id"], value_set=pa.array(landmark_ids))
    return rows.filter(pc.invert(shown))


def make_solution(test: pa.Table) -> pa.Table:
    """Return the solution to test images whose landmark_id is known: id, landmarks, Usage."""
    usage = pa.repeat(pa.scalar("Public"), test.num_rows)
    columns = [test["id"], test["landmark_id"].cast(pa.string()), usage]
    return pa.table(columns, names=["id", "landmarks", "Usage"])


def find_unknown(solution: pa.Table, landmark_ids: Ints) -> NDArray[np.bool_]:
    """Return which scored queries [Q] of a solution show landmarks, but none of these.

    Raises:
        InputError: the solution has no column landmarks.
    """
    if "landmarks" not in solution.column_names:
        raise InputError(
            f"the solution has no column landmarks, only {', '.join(solution.column_names)}"
        )
    named = pc.utf8_split_whitespace(solution["landmarks"]).combine_chunks()
    queries, texts = pc.list_parent_indices(named), pc.list_flatten(named)
    known = pc.is_in(texts, value_set=pa.array(landmark_ids).cast(pa.string()))
    there = pc.not_equal(texts, "")  # how an empty cell is split
    total = solution.num_rows
    any_named = np.bincount(np.asarray(queries.filter(there)), minlength=total) > 0
    any_known = np.bincount(np.asarray(queries.filter(known)), minlength=total) > 0
    unknown = any_named & ~any_known
    if "Usage" in solution.column_names:
        unknown &= np.asarray(pc.not_equal(solution["Usage"], "Ignored").fill_null(True))
    return np.asarray(unknown)
