"""Set how evidence becomes an answer: calibrated probabilities, and where "not known" begins.

Known queries are asked like any other. The calibrated policy is fitted on them; for every policy
they set the confidence below which the answer is "no known landmark". Reads index/, features/ and
embeddings/. Writes decision/: decision.json, known_queries.parquet (the answer to each, by a model
that did not see it), manifest.json; then reliability.png, which no stage needs.
"""

import json
import logging
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from classify_head.calibration import CalibratedFusion, fit_calibration
from classify_head.coverage import OperatingPoint, measure_threshold, operating_point
from classify_head.evidence import Evidence
from classify_head.extras import Extras
from classify_head.policies import Decisions, decide
from classify_head.policy import Policy, adjust
from classify_head.reliability import reliability_bins
from embed.columns import read_parquet, to_array
from embed.errors import MissingFileError

from .artifacts import Manifest, invalidate, load_manifest, record_file, write_json, writing
from .database import Database
from .decorations import draw_missing
from .extras import make_extras
from .integrity import intact_file
from .job import Job
from .prepare import open_recognizer
from .recipe import Recipe, change_recipe
from .stage import Artifact

if TYPE_CHECKING:
    from .known_queries import KnownQueries

logger = logging.getLogger(__name__)

FEW = 20  # distractors say little of where "not known" begins
PLOT = "reliability.png"


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Answered:
    """The known queries and what was answered to each."""

    ids: tuple[str, ...]  # [Q]
    truths: NDArray[np.int64]  # [Q]; -1 for a distractor
    labels: NDArray[np.int64]  # [Q]; -1 for no answer
    confidences: NDArray[np.float64]  # [Q]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right [Q]; the answer to a distractor never is."""
        return np.asarray((self.labels == self.truths) & (self.labels >= 0))

    @property
    def distractors(self) -> NDArray[np.bool_]:
        """[Q]."""
        return self.truths < 0


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
    from .known_queries import load_known_queries  # 1.5 s that a query has no need of

    known = load_known_queries(job)
    model, answered = _answer_known(job, indexed, known)
    point, note = _choose_threshold(job.recipe, answered)
    if note:
        logger.warning(note)
    values = {
        "model": model.to_json() if model else None,
        "note": note,
        "known_queries": len(answered.ids),
        "distractors": int(answered.distractors.sum()),
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


def _answer_known(
    job: Job, indexed: Manifest, known: "KnownQueries"
) -> tuple[CalibratedFusion | None, Answered]:
    """Ask the known queries; return the model of the calibrated policy and the answers."""
    recipe = job.recipe
    recognizer = open_recognizer(job.run, recipe, str(indexed.model["fingerprint"]))
    queries = known.embeddings
    neighbors, evidence = recognizer.gather(queries, known.find_features, leave_out=True)
    # Photos of one occasion are often in the database together, and nobody will ask with one more.
    near_copies = evidence.overlaps > recipe.decide.max_overlap
    evidence = evidence.without(near_copies)
    if recipe.decide.policy != "calibrated":
        policy = recipe.decide.make_policy()
        order = np.argsort(near_copies, axis=1, kind="stable")  # as `without` moves neighbours
        rows = np.take_along_axis(np.where(near_copies, -1, neighbors.rows), order, axis=1)
        extras = make_extras(policy, recognizer.database, queries.vectors, rows)
        decided = Decision(recipe, None, -math.inf).answer(evidence, extras)
        answers = Answered(known.ids, known.truths, decided.guesses, decided.confidences)
        return None, answers
    calibration = fit_calibration(
        evidence,
        known.truths,
        features=recipe.decide.features,
        distractor_share=recipe.decide.distractor_share,
        seed=recipe.train.seed,
    )
    if not calibration.model.fitted:
        logger.warning(
            "too few photos with a known answer that the model was not trained on, so confidences "
            "are those of other data; they say which answers are surer, not how often they are "
            "right"
        )
    answers = Answered(known.ids, known.truths, calibration.labels, calibration.probabilities)
    return calibration.model, answers


def _choose_threshold(recipe: Recipe, answered: Answered) -> tuple[OperatingPoint, str]:
    """Return the confidence that answers must reach, and what the user should know about it."""
    settings, count = recipe.decide, int(answered.distractors.sum())
    few = (
        f"only {count} photos of non_landmark set where 'no known landmark' begins; have "
        f"{4 * FEW} or more, half of them are used for this"
    )
    note = few if count < FEW else ""
    if settings.min_precision is not None:
        return choose_point(answered, settings.min_precision), note
    if not count:
        threshold = 0.0 if settings.policy == "calibrated" else settings.reject_below
        return _measure(answered, threshold), (
            "fewer than two photos without a landmark, so it is not known what the answer to one "
            f"looks like: answers are given from confidence {threshold:.2f} on; list some in "
            "non_landmark.csv"
        )
    if settings.policy == "calibrated":
        threshold = settings.least_probability
    else:
        threshold = _quantile(answered, settings.reject_share)
    return _measure(answered, threshold), note


def _measure(answered: Answered, threshold: float) -> OperatingPoint:
    """Return what a threshold does; nothing is known of it without a known query."""
    if not answered.ids:
        return OperatingPoint(threshold, math.nan, 0.0, 0.0, 0)
    return measure_threshold(answered.correct, answered.confidences, threshold)


def choose_point(answered: Answered, min_precision: float) -> OperatingPoint:
    """Return the threshold at which answers to the known queries are as precise as asked for."""
    if answered.ids:
        point = operating_point(answered.correct, answered.confidences, min_precision)
    else:
        point = _measure(answered, math.inf)
    if not point.answered:
        logger.warning(
            "no threshold reaches a precision of %.3f on the known queries: nothing is answered",
            min_precision,
        )
    return point


def _quantile(answered: Answered, share: float) -> float:
    """Return the confidence that a share of the distractors stays below."""
    ordered = np.sort(answered.confidences[answered.distractors])
    # Of few images the highest quantile is their maximum: just above it, all are rejected.
    rank = int(np.ceil(len(ordered) * share))
    # Finite, for decision.json has null for a threshold that nothing reaches.
    return float(np.nextafter(ordered[rank - 1], np.inf)) if rank else -sys.float_info.max


def _point_values(point: OperatingPoint) -> dict[str, Any]:
    """Return an operating point as JSON can say it; infinity and nan become null."""
    names = ("threshold", "precision", "precision_low", "coverage")
    values = {name: float(getattr(point, name)) for name in names}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _write_answered(answered: Answered, path: Path) -> None:
    table = pa.table(
        {
            "query_id": pa.array(answered.ids, pa.string()),
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
        *(to_array(table[name]) for name in ("truth", "landmark_id", "confidence")),
    )


def load_decision_values(run: Path) -> dict[str, Any]:
    """Return what decision.json of a run says. Errors as intact_file."""
    values: dict[str, Any] = json.loads(intact_file(run / "decision", "decision.json").read_bytes())
    return values


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
    point = choose_point(load_answered(run), min_precision)
    if point.answered:
        shares = (100 * point.coverage, 100 * point.precision, 100 * point.precision_low)
        logger.info(
            "answers from confidence %.3f on: %.0f %% of the known queries get one, %.0f %% of "
            "these are right (%.0f %% at least, with 95 %% confidence)",
            *(point.threshold, *shares),
        )
    return replace(decision, recipe=recipe, threshold=point.threshold)
