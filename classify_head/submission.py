"""Read and write submissions and solutions: tables of `id,landmarks[,Usage]`.

A submission has a row for every query, with `landmarks` = `label score` or nothing. A solution
has the true labels, separated by spaces, or nothing for a query without a landmark, and may
say in Usage whether the row is Public, Private or Ignored. Both are CSV (UTF-8, with or without
a byte order mark, any line ending) or, where the name ends in .parquet, Parquet with the same
columns. Cells are text throughout, so ids such as "001" and "NA" stay what they are.

Anything else in a table is an error that names the file, the place, the value and the expected
form: a row that is silently mended or dropped would be a wrong score. This file measures
nothing; gap.py does.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .gap import NO_LANDMARK, Answers, Floats, Ints, check_predictions

COLUMNS = ("id", "landmarks")
IGNORED = "Ignored"
USAGES = ("Public", "Private", IGNORED)
LARGEST_LABEL = np.iinfo(np.int64).max
LABEL = re.compile(r"[0-9]{1,19}")
ANSWER = re.compile(r"([0-9]{1,19}) ([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


@dataclass(frozen=True, eq=False)
class Submission:
    """Answers to queries, as read from a submission, in its row order.

    Attributes:
        query_ids: [Q], unique.
        predicted: [Q] int64, a landmark_id or -1 for an empty cell.
        confidence: [Q] float64, 0 for an empty cell.

    Raises:
        ValueError: as gap.check_predictions.
    """

    query_ids: tuple[str, ...]
    predicted: Ints
    confidence: Floats

    def __post_init__(self) -> None:
        """Check ids, labels and confidences."""
        check_predictions(self.query_ids, self.predicted, self.confidence)


@dataclass(frozen=True)
class Solution:
    """True labels of queries, as read from a solution, in its row order.

    Attributes:
        query_ids: [Q], unique.
        truths: [Q], the landmark_ids the query shows; empty for none and for an ignored row.
        usages: [Q], each Public, Private or Ignored; Public where the table doesn't say.
    """

    query_ids: tuple[str, ...]
    truths: tuple[frozenset[int], ...]
    usages: tuple[str, ...]


class _Row(NamedTuple):
    """One row of text: the place it came from, and its cells by column."""

    place: str
    cells: dict[str, str]


def load_submission(path: Path) -> Submission:
    """Read a submission.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, not UTF-8, lacks or adds a column, repeats an id, or has a
            cell that is neither empty nor `label score` with a finite score.
    """
    rows = _read_rows(path, required=COLUMNS, optional=())
    answers = [_parse_answer(row) for row in rows]
    return Submission(
        query_ids=tuple(row.cells["id"] for row in rows),
        predicted=np.array([label for label, _ in answers], dtype=np.int64),
        confidence=np.array([score for _, score in answers], dtype=np.float64),
    )


def load_solution(path: Path) -> Solution:
    """Read a solution; without a Usage column every row is scored.

    The landmarks of an Ignored row are not read: they are never scored.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, not UTF-8, lacks or adds a column, repeats an id, has a cell
            that is not labels separated by single spaces, or an unknown Usage.
    """
    rows = _read_rows(path, required=COLUMNS, optional=("Usage",))
    usages = tuple(_parse_usage(row) for row in rows)
    return Solution(
        query_ids=tuple(row.cells["id"] for row in rows),
        truths=tuple(
            frozenset() if usage == IGNORED else _parse_truth(row)
            for row, usage in zip(rows, usages, strict=True)
        ),
        usages=usages,
    )


def match_answers(submission: Submission, solution: Solution) -> Answers:
    """Bring answers and truths together by id, in solution order, without the ignored rows.

    A submission may answer or leave out ignored rows; every other row of the solution it must
    have, if only with an empty cell, since a lost row would pass for an unanswered query.

    Raises:
        ValueError: if the submission has an id that the solution lacks, or lacks one it scores.
    """
    row_of = {query_id: row for row, query_id in enumerate(submission.query_ids)}
    unknown = sorted(row_of.keys() - set(solution.query_ids))
    if unknown:
        problem = f"the submission has {_some(unknown)} that the solution lacks"
        raise ValueError(f"{problem}; remove those rows or take the solution they belong to")
    triples = zip(solution.query_ids, solution.truths, solution.usages, strict=True)
    scored = [(query_id, truth) for query_id, truth, usage in triples if usage != IGNORED]
    missing = [query_id for query_id, _ in scored if query_id not in row_of]
    if missing:
        problem = f"the submission lacks {_some(missing)} that the solution scores"
        raise ValueError(f"{problem}; add a row with empty landmarks for each without an answer")
    rows = np.array([row_of[query_id] for query_id, _ in scored], dtype=np.int64)
    return Answers(
        query_ids=tuple(query_id for query_id, _ in scored),
        predicted=submission.predicted[rows],
        confidence=submission.confidence[rows],
        truths=tuple(truth for _, truth in scored),
    )


def format_submission(ids: Sequence[str], labels: Ints, confidences: Floats) -> str:
    r"""Write the CSV text of a submission, rows sorted by id.

    Args:
        ids: [Q], unique.
        labels: [Q] int64, a landmark_id or -1 for an empty cell.
        confidences: [Q] float, higher is better; written so that reading gives the same float64.

    Raises:
        ValueError: as gap.check_predictions, and for an id with a line break or a NUL.

    Example:
        >>> format_submission(["b", "a"], np.array([12, -1]), np.array([0.25, 0.0]))
        'id,landmarks\na,\nb,12 0.25\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(ids, labels, confidences))
    return text.getvalue()


