"""Say which images of a database are excluded from the search of a query, as in leave-one-out.

From that of a photo of the database itself; or all of its landmark, so that it is a photo of a
landmark that the database does not have. Arrays in, arrays out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embed.head_scores import HeadScores

from .database import Database

Ints = NDArray[np.int64]

MOST_QUERIES, MOST_ROWS = 1 << 17, 1 << 24  # searched at a time, and excluded from their searches


@dataclass(frozen=True, eq=False)
class Exclusion:
    """The images of a database that the searches of Q queries leave out."""

    rows: Ints  # [Q] the row of the query itself; -1 for none
    landmarks: Ints  # [Q] all images of this landmark; -1 for none

    @classmethod
    def none(cls, count: int) -> Self:
        """Exclude nothing from the searches of so many queries."""
        return cls(np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64))

    @classmethod
    def own_rows(cls, ids: Sequence[str], database: Database) -> Self:
        """Exclude each query itself, where it is in the database."""
        return cls(database.rows.rows_of(ids), np.full(len(ids), -1, dtype=np.int64))

    def list_rows(self, database: Database) -> Iterator[tuple[slice, Ints]]:
        """Yield some queries, one after the other, and their excluded rows [q, E], -1 for none."""
        sizes = np.where(self.landmarks < 0, 0, database.rows.class_sizes(self.landmarks))
        start = 0
        while not start or start < len(self.rows):  # once even where there are no queries
            # As many as fit, at least one: a landmark may have a hundred thousand images.
            widest = np.maximum.accumulate(sizes[start : start + MOST_QUERIES]) + 1
            fitting = int((widest * np.arange(1, len(widest) + 1) <= MOST_ROWS).sum())
            queries = slice(start, start + max(fitting, 1))
            yield queries, self._rows(queries, database)
            start = queries.stop

    def _rows(self, queries: slice, database: Database) -> Ints:
        landmarks = self.landmarks[queries]
        left_out = set(landmarks[landmarks >= 0].tolist())
        members = {label: database.rows.rows_of_landmark(label) for label in left_out}
        width = 1 + max(map(len, members.values()), default=0)
        listed = np.full((len(landmarks), width), -1, dtype=np.int64)
        listed[:, 0] = self.rows[queries]
        for label, rows in members.items():
            listed[landmarks == label, 1 : 1 + len(rows)] = rows
        return listed if (listed >= 0).any() else listed[:, :0]

    def mask_head(self, head: HeadScores, database: Database) -> HeadScores:
        """Return the scores of a head that does not know the landmarks; others move up.

        Nor those of which all images were removed from the database.

        The last place is then empty (-1): of which class it would be is not kept.
        """
        landmarks = self.landmarks[:, None]
        out = (head.labels == landmarks) & (landmarks >= 0)
        out |= np.isin(head.labels, database.gone)
        order = np.argsort(out, axis=1, kind="stable")
        out = np.take_along_axis(out, order, axis=1)
        labels, scores, probabilities = (
            np.take_along_axis(array, order, axis=1)
            for array in (head.labels, head.scores, head.probabilities)
        )
        return HeadScores(
            np.where(out, -1, labels),
            np.where(out, np.float32(0), scores),
            np.where(out, np.float32(0), probabilities),
        )
