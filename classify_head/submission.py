"""Read and write submissions and solutions: tables of `id,landmarks[,Usage]`.

A submission has a row for every query, with `landmarks` = `label score` or nothing. A solution
has the true labels, separated by blanks, or nothing for a query without a landmark, and may
say in Usage whether the row is Public, Private or Ignored. Both are tables as embed.table_file
reads them; other columns are left aside. Cells are text throughout, so ids such as "001" and "NA"
stay what they are; blanks around what a cell says do not count.

Anything else is an error that names the file, the place, the value and the expected form: a row
that is silently mended or dropped would be a wrong score. This file measures nothing; gap.py does.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embed.columns import to_array
from embed.errors import InputError
from embed.files import writing
from embed.printable import printable
from embed.table_file import TableFile, as_text, name_rows, read_table

from .answers import NO_LANDMARK, Answers, check_ids
from .label_scores import Choice

COLUMNS = ("id", "landmarks")
IGNORED = "Ignored"
USAGES = ("Public", "Private", IGNORED)
LARGEST_LABEL = np.iinfo(np.int64).max
LABEL = re.compile(r"[0-9]{1,19}")
ANSWER = re.compile(r"([0-9]{1,19}) +([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


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


def load_submission(path: Path) -> tuple[tuple[str, ...], Choice]:
    """Read the ids and the answers of a submission; label -1 and confidence 0 for an empty cell.

    Raises:
        MissingFileError: if there is no such file.
        InputError: if it is no table, lacks a column, has a row without an id or an id twice, or a
            cell that is neither empty nor `label score` with a finite score. The message has a
            line for each kind of these.
    """
    columns, problems = _read_columns(TableFile.open(path), ())
    answers, wrong = _parse_cells(columns["landmarks"], _parse_answer)
    problems += _say_wrong(path, columns, wrong, "one 'label score', as in '12 0.25',")
    _refuse(problems)
    labels = np.array([label for label, _ in answers], dtype=np.int64)
    confidences = np.array([score for _, score in answers], dtype=np.float64)
    return tuple(columns["id"]), Choice(labels, confidences)


def load_solution(table: Path | TableFile) -> Solution:
    """Read a solution; without a Usage column every row is scored.

    The landmarks of an Ignored row are not read: they are never scored.

    Raises:
        MissingFileError: if there is no such file.
        InputError: if it is no table, lacks a column, has a row without an id or an id twice, a
            cell that is not labels separated by blanks, or an unknown Usage. The message has a
            line for each kind of these.
    """
    file = TableFile.open(table) if isinstance(table, Path) else table
    path, (columns, problems) = file.path, _read_columns(file, ("Usage",))
    usages = columns.get("Usage", [USAGES[0]] * len(columns["id"]))
    unknown = [row for row, usage in enumerate(usages) if usage not in USAGES]
    if unknown:
        problems.append(
            f"{path}, {name_rows(path, unknown)}: Usage '{printable(usages[unknown[0]])}', "
            f"expected one of {', '.join(USAGES)}"
        )
    cells = ["" if u == IGNORED else c for c, u in zip(columns["landmarks"], usages, strict=True)]
    truths, wrong = _parse_cells(cells, _parse_truth)
    problems += _say_wrong(path, columns, wrong, "whole-number labels, as in '12' or '12 40',")
    _refuse(problems)
    return Solution(tuple(columns["id"]), tuple(truths), tuple(usages))


def match_answers(ids: Sequence[str], choice: Choice, solution: Solution) -> Answers:
    """Bring answers and truths together by id, in solution order, without the ignored rows.

    A submission may answer or leave out ignored rows; every other row of the solution it must
    have, if only with an empty cell, since a lost row would pass for an unanswered query.

    Raises:
        InputError: if the submission has an id that the solution lacks, or lacks one it scores.
    """
    row_of = {query_id: row for row, query_id in enumerate(ids)}
    unknown = sorted(row_of.keys() - set(solution.query_ids))
    if unknown:
        problem = f"the submission has {_some(unknown)} that the solution lacks"
        raise InputError(f"{problem}; remove those rows or take the solution they belong to")
    triples = zip(solution.query_ids, solution.truths, solution.usages, strict=True)
    scored = [(query_id, truth) for query_id, truth, usage in triples if usage != IGNORED]
    missing = [query_id for query_id, _ in scored if query_id not in row_of]
    if missing:
        problem = f"the submission lacks {_some(missing)} that the solution scores"
        raise InputError(f"{problem}; add a row with empty landmarks for each without an answer")
    rows = np.array([row_of[query_id] for query_id, _ in scored], dtype=np.int64)
    return Answers(
        labels=choice.labels[rows],
        confidences=choice.confidences[rows],
        query_ids=tuple(query_id for query_id, _ in scored),
        truths=tuple(truth for _, truth in scored),
    )


def format_submission(ids: Sequence[str], choice: Choice) -> str:
    r"""Write the CSV text of a submission, rows sorted by id.

    Args:
        ids: [Q], unique.
        choice: the answers [Q]; label -1 for an empty cell. Confidences are written so that reading
            gives the same float64.

    Raises:
        ValueError: as answers.check_ids, and for another number of ids.
        InputError: for an id with a line break or a NUL.

    Example:
        >>> format_submission(["b", "a"], Choice(np.array([12, -1]), np.array([0.25, 0.0])))
        'id,landmarks\na,\nb,12 0.25\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(ids, choice))
    return text.getvalue()


