"""One table of a dataset folder: read, and all that is wrong with it by itself.

Opens no image. What is wrong is a list of sentences, of finding and remedy, for one list of
everything that is wrong with a dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.columns import to_array, to_mask
from embed.errors import InputError
from embed.printable import printable
from embed.table_file import TableFile, as_text, name_rows, parse_whole, read_table

NAMED = 5  # landmarks that are named of many
NO_FILE_NAME = r"^\.|[/\\\x00\n\r]"


@dataclass(frozen=True)
class ImageTable:
    """Images of one split: distinct ids, and a landmark each where the split has them."""

    path: Path
    ids: tuple[str, ...]  # [N], in NFC
    landmark_ids: NDArray[np.int64]  # [N]; -1 in a split without labels


def read_images(file: TableFile, labelled: bool) -> tuple[ImageTable | None, list[str]]:
    """Read the images of a split, and say what is wrong with its rows.

    Returns:
        The table, None where it cannot be read at all, and a sentence for each thing that is wrong.
        A landmark_id that is none is -1.
    """
    path = file.path
    try:
        columns = ["id", "landmark_id"] if labelled else ["id"]
        table = read_table(file, columns)
        texts = {name: as_text(table[name], name, path) for name in columns}
    except InputError as error:
        return None, [str(error)]
    if not table.num_rows:
        return None, [f"{path} has a header and no rows; add some, or delete it if optional"]
    ids, problems = texts["id"], _judge_ids(texts["id"], path)
    landmark_ids = np.full(table.num_rows, -1, dtype=np.int64)
    if labelled:
        landmark_ids, found = _read_landmark_ids(texts["landmark_id"], path)
        problems += found
    return ImageTable(path, tuple(ids.to_pylist()), landmark_ids), problems


@dataclass(frozen=True)
class Labels:
    """What labels.csv says of landmarks, in NFC."""

    names: dict[int, str]
    details: dict[int, dict[str, str]]  # whatever other columns there are, where they say something


def read_labels(file: TableFile) -> tuple[Labels, list[str]]:
    """Read labels.csv, and say what is wrong with the table."""
    path = file.path
    try:
        table = read_table(file, ["landmark_id", "name"], others=True)
        texts, names = (as_text(table[name], name, path) for name in ("landmark_id", "name"))
        others = [
            field.name
            for field in table.schema
            if field.name not in ("landmark_id", "name") and not pa.types.is_nested(field.type)
        ]
        columns = [as_text(table[name], name, path).to_pylist() for name in others]
    except InputError as error:
        return Labels({}, {}), [str(error)]
    if not table.num_rows:
        problem = f"{path} has a header and no rows; add some, or delete it: names are optional"
        return Labels({}, {}), [problem]
    landmark_ids, problems = _read_landmark_ids(texts, path)
    repeated = _find_repeated(landmark_ids, landmark_ids >= 0)
    if len(repeated):
        problems.append(
            f"{path}, {name_rows(path, repeated)}: landmark {landmark_ids[repeated[0]]} is named "
            "twice; keep one of the rows"
        )
    rows = (
        {name: text for name, text in zip(others, row, strict=True) if text}
        for row in zip(*columns, strict=True)
    )
    numbers = landmark_ids.tolist()
    # Without other columns there are no rows of them.
    details = {n: row for n, row in zip(numbers, rows, strict=False) if row}
    return Labels(dict(zip(numbers, names.to_pylist(), strict=True)), details), problems


def judge_names(table: ImageTable, names: dict[int, str]) -> list[str]:
    """Say which landmarks of a table have no name, where others have."""
    unnamed = sorted(set(table.landmark_ids[table.landmark_ids >= 0].tolist()) - names.keys())
    if not names or not unnamed:
        return []
    shown = ", ".join(map(str, unnamed[:NAMED])) + ", ..." * (len(unnamed) > NAMED)
    return [
        f"{table.path} has {len(unnamed)} landmarks that labels.csv does not name ({shown}); add "
        "them, or delete labels.csv: names are optional"
    ]


def refuse(problems: Sequence[str], what: str) -> None:
    """Raise InputError with all that is wrong, a line each, if anything is."""
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        listed = (f"- {problem}" for problem in problems)
        raise InputError(f"{what}: {len(problems)} things have to be mended", *listed)


def _judge_ids(ids: pa.ChunkedArray, path: Path) -> list[str]:
    problems = []
    empty = np.flatnonzero(to_array(pc.utf8_length(pc.utf8_trim_whitespace(ids))) == 0)
    if len(empty):
        problems.append(f"{path}, {name_rows(path, empty)}: no id; give it one, or take it out")
    bad = np.flatnonzero(to_mask(pc.match_substring_regex(ids, NO_FILE_NAME)))
    if len(bad):
        problems.append(
            f"{path}, {name_rows(path, bad)}: id '{printable(ids[int(bad[0])].as_py())}' cannot be "
            "a file name; use ids without slashes, line breaks or a leading dot, and no folder or "
            "suffix: 'photo1' for images/photo1.jpg"
        )
    if len(pc.unique(ids)) < len(ids):
        texts = np.array(ids.to_pylist(), dtype=object)
        repeated = _find_repeated(texts)
        same = np.flatnonzero(texts == texts[repeated[0]])
        problems.append(
            f"{path} has {len(repeated)} repeated ids, the first is '{printable(texts[same[0]])}' "
            f"({name_rows(path, same)}); keep one row for each image"
        )
    return problems


def _find_repeated(
    values: NDArray[Any], among: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Return the places of values [N] that have come before; among some of them alone."""
    repeated = np.ones(len(values), dtype=np.bool_) if among is None else among.copy()
    repeated[np.unique(values, return_index=True)[1]] = False
    return np.flatnonzero(repeated)


def _read_landmark_ids(texts: pa.ChunkedArray, path: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Return the landmark ids [N], -1 for what is none, and what is wrong with them."""
    values, valid = parse_whole(texts)
    bad = np.flatnonzero(~valid | (values < 0))
    if not len(bad):
        return values, []
    first = printable(texts[int(bad[0])].as_py())
    problem = (
        f"{path}, {name_rows(path, bad)}: landmark_id '{first}' is not an integer of 0 or more; "
        "give each landmark a number, and photos of none a row in non_landmark.csv"
    )
    return np.where(valid & (values >= 0), values, -1), [problem]
