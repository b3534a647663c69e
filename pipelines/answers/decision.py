"""How a run's evidence becomes an answer: a policy, and where "not known" begins.

Known queries said so, see pipelines.stages.decide. Reads decision/: decision.json and
known_queries.parquet (the answer to each, by a model that did not see it). Imports neither torch
nor faiss.
"""

import contextlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classify_head.answers import Answers, as_truths
from classify_head.calibration import CalibratedFusion
from classify_head.evidence import Evidence
from classify_head.extras import Extras
from classify_head.policies import Decisions, decide
from classify_head.policy import Policy, adjust
from classify_head.promise import (
    POOL,
    REMOVED,
    Promise,
    describe,
    measure_promise,
    measure_promises,
    pick_harder,
)
from classify_head.thresholds import precise_threshold
from embed.columns import read_parquet, to_array
from embed.errors import MissingFileError
from pipelines.artifacts import load_manifest
from pipelines.runs.integrity import intact_file
from pipelines.runs.recipe import Recipe, change_recipe

if TYPE_CHECKING:
    from .database import Database  # faiss takes a fifth of a second

logger = logging.getLogger(__name__)

NO_EXTRAS = Extras()
# Among which photos a promise holds; the share is that of distractors.
AMONG = {
    "": "of photos of known landmarks alone",
    POOL: "if {:.0%} of the photos show other things, like the pool",
    REMOVED: "if {:.0%} of the photos show landmarks that the database lacks",
}


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


def decision_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the sections of the recipe that the decision belongs to, as JSON reads them back.

    Without most_answers: a further answer is given by the decision on the first.
    """
    sections = recipe.model_dump(mode="json", include={"search", "rerank", "decide"})
    del sections["decide"]["most_answers"]
    return sections


def measure_point(known: Answers, threshold: float, share: float) -> Point:
    """Return what a threshold promises."""
    promises = measure_promises(*known.judged, threshold)
    landmarks = measure_promise(*known.judged, threshold, "")
    return Point(threshold, share, promises, landmarks)


def choose_point(known: Answers, min_precision: float, share: float) -> Point:
    """Return the threshold at which answers to the known queries are as precise as asked for."""
    threshold = precise_threshold(*known.judged, share, min_precision)
    if math.isinf(threshold):
        logger.warning(
            "no threshold reaches a precision of %.3f on the known queries: nothing is answered",
            min_precision,
        )
    return measure_point(known, threshold, share)


def load_known_answers(run: Path) -> Answers:
    """Read what a run answered to the known queries. Errors as intact_file."""
    table = read_parquet(intact_file(run / "decision", "known_queries.parquet"))
    return Answers(
        to_array(table["landmark_id"]),
        to_array(table["confidence"]),
        tuple(table["query_id"].to_pylist()),
        as_truths(to_array(table["truth"])),
        np.array(table["kind"].to_pylist(), dtype=np.str_),
    )


def load_decision_values(run: Path) -> dict[str, Any]:
    """Return what decision.json of a run says. Errors as intact_file."""
    values: dict[str, Any] = json.loads(intact_file(run / "decision", "decision.json").read_bytes())
    return values


def load_promises(run: Path) -> dict[str, Promise]:
    """Return what a run promises, by the kinds of distractors it knows. Errors as intact_file."""
    promises = load_decision_values(run)["promise"].items()
    return {kind: Promise.from_json(values) for kind, values in promises if values}


def read_made(run: Path) -> tuple[int, ...]:
    """Return what differs as soon as the index of a run, or its decision, is another."""
    folders = (run / "index", run / "decision")
    manifests = [folder / "manifest.json" for folder in folders]
    with contextlib.suppress(FileNotFoundError):  # one is being made
        return tuple(manifest.stat().st_mtime_ns for manifest in manifests)
    return ()


def is_made(run: Path) -> bool:
    """Tell whether a run has an index, and the decision for it."""
    indexed, decided = load_manifest(run / "index"), load_manifest(run / "decision")
    return bool(indexed and decided and decided.inputs["index"] == indexed.key)


def load_decision(run: Path, recipe: Recipe, database: "Database") -> Decision:
    """Read how a run answers.

    Raises:
        MissingFileError: stage `index` has not set it for this database and recipe.
        InputError: it is damaged.
    """
    folder = run / "decision"
    manifest = load_manifest(folder)
    made_for = (manifest.inputs["index"], manifest.settings) if manifest else None
    if made_for != (database.key, decision_settings(recipe)):
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
    point = choose_point(load_known_answers(run), min_precision, share)
    if math.isfinite(point.threshold):
        logger.info("answers from confidence %.3f on: %s", point.threshold, point.tell())
    return replace(decision, recipe=recipe, threshold=point.threshold)
