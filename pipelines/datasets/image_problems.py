"""Say which images of a dataset have no file, and whether any of a table can be read.

Lists images/ and opens one image of each table, more only where that one cannot be read.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from embed.decode import ImageError, decode_image
from embed.printable import printable
from embed.table_file import name_rows

from .image_folder import ImageFolder
from .image_table import ImageTable
from .images import SUFFIXES

# Images of a table whose files are looked for; a stat each where they are nested.
LOOKED_AT = 50_000
NAMED = 3
_SUFFIX = re.compile("(" + "|".join(map(re.escape, SUFFIXES)) + ")$", re.IGNORECASE)
_LONGEST = 20  # digits of a number with leading zeros
# How the id of a file may have been written instead, and what ids are.
MISTAKES: tuple[tuple[Callable[[str], str], str], ...] = (
    (str.strip, "ids have no blanks at their ends"),
    (lambda image_id: _SUFFIX.sub("", image_id.strip()), "ids carry no suffix"),
)


@dataclass
class ImageProblems:
    """What is wrong with the files of tables' images."""

    errors: list[str] = field(default_factory=list)  # nothing can be done with the table
    warnings: list[str] = field(default_factory=list)  # images that will be left out


def judge_images(images: ImageFolder, table: ImageTable) -> ImageProblems:
    """Look for the files of a table's images, and try to read one."""
    found = ImageProblems()
    rows = np.linspace(0, len(table.ids) - 1, min(len(table.ids), LOOKED_AT)).astype(np.int64)
    there = images.holds([table.ids[row] for row in rows])
    if mistakes := _find_mistakes(images, table, rows[~there]):
        found.errors += mistakes
        return found
    if not there.any() and len(rows) < len(table.ids):
        rows, there = np.arange(len(table.ids)), images.holds(table.ids)
    absent = rows[~there]
    if not there.any():
        first = printable(str(images.locate(table.ids[0])))
        found.errors.append(
            f"none of the {len(table.ids)} images of {table.path} has a file, the first would be "
            f"{first}; "
            + (images.explain_missing(table.ids[0]) or "put the files there, each called by its id")
        )
    elif reason := _find_unreadable(images, table, rows[there]):
        found.errors.append(reason)
    elif len(absent):
        of = f"the {len(rows)} looked at of " if len(rows) < len(table.ids) else ""
        names = ", ".join(f"'{printable(table.ids[row])}'" for row in absent[:NAMED])
        found.warnings.append(
            f"{len(absent)} of {of}{len(table.ids)} images of {table.path} have no file and are "
            f"left out: {names}{', ...' * (len(absent) > NAMED)}"
        )
    return found


def _find_mistakes(images: ImageFolder, table: ImageTable, rows: NDArray[np.int64]) -> list[str]:
    """Say which images without a file have one under a name that their ids were to be."""
    found: list[str] = []
    if not len(rows):
        return found
    ids, known = [table.ids[row] for row in rows], set(table.ids)
    explained: set[int] = set()
    for correct, rule in _list_mistakes(images, ids):
        meant = [correct(image_id) for image_id in ids]
        changed = [
            place
            for place, (image_id, other) in enumerate(zip(ids, meant, strict=True))
            if other and other != image_id and other not in known and place not in explained
        ]
        held = images.holds([meant[place] for place in changed])
        wrong = np.asarray(changed, dtype=np.int64)[held]
        explained.update(wrong.tolist())
        if len(wrong):
            found.append(
                f"{table.path}, column id, {name_rows(table.path, rows[wrong])}: "
                f"'{printable(ids[wrong[0]])}' has no file, but '{printable(meant[wrong[0]])}' "
                f"has one: {rule}; write the ids so"
            )
    return found


def _list_mistakes(
    images: ImageFolder, ids: list[str]
) -> Iterator[tuple[Callable[[str], str], str]]:
    """Yield MISTAKES; and, of numbers, that their leading zeros are lost."""
    yield from MISTAKES
    first = ids[0]
    if not all(image_id.isdecimal() for image_id in ids):
        return
    longer = [first.zfill(digits) for digits in range(len(first) + 1, _LONGEST)]
    for padded in np.array(longer)[images.holds(longer)].tolist():
        yield partial(_pad, digits=len(padded)), "leading zeros are lost"


def _pad(image_id: str, digits: int) -> str:
    return image_id.zfill(digits)


def _find_unreadable(images: ImageFolder, table: ImageTable, rows: NDArray[np.int64]) -> str | None:
    """Return why no image of some rows can be read; None as soon as one can."""
    first: ImageError | None = None
    for row in rows:
        try:
            decode_image(images.locate(table.ids[row]), min_side=1)
        except ImageError as error:
            if error.reason == "too_large":  # a recipe may allow it
                return None
            first = first or error
        else:
            return None
    return (
        f"none of the {len(table.ids)} images of {table.path} could be read, the first: "
        f"{printable(str(first))}"
    )
