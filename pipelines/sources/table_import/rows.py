"""Make sense of a table of images: the id, file, label and split of each row.

Reads columns through table_sources. Writes nothing, and opens no image.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embed.errors import InputError
from embed.printable import printable
from pipelines.datasets.images import SUFFIXES
from pipelines.datasets.naming import MAX_ID, make_id, name_landmark

from .sources import ID_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMN, TableSource, find_bytes

logger = logging.getLogger(__name__)


# What a split may be called, and which table it becomes.
SPLIT_NAMES = {name: name for name in ("train", "index", "test", "validation", "non_landmark")} | {
    "val": "validation",
    "valid": "validation",
    "database": "index",
    "gallery": "index",
    "query": "test",
}
# What embed.printable takes for control characters.
_CONTROLS = r"[\p{Cc}\x{2028}\x{2029}\x{202a}-\x{202e}\x{2066}-\x{2069}]"
_SUFFIX = "(?i)(" + "|".join(map(re.escape, SUFFIXES)) + ")$"


@dataclass(frozen=True)
class Columns:
    """Names of columns; None for the usual ones."""

    id: str | None = None  # what an image is called; or its file, if image is None
    label: str | None = None
    image: str | None = None  # its bytes, or its file
    split: str | None = None


USUAL = Columns()


@dataclass(frozen=True)
class Rows:
    """N images of a table."""

    ids: pa.Array  # [N] string, distinct, each good for a file name
    labels: pa.Array  # [N] int64 or string; null without a label
    splits: pa.Array | None  # [N] string, of SPLIT_NAMES' values
    files: pa.Array | None = None  # [N] string, below a folder; None for bytes
    image_column: str = ""  # of bytes
    names: Mapping[int, str] = field(default_factory=dict)  # of numbers among the labels


def read_rows(source: TableSource, columns: Columns, images: Path | None) -> Rows:
    """Read what a table says of its images.

    The id of a file is its path without suffix, with - for each /: photos/a.jpg is photos-a. One of
    more than MAX_ID bytes is cut, and ends in a hash of the whole. Bytes
    without a column of ids are called by the path beside them if all have one of their own, else by
    the number of their row.

    Args:
        source: the table.
        columns: which of its columns are what.
        images: the folder that files are named from; None if the table holds the images' bytes.

    Raises:
        InputError: a column is not there, an id is missing, repeated or no file name, a path leads
            out of the folder, a label is negative, or a split is none of SPLIT_NAMES.
    """
    _check_columns(source, columns)
    label = columns.label or _find(source, LABEL_COLUMNS)
    if label is None:
        raise InputError(
            f"{source.name} has no column {' or '.join(LABEL_COLUMNS)}, only "
            f"{', '.join(source.schema.names)}; name the one with the labels: --label-column"
        )
    if passed_over := [n for n in LABEL_COLUMNS if n in source.schema.names and n != label]:
        logger.warning(
            "%s: the labels are those of column %s; %s is not used: --label-column names another",
            *(source.name, label, printable(", ".join(passed_over))),
        )
    split = columns.split or _find(source, (SPLIT_COLUMN,))
    files, column = None, ""
    if images is None:
        column = _find_image_column(source, columns)
        ids = _name_bytes(source, columns, column)
    else:
        ids, files = _name_files(source, columns, images)
    _check_ids(ids, source)
    ids = _shorten(ids)
    _check_distinct(ids, source)
    return Rows(
        ids=ids,
        labels=_read_labels(_column(source, label), label, source),
        splits=None if split is None else _read_splits(_column(source, split), source),
        files=files,
        image_column=column,
        names={i: name_landmark(name) for i, name in source.read_class_names(label).items()},
    )


def ids_of_files(files: pa.Array) -> pa.Array:
    """Return the ids [N] of files [N]: without suffix, - for each slash.

    >>> ids_of_files(pa.array(["photos/a.JPG", "./b.png", "c"])).to_pylist()
    ['photos-a', 'b', 'c']
    """
    bare = pc.replace_substring_regex(files, _SUFFIX, "")
    bare = pc.replace_substring_regex(bare, r"^(\./)+", "")
    return pc.replace_substring_regex(bare, r"[/\\]+", "-")


def _check_columns(source: TableSource, columns: Columns) -> None:
    names = source.schema.names
    if len(set(names)) < len(names):
        raise InputError(f"{source.name} has two columns of one name: {', '.join(names)}")
    for option in ("id", "label", "image", "split"):
        name = getattr(columns, option)
        if name is not None and name not in names:
            raise InputError(
                f"{source.name} has no column {name}, only {', '.join(names)}; "
                f"name one of them: --{option}-column"
            )


def _find(source: TableSource, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in source.schema.names), None)


def _column(source: TableSource, name: str) -> pa.Array:
    """Read one column whole; a.b is the field b of a structure a."""
    column = source.read([name]).column(0).combine_chunks()
    return column if name in source.schema.names else pc.struct_field(column, [0])


def _find_image_column(source: TableSource, columns: Columns) -> str:
    """Return the column with the images' bytes."""
    found = source.image_columns
    if columns.image is not None and columns.image in found:
        return columns.image
    if columns.image is None and len(found) == 1:
        return found[0]
    kinds = f"{len(found)} columns of bytes ({', '.join(found)})" if found else "no column of bytes"
    advice = "name one of them: --image-column" if found else "name the folder with them: --images"
    raise InputError(f"{source.name} has {kinds} to read images from; {advice}")


