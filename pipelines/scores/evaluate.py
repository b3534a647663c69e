"""Stage `evaluate`: score a submission, a run's or anybody's, and say what explains the score.

Reads submission.csv and solution.csv, or the ground truth of revisited Oxford and Paris
(`revisited_figures`); of a run also predictions.parquet, for the figures of each
step and the answers given, neighbors.parquet and verified.parquet, decision/decision.json, and the
manifests, for the seconds. Writes metrics.json of a run, and near_duplicates.csv if it has any.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from classify_head.answers import NO_LANDMARK, Answers
from classify_head.coverage import measure_threshold, risk_coverage
from classify_head.gap import gap, summary
from classify_head.label_scores import Choice
from classify_head.promise import Promise, describe
from classify_head.reliability import brier_score, reliability_bins
from classify_head.settings import DecideSettings
from classify_head.submission import Solution, load_solution, load_submission, match_answers
from embed.columns import find_places, read_parquet, to_array, to_column
from embed.errors import MissingFileError
from index.metrics import map_at_100, recall_at_k
from pipelines.answers.decision import load_decision_values
from pipelines.answers.live import load_live
from pipelines.artifacts import load_manifest, write_json
from pipelines.datasets.dataset import Dataset
from pipelines.runs.integrity import SUBMISSION, intact_output
from pipelines.sources.revisited.truth import NAME

from .near_duplicates import find_near_duplicates, write_near_duplicates

STEPS = ("head_only", "knn", "reranked", "final")
RECALL_AT = (1, 5, 10, 20)
RETRIEVED = 100  # neighbours that mAP@100 looks at
BATCH = 1 << 20  # neighbours that are read at a time
STAGES = (
    *("members/*/model", "members/*/embeddings/*", "model", "delf", "embeddings/*", "features/*"),
    *("index", "decision", "submit"),
)
CALIBRATION = ("expected_calibration_error", "maximum_calibration_error", "brier_score")


def evaluate_files(submission: Path, solution: Path) -> dict[str, Any]:
    """Return the figures of a submission against a solution. Errors are those of the readers."""
    answers = match_answers(*load_submission(submission), load_solution(solution))
    return {**summary(answers), **measure_confidence(answers)}


def evaluate_run(run: Path, dataset: Dataset) -> dict[str, Any]:
    """Score a run by its dataset's solution, published ground truth, or both; write metrics.json.

    Raises:
        MissingFileError: the dataset has neither, or the run is not finished.
        ValueError: the run is of other data.
    """
    metrics: dict[str, Any] = {}
    if dataset.find_table("solution") or not has_ground_truth(dataset):
        metrics = _score_submission(run, dataset)
    if has_ground_truth(dataset):
        from .revisited import revisited_figures  # faiss, which other runs are scored without

        metrics["revisited"] = revisited_figures(run, dataset)
    metrics["seconds"] = _stage_seconds(run)
    write_json(metrics, run / "metrics.json")
    return metrics


def has_ground_truth(dataset: Dataset) -> bool:
    """Tell whether a dataset was made of revisited Oxford or Paris."""
    return (dataset.folder / f"{NAME}.parquet").is_file()


def can_evaluate(dataset: Dataset) -> bool:
    """Tell whether a dataset has anything to score a run by."""
    return dataset.find_table("solution") is not None or has_ground_truth(dataset)


def _score_submission(run: Path, dataset: Dataset) -> dict[str, Any]:
    """Return the figures of the submission of a run and of each step before it."""
    solution = dataset.solution
    answers = match_answers(*load_submission(find_submission(run)), solution)
    metrics = {**summary(answers), **measure_confidence(answers)}
    steps = load_steps(run, solution)
    metrics["operating_point"] = _measure_given(run, solution)
    metrics["near_duplicates"] = _leave_near_duplicates_out(run, steps["final"])
    metrics["recall_at_k"] = _recall(run, solution)
    metrics["map_at_100"] = _retrieval(run, solution)
    metrics["steps"] = {name: summary(answers) for name, answers in steps.items()}
    metrics["unseen"] = None
    if dataset.find_table("train"):
        trained = set(dataset.load_split("train").landmark_ids.tolist())
        metrics["unseen"] = _score_unseen(steps, trained)
    return metrics


def find_submission(run: Path) -> Path:
    """Return where a run's submission is.

    Raises:
        MissingFileError: it is not finished.
        InputError: it is not as it was written.
    """
    if load_manifest(run / "submit") is None:
        raise MissingFileError(f"no finished submission in {run}; run `cairn submit --run {run}`")
    return intact_output(run, SUBMISSION)


def load_steps(run: Path, solution: Solution) -> dict[str, Answers]:
    """Return what each of the STEPS of a finished run answers. Errors are those of matching."""
    table = read_parquet(intact_output(run, "predictions.parquet"))
    return {
        name: _match_columns(table, f"{name}_label", f"{name}_confidence", solution)
        for name in STEPS
    }


def measure_confidence(answers: Answers) -> dict[str, Any]:
    """Return what the confidences are worth: as an order, and as probabilities.

    Returns:
        risk_coverage_area (AURC) and what of it the order costs, excess_risk_coverage_area, over
        all queries; the CALIBRATION figures over the answered ones, distractors among them, an
        answer to which is wrong; calibration_note, why these are None, "" where they are not.
    """
    curve = risk_coverage(answers.correct, answers.given)
    return {
        "risk_coverage_area": curve.area,
        "excess_risk_coverage_area": curve.excess_area,
        **_measure_calibration(answers),
    }


def _measure_calibration(answers: Answers) -> dict[str, Any]:
    answered = answers.labels != NO_LANDMARK
    correct, confidence = answers.correct[answered], answers.confidences[answered]
    note = ""
    if not len(confidence):
        note = "no query is answered"
    elif confidence.min() < 0 or confidence.max() > 1:
        low, high = confidence.min(), confidence.max()
        note = f"confidences lie between {low:.4g} and {high:.4g}: no probabilities"
    if note:
        return {**dict.fromkeys(CALIBRATION), "calibration_note": note}
    bins = reliability_bins(correct, confidence)
    figures = (bins.expected_error, bins.maximum_error, brier_score(correct, confidence))
    return {**dict(zip(CALIBRATION, figures, strict=True)), "calibration_note": ""}


def _measure_given(run: Path, solution: Solution) -> dict[str, Any]:
    """Return precision and coverage of the answers that are not "no known landmark"."""
    table = read_parquet(intact_output(run, "predictions.parquet"))
    answers = _match_columns(table, "landmark_id", "confidence", solution)
    given = answers.labels != NO_LANDMARK
    # Every answer that is left was given, whatever rule of the policy it passed.
    point = measure_threshold(answers.correct, answers.given, -math.inf)
    landmarks = int(answers.has_landmark.sum())
    return {
        "precision": point.precision if point.answered else None,
        "precision_low": point.precision_low,
        "coverage": point.coverage,
        "answered": point.answered,
        "answered_distractors": int((given & ~answers.has_landmark).sum()),
        **load_promised(run, 1 - landmarks / len(answers.query_ids)),
    }


def load_promised(run: Path, test_share: float | None) -> dict[str, Any]:
    """Return the threshold of a run, and the precision that it promises.

    Args:
        run: run folder.
        test_share: how many of the photos that were asked are distractors; None if not known.

    Returns:
        threshold and note of the decision; promised_precision, of the harder kind of distractors,
        if promised_share of the photos are such; promises: for each kind precision, its lower bound
        and coverage, with at_test_share the same if test_share are. None and empty if the
        submission was not made by this threshold.
    """
    values, share = _load_promise(run)
    promises = values.get("promise", {})
    return {
        "threshold": values.get("threshold"),
        "promised_precision": values.get("precision"),
        "promised_share": share,
        "test_share": test_share,
        "promises": {
            kind: _describe_promise(found, share, test_share) for kind, found in promises.items()
        },
        "note": values.get("note", ""),
    }


def _describe_promise(
    found: dict[str, Any] | None, share: float | None, test_share: float | None
) -> dict[str, Any] | None:
    if found is None or share is None:
        return None
    promise = Promise.from_json(found)
    at_test = None if test_share is None else describe(promise, test_share)
    return {**describe(promise, share), "at_test_share": at_test}


def _load_promise(run: Path) -> tuple[dict[str, Any], float | None]:
    """Return decision.json, and the share of distractors that it promises for.

    Nothing if the submission was not made by its threshold.
    """
    decided, submitted = load_manifest(run / "decision"), load_manifest(run / "submit")
    if not decided or not submitted:
        return {}, None
    made_by = submitted.settings["decide"]
    if made_by | decided.settings["decide"] != made_by:  # which has most_answers besides
        return {}, None  # the decision was set anew since
    settings = DecideSettings.model_validate(made_by)
    if settings.rejection != "none":
        return {}, None  # the policy has a rule of its own
    return load_decision_values(run), settings.distractor_share


def _leave_near_duplicates_out(run: Path, answers: Answers) -> dict[str, Any]:
    """Return how many queries the database holds already, and GAP without these; list them."""
    names = ("verified.parquet", "neighbors.parquet")
    pairs, criterion = find_near_duplicates(*(intact_output(run, name) for name in names))
    write_near_duplicates(pairs, run / "near_duplicates.csv")
    found = {pair.query_id for pair in pairs}
    kept = answers.take(np.array([query_id not in found for query_id in answers.query_ids], bool))
    return {
        "queries": len(found),
        "criterion": criterion,
        "gap_without": gap(kept) if kept.has_landmark.any() else None,
    }


def _match_columns(table: pa.Table, label: str, confidence: str, solution: Solution) -> Answers:
    labels = [NO_LANDMARK if x is None else x for x in table[label].to_pylist()]
    choice = Choice(np.array(labels, np.int64), to_array(table[confidence]))
    return match_answers(table["query_id"].to_pylist(), choice, solution)


def _score_unseen(steps: Mapping[str, Answers], trained: set[int]) -> dict[str, Any] | None:
    """Return GAP by step with the queries of trained landmarks left out; None if none remain."""
    some = next(iter(steps.values()))
    keep = [not truth or not truth <= trained for truth in some.truths]
    unseen = sum(bool(truth) for truth, kept in zip(some.truths, keep, strict=True) if kept)
    if not unseen:
        return None
    figures: dict[str, Any] = {"n_landmark": unseen, "n_queries": sum(keep)}
    for name, answers in steps.items():
        figures[name] = gap(answers.take(np.array(keep, bool)))
    return figures


def _recall(run: Path, solution: Solution) -> dict[str, float]:
    """Return recall@k of the nearest neighbours, over scored landmark queries."""
    path, most, truths = intact_output(run, "neighbors.parquet"), max(RECALL_AT), _scored(solution)
    # Images of the predicted class may stand behind the neighbours.
    fetched = min(_count_ranks(path), _count_neighbors(run))
    ranked = read_ranked(path, list(truths), most)
    sets = list(truths.values())
    return {str(k): recall_at_k(ranked, sets, k) for k in RECALL_AT if k <= fetched}


def _retrieval(run: Path, solution: Solution) -> float | None:
    """Return mAP@100 of the neighbours, over scored queries whose landmark the database shows.

    All its images of the query's landmarks are to be found, as in the retrieval track of Google
    Landmarks. None where fewer neighbours were looked for, there is no such query, or no index.
    """
    if load_manifest(run / "index") is None:
        return None
    path, truths = intact_output(run, "neighbors.parquet"), _scored(solution)
    images = load_live(run, {}).table
    relevant = {
        query_id: np.concatenate([images.rows_of_landmark(label) for label in truth]).tolist()
        for query_id, truth in truths.items()
    }
    relevant = {query_id: rows for query_id, rows in relevant.items() if rows}
    if not relevant or _count_neighbors(run) < min(RETRIEVED, len(images.by_landmark)):
        return None
    ranked = np.full((len(relevant), RETRIEVED), -1, dtype=np.int64)
    for places, ranks, ids in _read_ranks(path, list(relevant), RETRIEVED, "image_id"):
        rows = images.rows_of(ids)
        ranked[places, ranks] = np.where(rows < 0, len(images), rows)  # not there any more: no hit
    return map_at_100(ranked, list(relevant.values()))


def _scored(solution: Solution) -> dict[str, frozenset[int]]:
    """Return the landmarks of the queries that show one and count."""
    queries = zip(solution.query_ids, solution.truths, solution.usages, strict=True)
    return {query_id: truth for query_id, truth, usage in queries if truth and usage != "Ignored"}


def read_ranked(path: Path, query_ids: Sequence[str], most: int) -> NDArray[np.int64]:
    """Return the landmarks [Q, most] of the neighbours of some queries, the nearest first.

    Args:
        path: of neighbors.parquet.
        query_ids: [Q]; of one that is not in the file all is padding, -1.
        most: neighbours of a query that are read.
    """
    ranked = np.full((len(query_ids), most), -1, dtype=np.int64)
    for places, ranks, labels in _read_ranks(path, query_ids, most, "landmark_id"):
        ranked[places, ranks] = to_array(labels)
    return ranked


def _read_ranks(
    path: Path, query_ids: Sequence[str], most: int, column: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], pa.Array]]:
    """Yield the places of queries, the ranks and a column of some neighbours at a time."""
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(BATCH, columns=["query_id", "rank", column]):
            places, ranks = find_places(rows["query_id"], query_ids), to_array(rows["rank"])
            wanted = np.flatnonzero((places >= 0) & (ranks < most))
            yield places[wanted], ranks[wanted], rows[column].take(to_column(wanted))


def _count_ranks(path: Path) -> int:
    """Return the neighbours of the query that has most."""
    with pq.ParquetFile(path) as file:
        ranks = to_array(file.read(columns=["rank"])["rank"])
    return int(ranks.max(initial=-1)) + 1


def _count_neighbors(run: Path) -> int:
    """Return how many neighbours the submission of a run looked at."""
    manifest = load_manifest(run / "submit")
    assert manifest is not None  # find_submission has seen it
    return int(manifest.settings["search"]["neighbors"])


def _stage_seconds(run: Path) -> dict[str, float]:
    """Return the seconds that each artifact took when it was made."""
    seconds = {}
    for pattern in STAGES:
        for folder in sorted(run.glob(pattern)):
            if folder.is_symlink():  # model/ of an ensemble: one of its members'
                continue
            if manifest := load_manifest(folder):
                seconds[str(folder.relative_to(run))] = round(manifest.seconds, 2)
    return seconds