def save_submission(path: Path, ids: Sequence[str], labels: Ints, confidences: Floats) -> None:
    """Write a submission, as CSV or, where the name ends in .parquet, as Parquet.

    The file appears under its name only when it is complete; a reader never sees half of it.

    Raises:
        ValueError: as format_submission.
        FileNotFoundError: if the folder doesn't exist.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.suffix == ".parquet":
            _write_parquet(part, _cells(ids, labels, confidences))
        else:
            part.write_text(format_submission(ids, labels, confidences), "utf-8", newline="")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _cells(ids: Sequence[str], labels: Ints, confidences: Floats) -> list[tuple[str, str]]:
    """Turn predictions into sorted (id, landmarks) cells."""
    confidences = np.asarray(confidences, dtype=np.float64)
    check_predictions(tuple(ids), labels, confidences)
    for query_id in ids:
        if any(character in query_id for character in "\r\n\0"):
            raise ValueError(f"id {query_id!r} has a line break or a NUL; rename the image")
    triples = zip(ids, labels.tolist(), confidences.tolist(), strict=True)
    # repr is the shortest text that reads back as the same float64.
    return sorted((i, "" if label == NO_LANDMARK else f"{label} {s!r}") for i, label, s in triples)


def _write_parquet(path: Path, cells: list[tuple[str, str]]) -> None:
    """Write (id, landmarks) cells as two columns of text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [row[n] for row in cells] for n, name in enumerate(COLUMNS)}
    pq.write_table(pa.table({n: pa.array(c, pa.string()) for n, c in columns.items()}), path)


def _read_rows(path: Path, required: Iterable[str], optional: Iterable[str]) -> list[_Row]:
    """Read all rows as text and check the columns and the ids."""
    known = [*required, *optional]
    rows = list(_parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path))
    header = rows.pop(0)
    names = list(header.cells)
    if not set(required) <= set(names) <= set(known):
        raise ValueError(f"{header.place}: columns {names}, expected {','.join(known)}")
    places: dict[str, str] = {}
    for row in rows:
        query_id = row.cells["id"]
        if not query_id:
            raise ValueError(f"{row.place}: empty id, expected the id of a query")
        if query_id in places:
            raise ValueError(f"{row.place}: id {query_id!r} was already at {places[query_id]}")
        places[query_id] = row.place
    return rows


def _csv_rows(path: Path) -> Iterator[_Row]:
    """Read a CSV file: first the header, as a row with empty cells, then every row."""
    names: list[str] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for cells in reader:
                place = f"{path}, line {reader.line_num}"
                if not names and cells:
                    names = _unique(cells, place)
                    yield _Row(place, dict.fromkeys(names, ""))
                elif cells:  # the reader gives no cells for a blank line
                    if len(cells) != len(names):
                        problem = f"{len(cells)} cells {cells[:5]}"
                        raise ValueError(f"{place}: {problem}, expected {','.join(names)}")
                    yield _Row(place, dict(zip(names, cells, strict=True)))
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 text: {error}; save it as UTF-8") from error
    if not names:
        raise ValueError(f"{path}: empty file, expected a header with {','.join(COLUMNS)}")


def _parquet_rows(path: Path) -> Iterator[_Row]:
    """Read a Parquet file as _csv_rows reads a CSV file; a null is an empty cell."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        try:
            table = pq.ParquetFile(file).read()
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: not a Parquet file: {error}") from error
    names = _unique(table.column_names, str(path))
    columns = []
    for name, column in zip(names, table.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (
            pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
        ):
            raise ValueError(f"{path}: column {name} has type {kind}, expected text (string)")
        columns.append([cell or "" for cell in column.to_pylist()])
    yield _Row(f"{path}, schema", dict.fromkeys(names, ""))
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        yield _Row(f"{path}, row {number}", dict(zip(names, cells, strict=True)))


def _unique(names: list[str], place: str) -> list[str]:
    """Refuse a column name that appears twice."""
    if len(set(names)) < len(names):
        raise ValueError(f"{place}: columns {names} repeat a name, expected {','.join(COLUMNS)}")
    return names


def _parse_answer(row: _Row) -> tuple[int, float]:
    """Read `label score` or an empty cell, which gives (-1, 0)."""
    cell = row.cells["landmarks"]
    if not cell:
        return NO_LANDMARK, 0.0
    found = ANSWER.fullmatch(cell)
    if not found or int(found[1]) > LARGEST_LABEL or not np.isfinite(float(found[2])):
        expected = "expected one 'label score', as in '12 0.25', or an empty cell"
        raise ValueError(f"{row.place}: landmarks {cell!r} of id {row.cells['id']!r}, {expected}")
    return int(found[1]), float(found[2])


def _parse_truth(row: _Row) -> frozenset[int]:
    """Read labels separated by single spaces, or an empty cell."""
    cell = row.cells["landmarks"]
    words = cell.split(" ") if cell else []
    if not all(LABEL.fullmatch(word) and int(word) <= LARGEST_LABEL for word in words):
        expected = "expected whole-number labels, as in '12' or '12 40', or an empty cell"
        raise ValueError(f"{row.place}: landmarks {cell!r} of id {row.cells['id']!r}, {expected}")
    return frozenset(int(word) for word in words)


def _parse_usage(row: _Row) -> str:
    """Read the Usage of a row; a table without that column scores it."""
    usage = row.cells.get("Usage", USAGES[0])
    if usage not in USAGES:
        raise ValueError(f"{row.place}: Usage {usage!r}, expected one of {', '.join(USAGES)}")
    return usage


def _some(ids: Sequence[str]) -> str:
    """Name the first few of many ids."""
    names = ", ".join(repr(query_id) for query_id in ids[:3])
    return f"{len(ids)} id{'s' * (len(ids) > 1)} ({names}{', ...' * (len(ids) > 3)})"