def _name_bytes(source: TableSource, columns: Columns, image: str) -> pa.Array:
    """Return the ids of images whose bytes are in the table."""
    name = columns.id or _find(source, ID_COLUMNS)
    if name is not None:
        return ids_of_files(_as_text(_column(source, name), name, source))
    kind = source.schema.field(image).type
    beside = [kind.field(i) for i in range(kind.num_fields)] if find_bytes(kind) else []
    path = next((f.name for f in beside if pa.types.is_string(f.type)), None)
    if path is not None:
        files = _column(source, f"{image}.{path}")
        ids = ids_of_files(pc.replace_substring_regex(files, r"^.*[/\\]", ""))
        if not ids.null_count and len(pc.unique(ids)) == len(ids):
            return ids
    count = source.count_rows()
    # As long as the last one, so that the first three characters spread them over many folders.
    digits = max(len(str(count - 1)), 3)
    return pc.utf8_lpad(pc.cast(pa.array(range(count), pa.int64()), pa.string()), digits, "0")


def _name_files(source: TableSource, columns: Columns, images: Path) -> tuple[pa.Array, pa.Array]:
    """Return ids of files, and the files from the folder on."""
    name = columns.id or _find(source, ID_COLUMNS)
    column = columns.image or name
    if name is None and column is None:
        raise InputError(
            f"{source.name} has no column {' or '.join(ID_COLUMNS)}, only "
            f"{', '.join(source.schema.names)}; name the one with the ids or files: --id-column"
        )
    assert column is not None
    files = _as_text(_column(source, column), column, source)
    inside = f"{images.resolve()}/"
    below = pc.starts_with(files, inside)
    files = pc.if_else(below, pc.utf8_slice_codeunits(files, len(inside)), files)
    outside = pc.match_substring_regex(files, r"^[/\\]|^[A-Za-z]:[/\\]|(^|[/\\])\.\.([/\\]|$)")
    if pc.any(outside).as_py():
        raise InputError(
            f"{source.name}: '{files.filter(outside)[0]}' in column {column} leads out of "
            f"{images}; --images is the folder that all files are in or below"
        )
    known = (
        files if name is None or name == column else _as_text(_column(source, name), name, source)
    )
    return ids_of_files(known), files


