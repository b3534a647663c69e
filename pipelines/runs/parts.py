"""Make the parts of a split's artifact: only of images that no part holds yet.

An image stays in the part that holds it, wherever its row is in the table by now; parts are filled
up with the others in the order of the table. So a table with one image more costs one image's work
and the writing of one part. Writes part-*.parquet of the artifact's folder, one after the other and
each whole or not at all, while the rows of the next are made. Knows no stage.
"""

import itertools
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from embed.failure import Failure
from embed.files import writing
from embed.meter import Meter
from embed.parts import Part, Reason, join_rows, write_part

IMAGES = "images.parquet"  # beside the parts: the order of the table, and its labels
NAME = re.compile(r"part-([0-9]{5,9})\.parquet")

Rows = tuple[pa.Table, list[Failure]]  # with image_id (see embed.parts); images that failed
# Takes the places in a table of the images of each part, and makes the rows of one part after the
# other.
MakeRows = Callable[[Sequence[Sequence[int]], Meter], Generator[Rows]]


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


def _name_failures(ids: Sequence[str], made: Rows) -> tuple[pa.Table, dict[str, Reason]]:
    """Return rows, and failures by image."""
    rows, failed = made
    return rows, {ids[each.position]: (each.reason, each.message) for each in failed}


@dataclass(frozen=True)
class PartMaker:
    """Makes the parts of one artifact."""

    folder: Path
    key: str  # of what makes the rows; parts of another one do not count
    make_rows: MakeRows
    group_rows: int | None = None  # see embed.parts.write_part

    def make(self, ids: Sequence[str], size: int, meter: Meter) -> tuple[list[Path], list[Failure]]:
        """Bring the parts of the folder to the images of a table.

        Args:
            ids: [N] distinct images, in the order of the table.
            size: images in a part.
            meter: told of images that are kept, too.

        Returns:
            The parts, and the failures of all images by place in the table.
        """
        there = self._find_parts()
        plans = plan_parts(ids, {number: part.images for number, part in there.items()}, size)
        paths = {number: self.folder / f"part-{number:05d}.parquet" for number in plans}
        for stray in set(self.folder.glob("part-*.parquet")) - set(paths.values()):
            stray.unlink()
        failures: dict[str, Reason] = {}
        meter.skip(sum(len(plan.kept) for plan in plans.values()))
        missing = [plan.new for plan in plans.values() if plan.new]
        # Left in reverse: what makes rows ends first, then what was made is written.
        with ThreadPoolExecutor(1) as pool, closing(self.make_rows(missing, meter)) as made:
            written: Future[dict[str, Reason]] | None = None
            for number, plan in plans.items():
                old = there.get(number)
                if old is not None and not plan.new and len(plan.kept) == len(old.images):
                    failures |= old.failures
                    continue
                new = _name_failures(ids, next(made)) if plan.new else None
                if written is not None:  # one at a time, so that no more than two are in memory
                    with meter.held_up("writing"):
                        failures |= written.result()
                written = pool.submit(self._write, paths[number], old, plan, new)
            if written is not None:
                with meter.held_up("writing"):
                    failures |= written.result()
        failed = [Failure(row, *failures[each]) for row, each in enumerate(ids) if each in failures]
        return list(paths.values()), failed

    def _find_parts(self) -> dict[int, Part]:
        """Return the whole parts that are there, by number."""
        names = {path: NAME.fullmatch(path.name) for path in self.folder.glob("part-*.parquet")}
        found = {int(n[1]): Part.find(path, self.key) for path, n in names.items() if n}
        return {number: part for number, part in found.items() if part is not None}

    def _write(
        self,
        path: Path,
        old: Part | None,
        plan: PartPlan,
        new: tuple[pa.Table, dict[str, Reason]] | None,
    ) -> dict[str, Reason]:
        """Write a part as planned; return its failures."""
        tables, failures = [], dict[str, Reason]()
        if old is not None and plan.kept:
            rows, failures = old.take(plan.kept)
            tables.append(rows)
        if new is not None:
            tables.append(new[0])
            failures |= new[1]
        with writing(path) as temporary:
            rows = join_rows(tables)
            write_part(temporary, rows, failures, self.key, group_rows=self.group_rows)
        return failures
