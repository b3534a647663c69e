"""Set how evidence becomes an answer: calibrated probabilities, and where "not known" begins.

Known queries are asked like any other, and once more without their landmark. The calibrated policy
is fitted on them; for every policy they set the confidence below which the answer is "no known
landmark". Reads index/, features/ and embeddings/. Writes decision/: decision.json,
known_queries.parquet (the answer to each, by a model that did not see it), manifest.json; then
reliability.png, which no stage needs.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from classify_head.calibration import CalibratedFusion, Calibration, fit_calibration
from classify_head.evidence import Evidence
from classify_head.extras import Extras
from classify_head.policies import Decisions, decide
from classify_head.policy import Policy, adjust
from classify_head.promise import (
    DISTRACTORS,
    FEW,
    POOL,
    REMOVED,
    Kinds,
    Promise,
    describe,
    measure_promise,
    measure_promises,
    pick_harder,
)
from classify_head.reliability import reliability_bins
from classify_head.thresholds import precise_threshold, probability_threshold, share_threshold
from embed.columns import read_parquet, to_array
from embed.errors import MissingFileError
from embed.files import writing
from pipelines.artifacts import Manifest, invalidate, load_manifest, record_file, write_json
from pipelines.decorations import draw_missing
from pipelines.runs.artifact import Artifact
from pipelines.runs.integrity import intact_file
from pipelines.runs.job import Job
from pipelines.runs.recipe import Recipe, change_recipe

from .database import Database
from .extras import make_extras
from .open_run import open_recognizer

if TYPE_CHECKING:
    from pipelines.stages.askings import Askings

logger = logging.getLogger(__name__)

PLOT = "reliability.png"


NO_EXTRAS = Extras()
# Among which photos a promise holds; the share is that of distractors.
AMONG = {
    "": "of photos of known landmarks alone",
    POOL: "if {:.0%} of the photos show other things, like the pool",
    REMOVED: "if {:.0%} of the photos show landmarks that the database lacks",
}


@dataclass(frozen=True)
class Answered:
    """The known queries, each asked once or twice, and what was answered."""

    ids: tuple[str, ...]  # [A]; of a photo that is asked twice, twice
    kinds: Kinds  # [A] of promise.py
    truths: NDArray[np.int64]  # [A]; -1 for a distractor
    labels: NDArray[np.int64]  # [A]; -1 for no answer
    confidences: NDArray[np.float64]  # [A]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right [A]; the answer to a distractor never is."""
        return np.asarray((self.labels == self.truths) & (self.labels >= 0))

    @property
    def given(self) -> NDArray[np.float64]:
        """The confidences [A], -inf where there is no answer at all."""
        return np.where(self.labels < 0, -np.inf, self.confidences)

    @property
    def judged(self) -> tuple[NDArray[np.bool_], NDArray[np.float64], Kinds]:
        """What thresholds and promises are measured by."""
        return self.correct, self.given, self.kinds


def tell_promise(figures: Mapping[str, Any], share: float, kind: str) -> str:
    """Say what `classify_head.promise.describe` found at a share of distractors of one kind."""
    if figures["precision"] is None:
        return f"{AMONG[kind].format(share)}: no answer"
    shares = figures["coverage"], figures["precision"], figures["precision_low"]
    return "{}: {:.0%} get an answer, {:.1%} of these are right (at least {:.1%})".format(
        AMONG[kind].format(share), *shares
    )


@dataclass(frozen=True)
class Point:
    """A threshold, and what it promises for each kind of distractors."""

    threshold: float
    share: float  # of distractors that is promised for
    promises: Mapping[str, Promise]  # by kind of distractors; empty where there is none
    landmarks: Promise  # without any distractor

    @property
    def harder(self) -> Promise:
        """The promise that may be relied on, whatever the distractors are."""
        return pick_harder(self.promises.values() or [self.landmarks], self.share)

    def tell(self) -> str:
        """Say what is promised, for people."""
        found = self.promises or {"": self.landmarks}
        return "; ".join(
            tell_promise(describe(promise, self.share), self.share, kind)
            for kind, promise in found.items()
        )


@dataclass(frozen=True)
class Decision:
    """How a run answers."""

    recipe: Recipe
    model: CalibratedFusion | None  # of the calibrated policy
    threshold: float  # confidence below which the answer is "no known landmark"

    @property
    def policy(self) -> Policy:
        """The recipe's policy; unless it rejects by a rule of its own, with the threshold."""
        policy = self.recipe.decide.make_policy()
        if policy.rejection.name != "none":
            return policy
        rejection = {"name": "threshold", "threshold": self.threshold}
        return adjust(policy, {"rejection": rejection})

    def answer(self, evidence: Evidence, extras: Extras = NO_EXTRAS) -> Decisions:
        """Answer each query by the policy."""
        if self.model:
            extras = replace(extras, calibrated=self.model.decide)
        return decide(evidence, self.policy, extras)