def _as_text(values: pa.Array, column: str, source: TableSource) -> pa.Array:
    """Return values as text; none may be missing."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not (pa.types.is_integer(values.type) or _is_text(values.type)):
        raise InputError(
            f"{source.name}: column {column} holds {values.type}, not texts or whole numbers; "
            "name another: --id-column, or --image-column"
        )
    values = pc.cast(values, pa.string())
    empty = pc.fill_null(pc.equal(values, ""), True)
    if pc.any(empty).as_py():
        row = pc.index(empty, True).as_py() + 1
        raise InputError(f"{source.name}: row {row} has no {column}; give it one, or take it out")
    return values


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_ids(ids: pa.Array, source: TableSource) -> None:
    if not len(ids):
        raise InputError(f"{source.name} has a header and no rows")
    bad = pc.or_(pc.equal(ids, ""), pc.match_substring_regex(ids, r"^\.|[/\\\x00\n\r]"))
    if pc.any(bad).as_py():
        row = pc.index(bad, True).as_py()
        raise InputError(
            f"{source.name}, row {row + 1}: the id {ids[row].as_py()!r} cannot be a file name; use "
            "ids without line breaks or a leading dot"
        )


def _shorten(ids: pa.Array) -> pa.Array:
    """Return ids [N] as naming.make_id makes them: composed, on one line, not too long."""
    ids = pc.utf8_normalize(ids, form="NFC")
    too_long = pc.greater(pc.binary_length(ids), MAX_ID)
    odd = pc.or_(too_long, pc.match_substring_regex(ids, _CONTROLS))
    if not pc.any(odd).as_py():
        return ids
    changed = ids.filter(odd)
    made = pa.array(map(make_id, changed.to_pylist()), pa.string())
    logger.warning(
        "%d ids are too long for file names, or hold what cannot be shown: '%s' becomes '%s'",
        *(len(changed), changed[0], made[0]),
    )
    return pc.replace_with_mask(ids, odd, made)


def _check_distinct(ids: pa.Array, source: TableSource) -> None:
    if len(pc.unique(ids)) < len(ids):
        counts = pc.value_counts(ids)
        most = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        raise InputError(
            f"{source.name} has {len(most)} ids in more than one row, the first is '{most[0]}'; "
            "keep one row for each image, or give files that differ in suffix or folder alone ids "
            "of their own: --id-column, with the files in --image-column"
        )


def _read_labels(values: pa.Array, column: str, source: TableSource) -> pa.Array:
    """Return labels as int64 if all are whole numbers, else as text; null for empty and -1."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):  # pandas makes floats of integers where some are missing
        values = pc.if_else(pc.is_nan(values), None, values)
        whole = pc.all(pc.equal(values, pc.floor(values)), min_count=0).as_py()
        values = pc.cast(values, pa.int64()) if whole else values
    if pa.types.is_null(values.type):
        values = pc.cast(values, pa.int64())
    if not (pa.types.is_integer(values.type) or _is_text(values.type)):
        raise InputError(
            f"{source.name}: column {column} holds {values.type}, not whole numbers or names; "
            "name another: --label-column"
        )
    if _is_text(values.type):
        values = _parse_labels(pc.cast(values, pa.string()))
    if _is_text(values.type):
        if column == "landmark_id":
            numbers = pc.match_substring_regex(values, r"^-?[0-9]{1,18}(\.0)?$")
            wrong = values.filter(pc.invert(pc.fill_null(numbers, True)))[0]
            raise InputError(
                f"{source.name}: landmark_id '{wrong}' is not an integer of 0 or more; if "
                "these are names, call the column name"
            )
        return _name_labels(values)
    values = pc.cast(values, pa.int64())
    values = pc.if_else(pc.equal(values, -1), None, values)  # of Hugging Face: nobody says
    least = pc.min(values).as_py()
    if least is not None and least < 0:
        raise InputError(f"{source.name}: {column} {least} is negative; only -1 is, for no label")
    return values


def _parse_labels(values: pa.Array) -> pa.Array:
    """Return texts as numbers if all are, those that pandas wrote as 12.0 included."""
    values = pc.utf8_trim_whitespace(values)
    values = pc.if_else(pc.equal(values, ""), None, values)
    if pc.all(pc.match_substring_regex(values, r"^-?[0-9]{1,18}(\.0)?$"), min_count=0).as_py():
        return pc.cast(pc.replace_substring_regex(values, r"\.0$", ""), pa.int64())
    return values


def _name_labels(values: pa.Array) -> pa.Array:
    """Return labels as names of landmarks: on one line, the same however they are spelled."""
    coded = values.dictionary_encode()
    names = [name_landmark(text) for text in coded.dictionary.to_pylist()]
    return pc.take(pa.array(names, pa.string()), coded.indices)


def _read_splits(values: pa.Array, source: TableSource) -> pa.Array:
    """Return the splits' names as the tables are called."""
    texts = pc.utf8_lower(_as_text(values, "split", source))
    known = pa.array(list(SPLIT_NAMES))
    places = pc.index_in(texts, known)
    if places.null_count:
        wrong = texts.filter(pc.is_null(places))[0]
        raise InputError(
            f"{source.name}: split '{wrong}' is unknown; there are {', '.join(SPLIT_NAMES)}"
        )
    return pc.take(pa.array(list(SPLIT_NAMES.values())), places)
