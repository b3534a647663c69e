"""Read tables of addresses: id,url and, of training images, landmark_id.

Reads CSV as Kaggle gives it out, or Parquet. What cannot be an image of a dataset is an error
before anything is asked for; what cannot be fetched gets a reason, and goes to the failures.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embed.errors import InputError
from embed.printable import printable
from embed.table_file import as_text, parse_whole, read_table
from pipelines.datasets.naming import MAX_ID

MAX_URL = 8000  # bytes; more is no URL of a photo but a broken table
_NOTHING = ("", "None", "none", "null", "NULL")  # Kaggle's tables of 2018 write None
_URL = r"^[hH][tT][tT][pP][sS]?://(?P<host>[^/?#\\\s]+)"

# Why a row cannot be asked for.
REFUSALS = {
    "no_landmark": "landmark_id is no integer of 0 or more",
    "no_url": "the table has no URL",
    "bad_url": f"no http:// or https:// URL with a host and at most {MAX_URL} bytes",
}

Tables = dict[str, pa.Table]  # by split; columns id, url, landmark_id (int64), refusal


def read_tables(paths: dict[str, Path], labelled: frozenset[str]) -> Tables:
    """Read the table of each split.

    Args:
        paths: the file of each split.
        labelled: the splits whose images have a landmark_id.

    Returns:
        Of each split all rows in their order: id, url, landmark_id (null without one), and
        refusal: why the image cannot be asked for, null where it can.

    Raises:
        MissingFileError: a file is not there.
        InputError: a file is not what its suffix says, has no rows or lacks columns; ids are
            repeated, empty or no file names; or an image is asked about that is also known.
    """
    tables = {}
    for split, path in paths.items():
        columns = ["id", "url", *(["landmark_id"] if split in labelled else [])]
        table = _read(path, columns)
        _check_ids(table["id"], path)
        tables[split] = _judge(table)
    _check_test(tables, paths)
    return tables


def find_hosts(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the host, and port where one is named, of each URL, null where there is none."""
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, _URL), "host"))


def _read(path: Path, columns: list[str]) -> pa.Table:
    """Return the columns as text, without nulls."""
    table = read_table(path, columns)
    if not table.num_rows:
        raise InputError(f"{path} has no rows; it needs some below the header {','.join(columns)}")
    texts = [as_text(table[name], name, path, exact=name == "url") for name in columns]
    return pa.table(texts, names=columns)


def _check_ids(ids: pa.ChunkedArray, path: Path) -> None:
    """Raise InputError unless all can be the names of files, each another one."""
    unusable = pc.or_(
        pc.match_substring_regex(ids, r"^$|^\.|[/\\\x00\n\r]"),
        pc.greater(pc.binary_length(ids), MAX_ID),
    )
    bad = ids.filter(unusable)
    if len(bad):
        raise InputError(
            f"{path}: {len(bad)} ids cannot be file names, the first is "
            f"'{printable(bad[0].as_py())}'; use ids of 1 to {MAX_ID} bytes without slashes, line "
            "breaks or a leading dot"
        )
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        raise InputError(
            f"{path} has {len(repeated)} repeated ids, the first is "
            f"'{printable(repeated[0].as_py())}'; keep one row for each image"
        )


def _judge(table: pa.Table) -> pa.Table:
    """Turn labels into numbers, and give a reason to each row that cannot be asked for."""
    urls = pc.utf8_trim_whitespace(table["url"])
    bad_url = pc.or_(pc.is_null(find_hosts(urls)), pc.greater(pc.binary_length(urls), MAX_URL))
    refusal = pc.if_else(bad_url, "bad_url", None)
    refusal = pc.if_else(pc.is_in(urls, pa.array(_NOTHING)), "no_url", refusal)
    labels = pa.chunked_array([pa.nulls(table.num_rows, pa.int64())])
    if "landmark_id" in table.column_names:
        values, valid = parse_whole(table["landmark_id"])
        numbers = pa.array(valid & (values >= 0))
        labels = pa.chunked_array([pc.if_else(numbers, pa.array(values), None)])
        refusal = pc.if_else(numbers, refusal, "no_landmark")
    return pa.table({"id": table["id"], "url": urls, "landmark_id": labels, "refusal": refusal})


def _check_test(tables: Tables, paths: dict[str, Path]) -> None:
    """Raise InputError if an image is both a query and known."""
    for split, table in tables.items():
        if split != "test" and "test" in tables:
            both = table["id"].filter(pc.is_in(table["id"], tables["test"]["id"]))
            if len(both):
                raise InputError(
                    f"{len(both)} images of {paths['test']} are in {paths[split]}, too, the first "
                    f"is '{printable(both[0].as_py())}'; an image is either a query or known: "
                    "keep one"
                )