def save_submission(path: Path, ids: Sequence[str], choice: Choice) -> None:
    """Write a submission, as CSV or, where the name ends in .parquet, as Parquet.

    The file appears under its name only when it is complete; a reader never sees half of it.

    Raises:
        InputError: as format_submission and writing.
    """
    with writing(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, _cells(ids, choice))
        else:
            temporary.write_text(format_submission(ids, choice), "utf-8", newline="")


def _cells(ids: Sequence[str], choice: Choice) -> list[tuple[str, str]]:
    """Turn answers into sorted (id, landmarks) cells."""
    check_ids(ids)
    for query_id in ids:
        if any(character in query_id for character in "\r\n\0"):
            raise InputError(f"id {query_id!r} has a line break or a NUL; rename the image")
    triples = zip(ids, choice.labels.tolist(), choice.confidences.tolist(), strict=True)
    # repr is the shortest text that reads back as the same float64.
    return sorted((i, "" if label == NO_LANDMARK else f"{label} {s!r}") for i, label, s in triples)


def _write_parquet(path: Path, cells: list[tuple[str, str]]) -> None:
    """Write (id, landmarks) cells as two columns of text."""
    import pyarrow.parquet as pq

    columns = {name: [row[n] for row in cells] for n, name in enumerate(COLUMNS)}
    pq.write_table(pa.table({n: pa.array(c, pa.string()) for n, c in columns.items()}), path)


def _read_columns(
    file: TableFile, optional: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the columns as text, and what is wrong with the ids."""
    path, table = file.path, read_table(file, COLUMNS, optional)
    kind = table["id"].type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):  # 1 may have been 001
        raise InputError(f"{path}: column id has type {kind}, expected text (string)")
    texts = {name: as_text(table[name], name, path) for name in table.column_names}
    ids = texts["id"]
    problems = []
    if empty := np.flatnonzero(to_array(pc.utf8_length(ids)) == 0).tolist():
        problems.append(f"{path}, {name_rows(path, empty)}: empty id, expected the id of a query")
    if len(pc.unique(ids)) < len(ids):
        problems += _say_repeated(path, ids.to_pylist())
    columns = {name: pc.utf8_trim_whitespace(texts[name]).to_pylist() for name in texts}
    return columns | {"id": ids.to_pylist()}, problems


def _say_repeated(path: Path, ids: list[str]) -> list[str]:
    first: dict[str, int] = {}
    again = [row for row, query_id in enumerate(ids) if first.setdefault(query_id, row) != row]
    again = [row for row in again if ids[row]]  # empty ids are another problem
    if not again:
        return []
    query_id = ids[again[0]]
    return [
        f"{path}, {name_rows(path, again)}: id '{printable(query_id)}' was already at "
        f"{name_rows(path, [first[query_id]])}; keep one row for each id"
    ]


Cell = TypeVar("Cell")


def _parse_cells(
    cells: list[str], parse: Callable[[str], Cell | None]
) -> tuple[list[Cell], list[int]]:
    """Return what the cells of landmarks say, and the rows whose cell says nothing."""
    parsed = [parse(cell) for cell in cells]
    wrong = [row for row, value in enumerate(parsed) if value is None]
    return [value for value in parsed if value is not None], wrong


def _say_wrong(
    path: Path, columns: dict[str, list[str]], wrong: list[int], expected: str
) -> list[str]:
    if not wrong:
        return []
    cell, query_id = (printable(columns[name][wrong[0]]) for name in ("landmarks", "id"))
    return [
        f"{path}, {name_rows(path, wrong)}: landmarks '{cell}' of id '{query_id}', expected "
        f"{expected} or an empty cell"
    ]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise InputError("\n".join(problems))


def _parse_answer(cell: str) -> tuple[int, float] | None:
    """Read `label score`, or an empty cell, which gives (-1, 0); None for anything else."""
    if not cell:
        return NO_LANDMARK, 0.0
    found = ANSWER.fullmatch(cell)
    if not found or int(found[1]) > LARGEST_LABEL or not np.isfinite(float(found[2])):
        return None
    return int(found[1]), float(found[2])


def _parse_truth(cell: str) -> frozenset[int] | None:
    """Read labels separated by blanks, or an empty cell; None for anything else."""
    words = cell.split()
    if not all(LABEL.fullmatch(word) and int(word) <= LARGEST_LABEL for word in words):
        return None
    return frozenset(int(word) for word in words)


def _some(ids: Sequence[str]) -> str:
    """Name the first few of many ids."""
    names = ", ".join(f"'{printable(query_id)}'" for query_id in ids[:3])
    return f"{len(ids)} id{'s' * (len(ids) > 1)} ({names}{', ...' * (len(ids) > 3)})"
