"""Read tables of addresses: id,url and, of training images, landmark_id.

Reads CSV as Kaggle gives it out, or Parquet. What cannot be an image of a dataset is an error
before anything is asked for; what cannot be fetched gets a reason, and goes to the failures.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ..naming import MAX_ID

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
        FileNotFoundError: a file is not there.
        ValueError: a file is not what its suffix says, has no rows or lacks columns; ids are
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
    """Return the columns as text."""
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}")
    header = ",".join(columns)
    try:
        names = _column_names(path)
        missing = [name for name in columns if name not in names]
        if missing:
            raise ValueError(
                f"{path} has no column {missing[0]}, only {', '.join(names)}; it needs the header "
                f"{header}"
            )
        table = _read_columns(path, columns)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a table {header}: {error}") from error
    if not table.num_rows:
        raise ValueError(f"{path} has no rows; it needs some below the header {header}")
    return table


def _column_names(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        names: list[str] = pq.read_schema(path).names
        return names
    with pa.csv.open_csv(path) as reader:
        return list(reader.schema.names)


def _read_columns(path: Path, columns: list[str]) -> pa.Table:
    """Return the columns as text, without nulls."""
    if path.suffix == ".parquet":
        table = pq.read_table(path, columns=columns)
    else:
        convert = pa.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=False,
        )
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        table = pa.csv.read_csv(path, convert_options=convert, parse_options=parse)
    texts = [pc.fill_null(pc.cast(table[name], pa.string()), "") for name in columns]
    return pa.table(texts, names=columns)


def _check_ids(ids: pa.ChunkedArray, path: Path) -> None:
    """Raise ValueError unless all can be the names of files, each another one."""
    unusable = pc.or_(
        pc.match_substring_regex(ids, r"^$|^\.|[/\\\x00\n\r]"),
        pc.greater(pc.binary_length(ids), MAX_ID),
    )
    bad = ids.filter(unusable)
    if len(bad):
        raise ValueError(
            f"{path}: {len(bad)} ids cannot be file names, the first is {bad[0].as_py()!r}; use "
            f"ids of 1 to {MAX_ID} bytes without slashes, line breaks or a leading dot"
        )
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        raise ValueError(
            f"{path} has {len(repeated)} repeated ids, the first is '{repeated[0].as_py()}'; keep "
            "one row for each image"
        )


def _judge(table: pa.Table) -> pa.Table:
    """Turn labels into numbers, and give a reason to each row that cannot be asked for."""
    urls = pc.utf8_trim_whitespace(table["url"])
    bad_url = pc.or_(pc.is_null(find_hosts(urls)), pc.greater(pc.binary_length(urls), MAX_URL))
    refusal = pc.if_else(bad_url, "bad_url", None)
    refusal = pc.if_else(pc.is_in(urls, pa.array(_NOTHING)), "no_url", refusal)
    labels = pa.chunked_array([pa.nulls(table.num_rows, pa.int64())])
    if "landmark_id" in table.column_names:
        texts = pc.utf8_trim_whitespace(table["landmark_id"])
        numbers = pc.match_substring_regex(texts, r"^[0-9]{1,18}$")
        labels = pc.cast(pc.if_else(numbers, texts, None), pa.int64())
        refusal = pc.if_else(numbers, refusal, "no_landmark")
    return pa.table({"id": table["id"], "url": urls, "landmark_id": labels, "refusal": refusal})


def _check_test(tables: Tables, paths: dict[str, Path]) -> None:
    """Raise ValueError if an image is both asked about and known."""
    for split, table in tables.items():
        if split != "test" and "test" in tables:
            both = table["id"].filter(pc.is_in(table["id"], tables["test"]["id"]))
            if len(both):
                raise ValueError(
                    f"{len(both)} images of {paths['test']} are in {paths[split]}, too, the first "
                    f"is '{both[0].as_py()}'; an image is either asked about or known: keep one"
                )
