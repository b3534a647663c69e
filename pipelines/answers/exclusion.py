"""Say which images of a database are excluded from the search of a query, as in leave-one-out.

From that of a photo of the database itself; or all of its landmark, so that it is a photo of a
landmark that the database does not have. Arrays in, arrays out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embed.head_scores import HeadScores

from .database import Database

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Exclusion:
    """The images of a database that the searches of Q queries leave out."""

    rows: Ints  # [Q] the row of the query itself; -2 for none
    landmarks: Ints  # [Q] all images of this landmark; -1 for none

    @classmethod
    def none(cls, count: int) -> Self:
        """Exclude nothing from the searches of so many queries."""
        return cls(np.full(count, -2, dtype=np.int64), np.full(count, -1, dtype=np.int64))

    @classmethod
    def own_rows(cls, ids: Sequence[str], database: Database) -> Self:
        """Exclude each query itself, where it is in the database."""
        rows = [database.row_of.get(image_id, -2) for image_id in ids]
        return cls(np.array(rows, dtype=np.int64), np.full(len(ids), -1, dtype=np.int64))

    def mark(self, rows: Ints, database: Database) -> NDArray[np.bool_]:
        """Return which rows [Q, K] are excluded for their query; padding, -1, is not."""
        labels = np.append(database.landmark_ids, -1)[rows]
        landmarks = self.landmarks[:, None]
        return np.asarray((rows == self.rows[:, None]) | ((labels == landmarks) & (landmarks >= 0)))

    def max_images(self, database: Database) -> int:
        """Return how many images, at most, are excluded for one query."""
        of_landmarks = database.class_sizes[np.isin(database.landmark_ids, self.landmarks)]
        return int(max((self.rows >= 0).max(initial=False), of_landmarks.max(initial=0)))

    def mask_head(self, head: HeadScores) -> HeadScores:
        """Return the scores of a head that does not know the landmarks; others move up.

        The last place is then empty (-1): of which class it would be is not kept.
        """
        landmarks = self.landmarks[:, None]
        out = (head.labels == landmarks) & (landmarks >= 0)
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
