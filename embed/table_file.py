"""Read a table that people made: CSV as spreadsheets and pandas write it, or Parquet.

All tables that a user gives are read here. Cells of CSV are text throughout, so that an id "NA" or
"007" stays what it is; separated by commas, semicolons or tabs, in UTF-8 or, where a byte order
mark says so, UTF-16. What the columns mean is not known here.
"""

import codecs
import contextlib
import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .columns import to_array, to_mask
from .errors import InputError, MissingFileError
from .printable import printable

PARQUET = ".parquet"
SEPARATORS = ",;\t"
NAMED = 3  # offending rows that an error names


@dataclass(frozen=True, eq=False, repr=False)
class TableFile:
    """The bytes of a table, for whoever reads and hashes it: the file is opened once."""

    path: Path
    content: bytes

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a file. Raises MissingFileError if there is none."""
        if not path.is_file():
            what = ", but a folder or a device," if path.exists() else ""
            raise MissingFileError(f"no table{what} at {path}; name a CSV or Parquet file")
        return cls(path, path.read_bytes())

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the bytes as 64 hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    def open_text(
        self, encoding: str, *, errors: str = "strict", newline: str | None = None
    ) -> io.TextIOWrapper:
        """Return the bytes as text, as `open` does."""
        return io.TextIOWrapper(io.BytesIO(self.content), encoding, errors, newline)


@dataclass(frozen=True)
class _Dialect:
    """How a CSV file is written."""

    encoding: str
    separator: str
    names: tuple[str, ...]  # of the columns
    header_lines: int  # up to the end of the header


def read_table(
    table: Path | TableFile,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    others: bool = False,
) -> pa.Table:
    """Read columns of a table: text of CSV, whatever it is of Parquet.

    A column counts as the one that is wanted if its name differs in blanks around it, or in
    upper and lower case, alone, and no other's does.

    Args:
        table: a .parquet file, or CSV.
        required: columns that must be there.
        optional: columns that may be there.
        others: return whatever else there is, too.

    Returns:
        The columns in the order of the file, under the names that were asked for.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is empty or damaged, is not UTF-8, lacks a column or has two of one name.
    """
    file = TableFile.open(table) if isinstance(table, Path) else table
    path = file.path
    wanted = [*required, *optional]
    dialect = None if path.suffix.lower() == PARQUET else _find_dialect(file, wanted)
    found = dialect.names if dialect else _read_parquet_names(file)
    names = _match(found, wanted)
    _check_names(path, names, required)
    taken = [old for old, new in zip(found, names, strict=True) if others or new in wanted]
    read = _read_csv(file, dialect, taken) if dialect else _read_parquet(file, taken)
    return read.rename_columns([names[found.index(old)] for old in read.column_names])


def as_text(
    column: pa.ChunkedArray, name: str, path: Path, *, exact: bool = False
) -> pa.ChunkedArray:
    """Return a column as strings, "" for null: whole numbers without a point, text in NFC.

    So ids that look the same are the same, however an "é" is composed; exact keeps it as it is.

    Raises:
        InputError: it holds neither text nor numbers.
    """
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_floating(column.type):
        column = _drop_points(column)
    try:
        texts = pc.cast(column, pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path}: column {printable(name)} holds {column.type}; it needs text or whole numbers"
        ) from error
    if texts.null_count:  # else without pandas: see columns
        texts = pc.fill_null(texts, "")
    return texts if exact else pc.utf8_normalize(texts, form="NFC")


def _drop_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats as integers if all are: pandas makes floats of these where some are missing."""
    column = pc.if_else(pc.is_nan(column), None, column)
    whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 2.0**53))
    return pc.cast(column, pa.int64()) if pc.all(whole, min_count=0).as_py() else column


