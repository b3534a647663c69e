"""Stage `decide`: known queries to how evidence becomes an answer.

Known queries are searched like any other, and once more without their landmark. The calibrated
policy is fitted on them; for every policy they set the confidence below which the answer is "no
known landmark". Reads index/, features/ and embeddings/. Writes decision/: decision.json,
known_queries.parquet (the answer to each, by a model that did not see it), manifest.json. Removes
reliability.png (`plots`), which shows the decision before.
"""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classify_head.answers import Answers, as_truths
from classify_head.calibration import CalibratedFusion, fit_calibration
from classify_head.evidence import Evidence
from classify_head.label_scores import Choice
from classify_head.promise import DISTRACTORS, FEW, POOL, describe
from classify_head.thresholds import probability_threshold, share_threshold
from embed.files import writing
from pipelines.answers.decision import Decision, Point, choose_point, measure_point
from pipelines.answers.extras import make_extras
from pipelines.answers.open_run import open_retriever
from pipelines.artifacts import Manifest, invalidate, record_file, write_json
from pipelines.runs.artifact import Artifact
from pipelines.runs.job import Job
from pipelines.runs.recipe import Recipe

from .calibration_set import CalibrationSet, build_calibration_set
from .known_queries import load_known_queries
from .plots import RELIABILITY

logger = logging.getLogger(__name__)


def set_decision(artifact: Artifact, indexed: Manifest) -> Manifest:
    """Fit the decision of a run whose index, features and pool are there."""
    job, folder = artifact.job, artifact.folder
    invalidate(folder)
    (folder / RELIABILITY).unlink(missing_ok=True)
    model, known = _answer_known(job, indexed)
    point = _choose_point(job.recipe, known)
    note = _note(known, point)
    if note:
        logger.warning(note)
    counts = {kind: int((known.kinds == kind).sum()) for kind in DISTRACTORS}
    values = {
        "model": model.to_json() if model else None,
        "note": note,
        "known_queries": len(set(known.query_ids)),
        "distractors": counts[POOL],
        **_point_values(point),
    }
    write_json(values, folder / "decision.json")
    _write_known(known, folder / "known_queries.parquet")
    outputs = [folder / name for name in ("decision.json", "known_queries.parquet")]
    return artifact.sign([record_file(path) for path in outputs], model=indexed.model)


def _answer_known(job: Job, indexed: Manifest) -> tuple[CalibratedFusion | None, Answers]:
    """Ask the known queries; return the model of the calibrated policy and the answers."""
    recipe = job.recipe
    fingerprint = str(indexed.model["fingerprint"])
    retriever = open_retriever(job.run, recipe, fingerprint, job.dataset.names, changes=False)
    queries = load_known_queries(job)
    # Where the policy rejects by a rule of its own, there is nothing to be set by it.
    twice = recipe.decide.rejection == "none"
    calibration_set = build_calibration_set(queries.embeddings, retriever.database, twice=twice)
    neighbors, evidence = calibration_set.gather(queries, retriever)
    # Photos of one occasion are often in the database together, and nobody will ask with one more.
    near_copies = evidence.overlaps > recipe.decide.max_overlap
    evidence = evidence.without(near_copies)
    if recipe.decide.policy != "calibrated":
        policy = recipe.decide.make_policy()
        order = np.argsort(near_copies, axis=1, kind="stable")  # as `without` moves neighbours
        rows = np.take_along_axis(np.where(near_copies, -1, neighbors.rows), order, axis=1)
        vectors = calibration_set.queries.vectors
        extras = make_extras(policy, retriever.database, vectors, rows, calibration_set.excluded)
        decisions = Decision(recipe, None, -math.inf).answer(evidence, extras)
        return None, _beside_truths(decisions.guesses, calibration_set)
    model, choice = fit_known(evidence, calibration_set, recipe)
    if not model.fitted:
        logger.warning(
            "too few photos with a known answer that the model was not trained on, so confidences "
            "are those of other data; they say which answers are surer, not how often they are "
            "right"
        )
    return model, _beside_truths(choice, calibration_set)


def _beside_truths(choice: Choice, calibration_set: CalibrationSet) -> Answers:
    queries, kinds = calibration_set.queries, calibration_set.kinds
    truths = as_truths(queries.landmark_ids)
    return Answers(choice.labels, choice.confidences, queries.ids, truths, kinds)


def fit_known(
    evidence: Evidence, calibration_set: CalibrationSet, recipe: Recipe
) -> tuple[CalibratedFusion, Choice]:
    """Fit the calibrated policy on a calibration set, as a recipe says; as fit_calibration."""
    return fit_calibration(
        *(evidence, calibration_set.queries.landmark_ids, calibration_set.kinds),
        features=recipe.decide.features,
        distractor_share=recipe.decide.distractor_share,
        seed=recipe.train.seed,
    )


def _note(known: Answers, point: Point) -> str:
    """Return what the user should know about the distractors; mostly nothing."""
    pool = int((known.kinds == POOL).sum())
    if not point.promises:
        return (
            "nothing is known of photos without a landmark, so it is not known what the answer to "
            f"one looks like: answers are given from confidence {point.threshold:.2f} on; list "
            "some in non_landmark.csv"
        )
    if 0 < pool < FEW:
        return (
            f"only {pool} photos without a landmark say how often other things get an answer: half "
            f"of non_landmark.csv (a folder _none); have {4 * FEW} or more there"
        )
    return ""


def _choose_point(recipe: Recipe, known: Answers) -> Point:
    """Return the confidence that answers must reach, and what it promises."""
    settings, share = recipe.decide, recipe.decide.distractor_share
    if settings.min_precision is not None:
        return choose_point(known, settings.min_precision, share)
    calibrated = settings.policy == "calibrated"
    if known.has_landmark.all():
        threshold = 0.0 if calibrated else settings.reject_below
    elif calibrated:
        threshold = probability_threshold(*known.judged, share, settings.least_probability)
    else:
        threshold = share_threshold(known.confidences, known.kinds, settings.reject_share)
    return measure_point(known, threshold, share)


def _point_values(point: Point) -> dict[str, Any]:
    """Return an operating point as JSON can say it; infinity and nan become null."""
    promises = {
        kind: promise.to_json(point.share) if promise else None
        for kind, promise in ((kind, point.promises.get(kind)) for kind in DISTRACTORS)
    }
    return {
        "threshold": point.threshold if math.isfinite(point.threshold) else None,
        **describe(point.harder, point.share),
        "promise": promises,
    }


def _write_known(known: Answers, path: Path) -> None:
    table = pa.table(
        {
            "query_id": pa.array(known.query_ids, pa.string()),
            "kind": pa.array(known.kinds.tolist(), pa.string()),
            "truth": known.first_truths,
            "landmark_id": known.labels,
            "confidence": known.confidences,
        }
    )
    with writing(path) as temporary:
        pq.write_table(table, temporary)
