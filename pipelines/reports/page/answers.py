"""Read what a run answered to the test photos, beside what is true where that is known.

Reads predictions.parquet, further.parquet where there is one, and the failures of a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from classify_head.answers import NO_LANDMARK, Answers
from classify_head.submission import IGNORED, Solution
from embed.errors import InputError
from pipelines.answers.open_run import load_split_failures
from pipelines.runs.artifact import FURTHER
from pipelines.runs.integrity import has_file, intact_output


@dataclass(frozen=True, eq=False)
class RunAnswers:
    """The final answers of a run to Q photos, with a solution to those that it scores."""

    answers: Answers  # as submitted; without a solution no photo has a true landmark
    guesses: NDArray[np.int64]  # [Q] the likeliest landmark, submitted or not; -1 for none
    given: NDArray[np.bool_]  # [Q] False where a user is told "no known landmark"
    reasons: tuple[str, ...]  # [Q] why that is; empty where an answer is given
    unread: tuple[tuple[str, str], ...]  # id and reason of photos that could not be read
    has_solution: bool
    # By query id: landmark and confidence of what else is in the photo, in their order.
    further: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)


def read_answers(run: Path, solution: Solution | None) -> RunAnswers:
    """Read the answers of a run.

    Raises:
        InputError: the solution scores a photo that the run was not asked about; or a file is
            damaged.
    """
    table = pq.read_table(intact_output(run, "predictions.parquet"))
    rows = {row["query_id"]: row for row in table.to_pylist()}
    truths = dict.fromkeys(rows, frozenset[int]()) if solution is None else _scored(solution)
    strange = sorted(truths.keys() - rows.keys())
    if strange:
        raise InputError(
            f"{run} has no answer to {len(strange)} of the {len(truths)} photos that the solution "
            f"scores, the first is '{strange[0]}'; run `cairn submit --run {run}` again"
        )
    ids = sorted(truths)
    kept = [rows[query_id] for query_id in ids]
    answers = Answers.from_rows(
        (query_id, row["final_label"], row["final_confidence"], truths[query_id])
        for query_id, row in zip(ids, kept, strict=True)
    )
    guesses = np.array([-1 if row["guess"] is None else row["guess"] for row in kept], np.int64)
    failures = load_split_failures(run, "test")
    return RunAnswers(
        answers,
        np.where(answers.labels == NO_LANDMARK, guesses, answers.labels),
        np.array([row["landmark_id"] is not None for row in kept], dtype=np.bool_),
        tuple(row["reason"] or "" for row in kept),
        tuple((image_id, reason) for image_id, (reason, _) in sorted(failures.items())),
        solution is not None,
        _read_further(run),
    )


def _read_further(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the further answers by query; none where a run was asked for one answer a photo."""
    found: dict[str, list[tuple[int, float]]] = {}
    if has_file(run / "submit", f"../{FURTHER}"):
        for row in pq.read_table(intact_output(run, FURTHER)).to_pylist():  # in their order
            found.setdefault(row["query_id"], []).append((row["landmark_id"], row["confidence"]))
    return found


def _scored(solution: Solution) -> dict[str, frozenset[int]]:
    triples = zip(solution.query_ids, solution.truths, solution.usages, strict=True)
    return {query_id: truth for query_id, truth, usage in triples if usage != IGNORED}


def spread(confidences: Sequence[float], count: int) -> list[int]:
    """Return the rows of queries from the surest to the least sure, evenly spread.

    >>> spread([0.1, 0.9, 0.5, 0.7, 0.3], 3)
    [1, 2, 0]
    """
    order = np.argsort(-np.asarray(confidences), kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [int(order[place]) for place in dict.fromkeys(places.tolist())]