def parse_whole(texts: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return texts as whole numbers [N], 0 for what is none, and which are [N].

    12.0 is 12: pandas writes so where some are missing. 12.5 and more than 18 digits are none.

    >>> parse_whole(pa.chunked_array([["7", " 100.0", "-1", "1.5", "", "x"]]))[0].tolist()
    [7, 100, -1, 0, 0, 0]
    """
    texts = pc.utf8_trim_whitespace(texts)
    valid = pc.match_substring_regex(texts, r"^-?[0-9]{1,18}(\.0*)?$")
    whole = to_mask(valid)
    if not whole.all():
        texts = pc.if_else(valid, texts, "0")
    digits = pc.replace_substring_regex(texts, r"\.0*$", "")
    return to_array(pc.cast(digits, pa.int64())), whole


def name_rows(path: Path, rows: Sequence[int] | NDArray[np.integer]) -> str:
    """Say where rows of a table are: "line 3", "lines 3, 5, 9 and 2 more", of Parquet "row 2".

    Args:
        path: the table.
        rows: [n], at least one, ascending; 0 is the first below the header.
    """
    first = [int(row) for row in rows[:NAMED]]
    lines = [] if path.suffix.lower() == PARQUET else _find_lines(path, first)
    whole = len(lines) == len(first)
    kind, numbers = ("line", lines) if whole else ("row", [row + 1 for row in first])
    places = ", ".join(map(str, numbers))
    more = f" and {len(rows) - len(first)} more" if len(rows) > len(first) else ""
    if len(numbers) > 1 and not more:
        places = " and ".join(places.rsplit(", ", 1))
    return f"{kind}{'s' if len(rows) > 1 else ''} {places}{more}"


def _find_lines(path: Path, rows: Sequence[int]) -> list[int]:
    """Return the lines that rows begin in; fewer where csv cannot tell, which Arrow could read."""
    lines, wanted, file = [], set(rows), TableFile.open(path)
    with contextlib.suppress(csv.Error):
        for row, (line, _) in enumerate(_walk(file, _find_dialect(file, ()))):
            if row in wanted:
                lines.append(line)
            if row >= rows[-1]:
                break
    return lines


def _find_dialect(file: TableFile, wanted: Sequence[str]) -> _Dialect:
    """Find how a CSV file is written: by the separator that gives most of the wanted columns."""
    start = file.content[:64]
    marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in start and not marked:
        raise InputError(
            f"{file.path} is no text, or UTF-16 without a byte order mark; save it as CSV in UTF-8"
        )
    encoding = "utf-16" if marked else "utf-8-sig"
    found = [_read_header(file, encoding, separator) for separator in SEPARATORS]
    best = max(found, key=lambda each: (_count(each.names, wanted), len(each.names)))
    return best


def _count(names: Sequence[str], wanted: Sequence[str]) -> int:
    return len(set(_match(names, wanted)) & set(wanted))


def _read_header(file: TableFile, encoding: str, separator: str) -> _Dialect:
    reader = csv.reader(file.open_text(encoding, newline=""), delimiter=separator)
    try:
        cells = next(filter(_says_something, reader), [])
    except (UnicodeError, csv.Error) as error:
        raise InputError(_describe_damage(file, encoding, error)) from error
    # An index of pandas has no name, nor has what is left of deleted columns.
    names = tuple(cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1))
    return _Dialect(encoding, separator, names, reader.line_num)


def _says_something(cells: Sequence[str]) -> bool:
    """Tell a header from an empty line, and from that in which Excel names its separator."""
    return bool(cells) and not cells[0].startswith("sep=")


def _match(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the names, with those under which the wanted columns are asked for."""
    folded = [name.strip().casefold() for name in names]
    matched = list(names)
    for name in wanted:
        if name not in names and folded.count(name.casefold()) == 1:
            matched[folded.index(name.casefold())] = name
    return matched


def _check_names(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    header = f"a header {','.join(required)}" if required else "a header, and rows"
    if not names:
        raise InputError(f"{path} is empty; it needs {header}")
    shown = printable(", ".join(names))
    for name in required:
        if name not in names:
            odd = [mark for mark in "|:~" if len(names) == 1 and mark in shown]
            hint = f"; separate by commas, semicolons or tabs, not by '{odd[0]}'" if odd else ""
            raise InputError(f"{path} has no column {name}, only {shown}; it needs {header}{hint}")
    if len(set(names)) < len(names):
        raise InputError(f"{path} has two columns of one name: {shown}; rename one of them")


def _read_csv(file: TableFile, dialect: _Dialect, columns: Sequence[str]) -> pa.Table:
    names = list(dialect.names)
    try:
        return pa.csv.read_csv(
            _open(file, dialect),
            pa.csv.ReadOptions(column_names=names, skip_rows=dialect.header_lines),
            pa.csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True),
            pa.csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise InputError(_find_fault(file, dialect, error)) from error


def _open(file: TableFile, dialect: _Dialect) -> io.BytesIO:
    """Return what Arrow reads. It skips whole lines, so the header needs a line end."""
    if dialect.encoding == "utf-16":
        return io.BytesIO(file.open_text("utf-16").read().encode() + b"\n")
    start = file.content[: 1 << 16]
    only_header = len(start) < 1 << 16 and start.count(b"\n") < dialect.header_lines
    return io.BytesIO(start.replace(b"\r", b"\n") + b"\n" if only_header else file.content)


def _walk(file: TableFile, dialect: _Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that each row below the header begins in, and its cells."""
    text = file.open_text(dialect.encoding, errors="replace", newline="")
    reader = csv.reader(text, delimiter=dialect.separator)
    line, below = 1, False
    for cells in reader:
        if cells and below:
            yield line, cells
        below = below or _says_something(cells)
        line = reader.line_num + 1


def _find_fault(file: TableFile, dialect: _Dialect, error: Exception) -> str:
    """Say where a CSV file cannot be read, and why."""
    if "invalid UTF8" in str(error):
        return _describe_damage(file, dialect.encoding, error)
    columns = len(dialect.names)
    try:
        for line, cells in _walk(file, dialect):
            if len(cells) != columns:
                shown = printable(dialect.separator.join(cells))
                return (
                    f"{file.path}, line {line} has {len(cells)} cells, the header {columns}: "
                    f"{shown}; give each row a cell for each column, in quotes where it holds a "
                    "separator"
                )
    except csv.Error:
        pass
    return _describe_damage(file, dialect.encoding, error)


def _describe_damage(file: TableFile, encoding: str, error: Exception) -> str:
    try:
        file.content.decode(encoding)
    except UnicodeDecodeError as found:
        line = file.content[: found.start].count(b"\n") + 1
        return f"{file.path}, line {line} is not UTF-8 text; save the table as CSV in UTF-8"
    except UnicodeError:
        pass
    return f"{file.path} is not a CSV table: {printable(str(error))}"


def _read_parquet_names(file: TableFile) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(pa.BufferReader(file.content)).names)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{file.path} is not a Parquet file: {printable(str(error))}") from error


def _read_parquet(file: TableFile, columns: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(pa.BufferReader(file.content)) as parquet:
            return parquet.read(columns=list(columns)).replace_schema_metadata()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file.path} cannot be read: {printable(str(error))}") from error
