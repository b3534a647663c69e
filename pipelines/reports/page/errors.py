"""Say what each wrong answer costs, and pick the queries that are worth a look.

Answers in, rows out: knows no run, no name and no picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from classify_head.answers import NO_LANDMARK, Answers

Kind = Literal["wrong label", "distractor", "no answer", "ranked too low"]


@dataclass(frozen=True)
class Error:
    """A query whose answer costs or loses some of the Global Average Precision."""

    row: int  # of the answers
    kind: Kind
    lost: float  # GAP, > 0
    wrong_above: int  # wrong answers that are surer than this one


def list_errors(answers: Answers) -> list[Error]:
    """Return every error, the dearest first; equal ones by query id.

    A wrong answer costs what its query could have added, 1 / M, unless it shows no landmark, and
    1 / i / M at each right answer below it, which stands at rank i; a missing answer costs 1 / M.
    These sum to 1 - GAP. A right answer below wrong ones loses what they take from it: the same
    GAP, seen from the other side.

    Args:
        answers: at least one shows a landmark.

    Example: the distractor takes half of the right answer below it.

        >>> rows = [("a", 7, 0.9, []), ("b", 4, 0.5, [4, 5]), ("c", -1, 0.0, [6])]
        >>> [(error.kind, error.lost) for error in list_errors(Answers.from_rows(rows))]
        [('no answer', 0.5), ('distractor', 0.25), ('ranked too low', 0.25)]
    """
    ranking = answers.ranking
    right = answers.correct[ranking]
    above = np.cumsum(~right)
    lost = _lost_by_rank(right, answers.has_landmark[ranking]) / int(answers.has_landmark.sum())
    errors = [
        Error(
            row,
            _kind(answers, row),
            float(lost[rank]),
            int(above[rank]) - (not right[rank]),
        )
        for rank, row in enumerate(ranking.tolist())
        if lost[rank] > 0
    ]
    each = 1 / int(answers.has_landmark.sum())
    silent = np.flatnonzero((answers.labels == NO_LANDMARK) & answers.has_landmark)
    errors += [Error(int(row), "no answer", each, 0) for row in silent]
    return sorted(errors, key=lambda error: (-error.lost, answers.query_ids[error.row]))


def pick_errors(errors: Sequence[Error], count: int, *, of_each: int = 2) -> list[Error]:
    """Return the dearest errors, and of every kind a few: one kind alone would hide the others.

    Args:
        errors: the dearest first.
        count: how many to return, if there are so many.
        of_each: how many of each kind there are to be, where there is room.
    """
    places: dict[Kind, int] = {}
    urgency = []
    for order, error in enumerate(errors):
        places[error.kind] = places.get(error.kind, 0) + 1
        urgency.append((places[error.kind] > of_each, order))
    return [errors[order] for order in sorted(order for _, order in sorted(urgency)[:count])]


def pick_surest(
    confidences: NDArray[np.float64], labels: NDArray[np.int64], count: int
) -> list[int]:
    """Return the rows of the surest answers, one a label, surest first."""
    seen: set[int] = set()
    rows: list[int] = []
    for row in np.argsort(-confidences, kind="stable").tolist():
        if len(rows) < count and labels[row] != NO_LANDMARK and int(labels[row]) not in seen:
            seen.add(int(labels[row]))
            rows.append(row)
    return rows


def _lost_by_rank(right: NDArray[np.bool_], landmark: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return [N] what each answer of one ranked list costs (wrong) or loses (right), times M."""
    ranks = np.arange(1, len(right) + 1)
    taken = np.cumsum((right / ranks)[::-1])[::-1]  # by a wrong answer at this rank
    return np.where(right, np.cumsum(~right) / ranks, landmark + taken)


def _kind(answers: Answers, row: int) -> Kind:
    """Return the kind of an answered query's error."""
    if answers.correct[row]:
        return "ranked too low"
    return "wrong label" if answers.has_landmark[row] else "distractor"
