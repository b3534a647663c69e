"""Stage `evaluate`: score a submission, a run's or anybody's.

Reads submission.csv and solution.csv; of a run also predictions.parquet, for the figures of each
step, and the manifests, for the seconds. Writes metrics.json of a run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from classify_head.gap import Answers, summary
from classify_head.submission import (
    Solution,
    Submission,
    load_solution,
    load_submission,
    match_answers,
)
from index.metrics import recall_at_k

from .artifacts import load_manifest, write_json
from .dataset import Dataset

STEPS = ("head_only", "knn", "reranked", "final")
RECALL_AT = (1, 5, 10, 20)
STAGES = ("model", "embeddings/*", "features/*", "index", "decision", "submit")


def evaluate_files(submission: Path, solution: Path) -> dict[str, Any]:
    """Return the figures of a submission against a solution. Errors are those of the readers."""
    return summary(match_answers(load_submission(submission), load_solution(solution)))


def evaluate_run(run: Path, dataset: Dataset) -> dict[str, Any]:
    """Score the submission of a run and each step before it; write metrics.json.

    Raises:
        FileNotFoundError: the dataset has no solution, or the run no submission.
    """
    path = dataset.find_table("solution")
    if path is None:
        raise FileNotFoundError(
            f"{dataset.folder} has no solution.csv (columns id,landmarks), so there is nothing to "
            "score against"
        )
    if load_manifest(run / "submit") is None or not (run / "submission.csv").is_file():
        raise FileNotFoundError(f"no finished submission in {run}; run `cairn submit --run {run}`")
    solution = load_solution(path)
    metrics = evaluate_files(run / "submission.csv", path)
    steps = _answers_by_step(run, solution)
    metrics["recall_at_k"] = _recall(run, solution)
    metrics["steps"] = {name: summary(answers) for name, answers in steps.items()}
    trained = set(dataset.load_split("train").landmark_ids.tolist())
    metrics["unseen"] = _score_unseen(steps, trained)
    metrics["seconds"] = _stage_seconds(run)
    write_json(metrics, run / "metrics.json")
    return metrics


def _answers_by_step(run: Path, solution: Solution) -> dict[str, Answers]:
    table = pq.read_table(run / "predictions.parquet")
    ids = tuple(table["query_id"].to_pylist())
    return {
        name: match_answers(
            Submission(
                ids,
                table[f"{name}_label"].to_numpy(),
                table[f"{name}_confidence"].to_numpy(),
            ),
            solution,
        )
        for name in STEPS
    }


def _score_unseen(steps: Mapping[str, Answers], trained: set[int]) -> dict[str, Any] | None:
    """Return GAP by step with the queries of trained landmarks left out; None if none remain."""
    some = next(iter(steps.values()))
    keep = np.array([not truth or not truth <= trained for truth in some.truths], dtype=bool)
    unseen = sum(bool(truth) for truth, kept in zip(some.truths, keep, strict=True) if kept)
    if not unseen:
        return None
    figures: dict[str, Any] = {"n_landmark": unseen, "n_queries": int(keep.sum())}
    for name, answers in steps.items():
        figures[name] = summary(_take(answers, keep))["gap"]
    return figures


def _take(answers: Answers, keep: Any) -> Answers:
    rows = np.flatnonzero(keep)
    return Answers(
        tuple(answers.query_ids[row] for row in rows),
        answers.predicted[rows],
        answers.confidence[rows],
        tuple(answers.truths[row] for row in rows),
    )


def _recall(run: Path, solution: Solution) -> dict[str, float]:
    """Return recall@k of the nearest neighbours, over scored landmark queries."""
    table = pq.read_table(run / "neighbors.parquet")
    truths = {
        query_id: truth
        for query_id, truth, usage in zip(
            solution.query_ids, solution.truths, solution.usages, strict=True
        )
        if truth and usage != "Ignored"
    }
    order = {query_id: row for row, query_id in enumerate(truths)}
    ranked = np.full((len(order), max(RECALL_AT)), -1, dtype=np.int64)
    columns = (table[name].to_pylist() for name in ("query_id", "rank", "landmark_id"))
    for query_id, rank, label in zip(*columns, strict=True):
        if query_id in order and rank < ranked.shape[1]:
            ranked[order[query_id], rank] = label
    fetched = max(table["rank"].to_pylist(), default=0) + 1
    sets = list(truths.values())
    return {str(k): recall_at_k(ranked, sets, k) for k in RECALL_AT if k <= fetched}


def _stage_seconds(run: Path) -> dict[str, float]:
    """Return the seconds that each artifact took when it was made."""
    seconds = {}
    for pattern in STAGES:
        for folder in sorted(run.glob(pattern)):
            if manifest := load_manifest(folder):
                seconds[str(folder.relative_to(run))] = round(manifest.seconds, 2)
    return seconds
