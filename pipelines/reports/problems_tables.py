"""Count the problems of a check and print them as tables for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from pipelines.datasets.checking.catalogue import CLEANED, QUERIES
from pipelines.datasets.checking.problems import KINDS, MEANINGS, Findings, Kind, Problems
from pipelines.datasets.checking.removal import RemainingCounts

from .tables import escape, make_table

EXAMPLES = 3  # ids that are named of a kind


@dataclass(frozen=True)
class Count:
    """How many images have a problem of one kind."""

    kind: Kind
    images: int
    of_images: int  # that might have it
    examples: tuple[str, ...]  # ids

    @property
    def share(self) -> float:
        """Part of the images that might have the problem, 0 to 1."""
        return self.images / max(self.of_images, 1)


def count_problems(found: Findings, problems: Problems) -> list[Count]:
    """Count images by kind of problem, kinds without any included.

    Images of test and validation can be across the split, and others that two tables list which
    may not share any; only those that a table gives a landmark, or says that they have none, can
    have mixed ones.
    """
    catalogue = found.catalogue
    concerned = {"across_split": QUERIES, "mixed_labels": CLEANED}
    counts = []
    for kind in KINDS:
        rows = problems.row[problems.of(kind)]
        everyone = len(catalogue.ids)
        if kind in concerned:
            among = catalogue.in_tables(concerned[kind])
            among[rows] = True
            everyone = int(among.sum())
        examples = tuple(catalogue.ids[rows[:EXAMPLES]])
        counts.append(Count(kind, len(np.unique(rows)), everyone, examples))
    return counts


def format_share(count: Count) -> str:
    """Return a share in percent, precise enough to tell one image from none."""
    return f"{count.share:.1%}" if count.share >= 0.001 or not count.images else "< 0.1%"


def print_counts(counts: Sequence[Count], console: Console) -> None:
    """Print the kinds of problems there are, one a line, with some examples."""
    table = make_table("problem", "images", "of", "share")
    table.add_column("meaning", no_wrap=True)
    table.add_column("for example", no_wrap=True)
    for count in counts:
        if count.images:
            table.add_row(
                count.kind,
                f"{count.images}",
                f"{count.of_images}",
                format_share(count),
                MEANINGS[count.kind],
                escape(", ".join(count.examples)),
            )
    if table.row_count:
        console.print(table)
    else:
        console.print(f"nothing is wrong with any of the {counts[0].of_images} images")


def print_left(left: Mapping[str, RemainingCounts], console: Console) -> None:
    """Print what is left of each table."""
    table = make_table("table", "images left", "of", "landmarks left", "of")
    for name, part in left.items():
        landmarks = (f"{part.landmarks}", f"{part.of_landmarks}") if part.of_landmarks else ("", "")
        table.add_row(name, f"{part.images}", f"{part.of_images}", *landmarks)
    console.print(table)
