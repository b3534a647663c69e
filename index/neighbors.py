"""The record of a search: for each query the rows of its nearest database images."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The K nearest database rows of Q queries, best first.

    Padding, where the database has fewer than K rows: row -1, score -inf, at the end.
    """

    rows: NDArray[np.int64]  # [Q, K] rows of the database, or -1
    scores: NDArray[np.float32]  # [Q, K] cosine, plain or refined, descending

    def __post_init__(self) -> None:
        """Raise ValueError for shapes, an order or a padding other than documented."""
        if self.rows.shape != self.scores.shape or self.rows.ndim != 2:
            raise ValueError(f"rows {self.rows.shape} and scores {self.scores.shape}, want [Q, K]")
        if (self.scores[:, 1:] > self.scores[:, :-1]).any() or np.isnan(self.scores).any():
            raise ValueError("scores must descend and be no nan")
        if ((self.rows < 0) != np.isneginf(self.scores)).any():
            raise ValueError("a padded row must be -1 with score -inf, and no other may be")

    def __len__(self) -> int:
        """Return Q."""
        return len(self.rows)

    def first(self, count: int) -> Self:
        """Return the first neighbours of each query."""
        return type(self)(self.rows[:, :count], self.scores[:, :count])
