"""Make the parts of a split's artifact: only of images that no part holds yet.

An image stays in the part that holds it, wherever its row is in the table by now; parts are filled
up with the others in the order of the table. So a table with one image more costs one image's work
and the writing of one part. Writes part-*.parquet of the artifact's folder, one after the other and
each whole or not at all. Knows no stage.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from embed.failure import Failure
from embed.files import writing
from embed.parts import Part, Reason, join_rows, write_part
from pipelines.progress import Advance

IMAGES = "images.parquet"  # beside the parts: the order of the table, and its labels
NAME = re.compile(r"part-([0-9]{5,9})\.parquet")

# Makes the rows of some images of a table by their places in it, moves a bar, and returns a table
# with image_id (see embed.parts), and the images that failed.
MakeRows = Callable[[Sequence[int], Advance], tuple[pa.Table, list[Failure]]]


@dataclass(frozen=True)
class PartPlan:
    """The images of one part."""

    kept: list[str]  # that it holds already
    new: list[int]  # places in the table of the others


def plan_parts(
    ids: Sequence[str], held: Mapping[int, Sequence[str]], size: int
) -> dict[int, PartPlan]:
    """Assign the images of a table to parts, each to the part that holds it.

    Args:
        ids: [N] distinct images, in the order of the table.
        held: the images of the parts that are there, by number; of an image in two of them the
            first counts.
        size: images that a part is filled up to.

    Returns:
        The images of each part, by number, ascending: none is without any.
    """
    rows = {image_id: row for row, image_id in enumerate(ids)}
    kept = {
        number: [image_id for image_id in held[number] if rows.pop(image_id, None) is not None]
        for number in sorted(held)
    }
    missing, start, new = list(rows.values()), 0, dict[int, list[int]]()
    for number in itertools.count():
        if start >= len(missing):
            break
        free = max(size - len(kept.get(number, ())), 0)
        new[number] = missing[start : start + free]
        start += free
    plans = {n: PartPlan(kept.get(n, []), new.get(n, [])) for n in sorted({*kept, *new})}
    return {number: plan for number, plan in plans.items() if plan.kept or plan.new}


@dataclass(frozen=True)
class PartMaker:
    """Makes the parts of one artifact."""

    folder: Path
    key: str  # of what makes the rows; parts of another one do not count
    make_rows: MakeRows
    group_rows: int | None = None  # see embed.parts.write_part

    def make(
        self, ids: Sequence[str], size: int, advance: Advance
    ) -> tuple[list[Path], list[Failure]]:
        """Bring the parts of the folder to the images of a table.

        Args:
            ids: [N] distinct images, in the order of the table.
            size: images in a part.
            advance: called for images that are kept, too.

        Returns:
            The parts, and the failures of all images by place in the table.
        """
        there = self._find_parts()
        plans = plan_parts(ids, {number: part.images for number, part in there.items()}, size)
        paths = {number: self.folder / f"part-{number:05d}.parquet" for number in plans}
        for stray in set(self.folder.glob("part-*.parquet")) - set(paths.values()):
            stray.unlink()
        failures: dict[str, Reason] = {}
        for number, plan in plans.items():
            old = there.get(number)
            if old is not None and not plan.new and len(plan.kept) == len(old.images):
                failures |= old.failures
            else:
                failures |= self._write(paths[number], ids, old, plan, advance)
            advance(len(plan.kept))
        failed = [Failure(row, *failures[each]) for row, each in enumerate(ids) if each in failures]
        return list(paths.values()), failed

    def _find_parts(self) -> dict[int, Part]:
        """Return the whole parts that are there, by number."""
        names = {path: NAME.fullmatch(path.name) for path in self.folder.glob("part-*.parquet")}
        found = {int(n[1]): Part.find(path, self.key) for path, n in names.items() if n}
        return {number: part for number, part in found.items() if part is not None}

    def _write(
        self, path: Path, ids: Sequence[str], old: Part | None, plan: PartPlan, advance: Advance
    ) -> dict[str, Reason]:
        """Write a part as planned; return its failures."""
        tables, failures = [], dict[str, Reason]()
        if old is not None and plan.kept:
            rows, failures = old.take(plan.kept)
            tables.append(rows)
        if plan.new:
            rows, failed = self.make_rows(plan.new, advance)
            tables.append(rows)
            failures |= {ids[each.position]: (each.reason, each.message) for each in failed}
        with writing(path) as temporary:
            rows = join_rows(tables)
            write_part(temporary, rows, failures, self.key, group_rows=self.group_rows)
        return failures
