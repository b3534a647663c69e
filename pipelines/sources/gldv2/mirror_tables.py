"""Read the tables of GLDv2 as they are published. Writes nothing.

Only the columns that are used here are kept: the addresses of 4.1 million images alone take half
a gigabyte.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from embed.errors import InputError, MissingFileError

from .catalog import SPLITS, TABLES, Subset, Task, list_tables

_TEXT, _NUMBER = pa.string(), pa.int64()
_HIERARCHY = {
    "landmark_id": _NUMBER,
    "category": _TEXT,
    "supercategory": _TEXT,
    "hierarchical_label": _TEXT,
    "natural_or_human_made": _TEXT,
}
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "train": {"id": _TEXT, "landmark_id": _NUMBER},
    "train_clean": {"landmark_id": _NUMBER, "images": _TEXT},
    "train_categories": {"landmark_id": _NUMBER, "category": _TEXT},
    "train_hierarchy": _HIERARCHY,
    "index": {"id": _TEXT},
    "index_landmarks": {"id": _TEXT, "landmark_id": _NUMBER},
    "index_categories": {"landmark_id": _NUMBER, "category": _TEXT},
    "index_hierarchy": _HIERARCHY,
    "test": {"id": _TEXT},
    "recognition_solution": {"id": _TEXT, "landmarks": _TEXT, "Usage": _TEXT},
    "retrieval_solution": {"id": _TEXT, "images": _TEXT, "Usage": _TEXT},
}
# train_clean has a row for each landmark, with all its images: the longest has 170 kB.
_BLOCK = 1 << 24  # bytes
IGNORED = "Ignored"  # Usage of a query that is not scored
# A folder of tables may look like the server, or have all in one folder, or by split.
_FOLDERS = ("", *SPLITS, "metadata", "ground_truth")


def find_table(mirror: Path, name: str) -> Path | None:
    """Return where a table is: at its path on the server, or by its file name elsewhere."""
    path = Path(TABLES[name])
    places = [mirror / path, *(mirror / folder / path.name for folder in _FOLDERS)]
    return next((place for place in places if place.is_file()), None)


def find_missing_tables(mirror: Path, task: Task, subset: Subset) -> list[str]:
    """Return the paths of tables that a dataset of this task is made of and that are not there."""
    names = list_tables(task, subset)
    return [TABLES[name] for name in names if find_table(mirror, name) is None]


def read_published(mirror: Path, name: str) -> pa.Table | None:
    """Return a table with its COLUMNS, or None if it is not there.

    Raises:
        InputError: it lacks a column, or a landmark_id is no integer.
    """
    path = find_table(mirror, name)
    if path is None:
        return None
    columns = COLUMNS[name]
    convert = pa.csv.ConvertOptions(
        column_types=columns, include_columns=list(columns), strings_can_be_null=False
    )
    try:
        return pa.csv.read_csv(
            path, pa.csv.ReadOptions(block_size=_BLOCK), convert_options=convert
        ).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InputError(
            f"{path} is not GLDv2's table of {','.join(columns)}: {error}; fetch it again"
        ) from error


def require(mirror: Path, name: str) -> pa.Table:
    """Return a table. Raises as read_published, and MissingFileError if it is not there."""
    table = read_published(mirror, name)
    if table is None:
        raise MissingFileError(f"{mirror} has no {TABLES[name]}; fetch it: --fetch")
    return table


def read_train(mirror: Path, subset: Subset) -> pa.Table:
    """Return id, landmark_id of the training images. Raises as require."""
    if subset == "full":
        return require(mirror, "train")
    clean = require(mirror, "train_clean")
    lists = pc.utf8_split_whitespace(clean["images"]).combine_chunks()
    if not len(clean):
        return pa.table({"id": pa.array([], _TEXT), "landmark_id": pa.array([], _NUMBER)})
    rows = pc.list_parent_indices(lists)
    table = pa.table({"id": pc.list_flatten(lists), "landmark_id": clean["landmark_id"].take(rows)})
    return table.filter(pc.not_equal(table["id"], ""))


def read_index(mirror: Path) -> pa.Table:
    """Return id, landmark_id of the index, null where it has none. Raises as require."""
    landmarks = require(mirror, "index_landmarks")
    ids = read_published(mirror, "index")
    if ids is None:
        return landmarks
    rows = pc.index_in(ids["id"], value_set=landmarks["id"])
    return ids.append_column("landmark_id", landmarks["landmark_id"].take(rows))


def read_retrieval(mirror: Path, index: pa.Table) -> pa.Table | None:
    """Return id, landmarks, Usage of the queries, or None. Raises InputError as read_published.

    GLDv2 tells which images of the index are right for a query. A query shows the landmarks of
    these; one without any is ignored, as it is by GLDv2.

    Args:
        mirror: has the table.
        index: id, landmark_id of the index; landmarks as they shall be in the result.
    """
    solution = read_published(mirror, "retrieval_solution")
    if solution is None:
        return None
    images = solution["images"].to_pandas().str.split().explode()
    landmark_of = index.to_pandas().dropna().set_index("id")["landmark_id"].astype("int64")
    landmarks = images.map(landmark_of).dropna().astype("int64")
    shown = landmarks.groupby(level=0).agg(_join).reindex(range(len(solution)))
    usages = solution["Usage"].to_pandas().where(shown.notna(), IGNORED)
    return pa.table(
        {
            "id": solution["id"],
            "landmarks": pa.array(shown.fillna("").to_list(), _TEXT),
            "Usage": pa.array(usages.to_list(), _TEXT),
        }
    )


def _join(landmark_ids: "pd.Series[int]") -> str:
    return " ".join(map(str, sorted(set(landmark_ids))))