def set_decision(job: Job, indexed: Manifest) -> Manifest:
    """Fit the decision of a run whose index, features and pool are there."""
    folder = job.run / "decision"
    inputs = {"index": indexed.key}
    artifact = Artifact(job, "decision", folder, _settings(job.recipe), inputs, redo=job.redo)
    manifest = artifact.find()
    if manifest is None:
        (folder / PLOT).unlink(missing_ok=True)
        manifest = _make(job, indexed, artifact)
    draw_missing(folder / PLOT, lambda: _plot(job.run))
    return manifest


def _make(job: Job, indexed: Manifest, artifact: Artifact) -> Manifest:
    """Write decision/ and sign it."""
    folder = artifact.folder
    invalidate(folder)
    model, answered = _answer_known(job, indexed)
    point = _choose_point(job.recipe, answered)
    note = _note(answered, point)
    if note:
        logger.warning(note)
    counts = {kind: int((answered.kinds == kind).sum()) for kind in DISTRACTORS}
    values = {
        "model": model.to_json() if model else None,
        "note": note,
        "known_queries": len(set(answered.ids)),
        "distractors": counts[POOL],
        **_point_values(point),
    }
    write_json(values, folder / "decision.json")
    _write_answered(answered, folder / "known_queries.parquet")
    outputs = [folder / name for name in ("decision.json", "known_queries.parquet")]
    return artifact.sign([record_file(path) for path in outputs], model=indexed.model)


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Return the sections of the recipe that the decision belongs to, as JSON reads them back."""
    sections = ("search", "rerank", "decide")
    return {name: getattr(recipe, name).model_dump(mode="json") for name in sections}


def _answer_known(job: Job, indexed: Manifest) -> tuple[CalibratedFusion | None, Answered]:
    """Ask the known queries; return the model of the calibrated policy and the answers."""
    # 1.5 s that a query has no need of
    from pipelines.stages.askings import ask_twice
    from pipelines.stages.known_queries import load_known_queries

    recipe = job.recipe
    recognizer = open_recognizer(job.run, recipe, str(indexed.model["fingerprint"]))
    known = load_known_queries(job)
    # Where the policy rejects by a rule of its own, there is nothing to be set by it.
    twice = recipe.decide.rejection == "none"
    asked = ask_twice(known.embeddings, recognizer.database, twice=twice)
    neighbors, evidence = asked.gather(known, recognizer)
    # Photos of one occasion are often in the database together, and nobody will ask with one more.
    near_copies = evidence.overlaps > recipe.decide.max_overlap
    evidence = evidence.without(near_copies)
    truths = asked.queries.landmark_ids
    if recipe.decide.policy != "calibrated":
        policy = recipe.decide.make_policy()
        order = np.argsort(near_copies, axis=1, kind="stable")  # as `without` moves neighbours
        rows = np.take_along_axis(np.where(near_copies, -1, neighbors.rows), order, axis=1)
        vectors = asked.queries.vectors
        extras = make_extras(policy, recognizer.database, vectors, rows, asked.hidden)
        decided = Decision(recipe, None, -math.inf).answer(evidence, extras)
        answers = decided.guesses, decided.confidences
        return None, Answered(evidence.query_ids, asked.kinds, truths, *answers)
    calibration = fit_known(evidence, asked, recipe)
    if not calibration.model.fitted:
        logger.warning(
            "too few photos with a known answer that the model was not trained on, so confidences "
            "are those of other data; they say which answers are surer, not how often they are "
            "right"
        )
    answers = calibration.labels, calibration.probabilities
    return calibration.model, Answered(evidence.query_ids, asked.kinds, truths, *answers)


def fit_known(evidence: Evidence, asked: "Askings", recipe: Recipe) -> Calibration:
    """Fit the calibrated policy, as a recipe says, on askings and their evidence."""
    return fit_calibration(
        *(evidence, asked.queries.landmark_ids, asked.kinds),
        features=recipe.decide.features,
        distractor_share=recipe.decide.distractor_share,
        seed=recipe.train.seed,
    )


def _note(answered: Answered, point: Point) -> str:
    """Return what the user should know about the distractors; mostly nothing."""
    pool = int((answered.kinds == POOL).sum())
    if not point.promises:
        return (
            "nothing is known of photos without a landmark, so it is not known what the answer to "
            f"one looks like: answers are given from confidence {point.threshold:.2f} on; list "
            "some in non_landmark.csv"
        )
    if 0 < pool < FEW:
        return (
            f"only {pool} photos of non_landmark say how often other things get an answer; have "
            f"{4 * FEW} or more, half of them are used for this"
        )
    return ""


def _choose_point(recipe: Recipe, answered: Answered) -> Point:
    """Return the confidence that answers must reach, and what it promises."""
    settings, share = recipe.decide, recipe.decide.distractor_share
    if settings.min_precision is not None:
        return choose_point(answered, settings.min_precision, share)
    calibrated = settings.policy == "calibrated"
    if not (answered.truths < 0).any():
        threshold = 0.0 if calibrated else settings.reject_below
    elif calibrated:
        threshold = probability_threshold(*answered.judged, share, settings.least_probability)
    else:
        threshold = share_threshold(answered.confidences, answered.kinds, settings.reject_share)
    return _measure(answered, threshold, share)


def _measure(answered: Answered, threshold: float, share: float) -> Point:
    """Return what a threshold promises."""
    promises = measure_promises(*answered.judged, threshold)
    landmarks = measure_promise(*answered.judged, threshold, "")
    return Point(threshold, share, promises, landmarks)


def choose_point(answered: Answered, min_precision: float, share: float) -> Point:
    """Return the threshold at which answers to the known queries are as precise as asked for."""
    threshold = precise_threshold(*answered.judged, share, min_precision)
    if math.isinf(threshold):
        logger.warning(
            "no threshold reaches a precision of %.3f on the known queries: nothing is answered",
            min_precision,
        )
    return _measure(answered, threshold, share)


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


def _write_answered(answered: Answered, path: Path) -> None:
    table = pa.table(
        {
            "query_id": pa.array(answered.ids, pa.string()),
            "kind": pa.array(answered.kinds.tolist(), pa.string()),
            "truth": answered.truths,
            "landmark_id": answered.labels,
            "confidence": answered.confidences,
        }
    )
    with writing(path) as temporary:
        pq.write_table(table, temporary)


def _plot(run: Path) -> None:
    """Draw what the confidences of a decision are worth; nothing without a known query."""
    answered = load_answered(run)
    if not answered.ids:
        return
    from classify_head.plots import plot_reliability  # matplotlib takes a second

    with writing(run / "decision" / PLOT) as temporary:
        bins = reliability_bins(answered.correct, np.clip(answered.confidences, 0, 1))
        plot_reliability(bins, temporary)


def load_answered(run: Path) -> Answered:
    """Read the known queries of a run, and what was answered to them. Errors as intact_file."""
    table = read_parquet(intact_file(run / "decision", "known_queries.parquet"))
    return Answered(
        tuple(table["query_id"].to_pylist()),
        np.array(table["kind"].to_pylist(), dtype=np.str_),
        *(to_array(table[name]) for name in ("truth", "landmark_id", "confidence")),
    )


def load_decision_values(run: Path) -> dict[str, Any]:
    """Return what decision.json of a run says. Errors as intact_file."""
    values: dict[str, Any] = json.loads(intact_file(run / "decision", "decision.json").read_bytes())
    return values


def load_promises(run: Path) -> dict[str, Promise]:
    """Return what a run promises, by the kinds of distractors it knows. Errors as intact_file."""
    promises = load_decision_values(run)["promise"].items()
    return {kind: Promise.from_json(values) for kind, values in promises if values}


def load_decision(run: Path, recipe: Recipe, database: Database) -> Decision:
    """Read how a run answers.

    Raises:
        MissingFileError: stage `index` has not set it for this database and recipe.
        InputError: it is damaged.
    """
    folder = run / "decision"
    manifest = load_manifest(folder)
    made_for = (manifest.inputs["index"], manifest.settings) if manifest else None
    if made_for != (database.key, _settings(recipe)):
        raise MissingFileError(
            f"no decision for the index and the recipe of {run}; run `cairn index --run {run}`"
        )
    values = load_decision_values(run)
    model = CalibratedFusion.from_json(values["model"]) if values["model"] else None
    threshold = math.inf if values["threshold"] is None else float(values["threshold"])
    return Decision(recipe, model, threshold)


def at_precision(decision: Decision, run: Path, min_precision: float) -> Decision:
    """Return the decision with the threshold that another precision asks for.

    Raises:
        ValueError: no share between 0 and 1, or the policy has a rejection of its own.
    """
    recipe = change_recipe(decision.recipe, [f"decide.min_precision={min_precision}"])
    share = recipe.decide.distractor_share
    point = choose_point(load_answered(run), min_precision, share)
    if math.isfinite(point.threshold):
        logger.info("answers from confidence %.3f on: %s", point.threshold, point.tell())
    return replace(decision, recipe=recipe, threshold=point.threshold)
