"""Stage `ablate`: what would each published policy have made of what a run knows?

Nothing is embedded, searched or verified again. Reads evidence.parquet, predictions.parquet,
neighbors.parquet, embeddings/, index/ and decision/ of a run, and the solution. Writes
ablation.json.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from classify_head.answers import Answers
from classify_head.calibration import CalibratedFusion
from classify_head.comparison import compare_answers
from classify_head.evidence import Evidence
from classify_head.evidence_store import read_evidence
from classify_head.extras import MissingEvidenceError
from classify_head.gap import gap, gap_landmark_only, top1
from classify_head.label_scores import Choice
from classify_head.policies import POLICIES, Decisions, decide
from classify_head.rejection import RejectTorino, self_verified_gap
from classify_head.submission import Solution, match_answers
from embed.columns import find_places, to_array
from embed.errors import InputError, MissingFileError
from index.neighbors import Neighbors
from pipelines.answers.database import Database, load_database
from pipelines.answers.decision import load_decision
from pipelines.answers.extras import make_extras
from pipelines.answers.live import load_live
from pipelines.answers.open_run import load_split_embeddings, load_split_failures, open_retriever
from pipelines.artifacts import load_manifest, write_json
from pipelines.runs.integrity import intact_output
from pipelines.runs.job import Job
from pipelines.stages.calibration_set import build_calibration_set
from pipelines.stages.decide import fit_known
from pipelines.stages.known_queries import load_known_queries
from rerank.settings import RerankSettings
from rerank.superglobal import rerank_neighbors

from .evaluate import find_submission, load_steps

OWN, NO_GEOMETRY, REFINED = "this run", "calibrated, no inliers", "knn-power, refined"


@dataclass(frozen=True)
class Figures:
    """How answers score, and how far from the run's own."""

    gap: float
    gap_landmark_only: float
    top1: float
    difference: float  # GAP minus that of the run
    low: float  # of the paired 95 % interval of the difference
    high: float


@dataclass(frozen=True)
class Row:
    """One policy; it has figures, or a reason why it has none."""

    policy: str
    source: str  # where it was published
    transductive: bool  # the answer to a query depends on the queries beside it
    figures: Figures | None
    missing: str = ""


@dataclass(frozen=True)
class Ablation:
    """All policies on the evidence of one run."""

    rows: tuple[Row, ...]  # first the run's own answers, then POLICIES in their order
    self_verified_gap: float | None  # of torino, without ground truth: no GAP


@dataclass(frozen=True, eq=False)
class Stored:
    """What a run knows of its Q test queries."""

    evidence: Evidence
    failed: tuple[str, ...]  # queries that could not be read
    vectors: NDArray[np.float32]  # [Q, dim]
    rows: NDArray[np.int64]  # [Q, K] database row of each neighbour; -1 is padding
    database: Database
    model: CalibratedFusion | None  # of the run; None if it decides by another policy

    def decide(self, name: str) -> Decisions:
        """Answer by one of POLICIES. Raises MissingEvidenceError."""
        policy = POLICIES[name]
        extras = make_extras(policy, self.database, self.vectors, self.rows)
        if self.model:
            extras = replace(extras, calibrated=self.model.decide)
        return decide(self.evidence, policy, extras)

    def match(self, choice: Choice, solution: Solution) -> Answers:
        """Return answers [Q] beside their truths; those to unreadable queries are missing."""
        ids = (*self.evidence.query_ids, *self.failed)
        return match_answers(ids, choice.pad(len(self.failed)), solution)


def ablate_run(job: Job) -> Ablation:
    """Score each policy on the evidence of a finished run; write ablation.json.

    A policy answers as published: what it rejects is not answered. The run's own answers are those
    of its submission.

    Raises:
        MissingFileError: the run is not finished, or its dataset has no solution.
        InputError: its parts do not belong together.
    """
    solution = job.dataset.solution
    find_submission(job.run)
    own = load_steps(job.run, solution)["final"]
    stored = load_stored(job)
    rows = [Row(OWN, f"policy {job.recipe.decide.policy}", False, _measure(own, own))]
    rows += [_try_policy(name, stored, solution, own) for name in POLICIES]
    if not job.recipe.rerank.refine:
        decisions = decide(refine(stored, job.recipe.rerank), POLICIES["knn-power"])
        answers = stored.match(decisions.answers, solution)
        rows.append(Row(REFINED, "Shao et al. 2023", False, _measure(answers, own)))
    if stored.model and job.recipe.rerank.method != "none":
        model = _fit_without_geometry(job, stored)
        answers = stored.match(model.decide(forget_geometry(stored.evidence)), solution)
        rows.append(Row(NO_GEOMETRY, "ours, fitted anew", False, _measure(answers, own)))
    ablation = Ablation(tuple(rows), _verify_itself(stored))
    write_json(asdict(ablation), job.run / "ablation.json")
    return ablation


def load_stored(job: Job) -> Stored:
    """Read what a finished run knows of its test queries.

    Raises:
        MissingFileError: the index, the decision or the evidence is not there any more.
        InputError: they are of other queries than the descriptors.
    """
    submitted = load_manifest(job.run / "submit")
    if submitted is None:
        raise MissingFileError(
            f"no finished submission in {job.run}; run `cairn submit --run {job.run}`"
        )
    database = load_database(job.run, str(submitted.model["fingerprint"]))
    evidence = read_evidence(intact_output(job.run, "evidence.parquet"))
    queries = load_split_embeddings(job.run, "test")
    made_from = submitted.inputs["index"], submitted.inputs.get("changes", "")
    there = database.key, load_live(job.run, database.names).content
    if made_from != there or queries.ids != evidence.query_ids:
        raise InputError(
            f"the submission of {job.run} was made with another index or other queries than are "
            f"there now; run `cairn submit --run {job.run}`"
        )
    return Stored(
        evidence,
        tuple(load_split_failures(job.run, "test")),
        queries.vectors,
        _read_rows(job, evidence, database),
        database,
        load_decision(job.run, job.recipe, database).model,
    )


def _read_rows(job: Job, evidence: Evidence, database: Database) -> NDArray[np.int64]:
    path = intact_output(job.run, "neighbors.parquet")
    table = pq.read_table(path, columns=["query_id", "rank", "image_id"])
    places = find_places(table["query_id"], evidence.query_ids)
    found = database.rows.rows_of(table["image_id"])
    assert (places >= 0).all() and (found >= 0).all()  # all of one submission
    rows = np.full(evidence.labels.shape, -1, dtype=np.int64)
    rows[places, to_array(table["rank"])] = found
    return rows


def _try_policy(name: str, stored: Stored, solution: Solution, own: Answers) -> Row:
    policy = POLICIES[name]
    try:
        decisions = stored.decide(name)
    except MissingEvidenceError as error:
        return Row(name, policy.source, policy.transductive, None, str(error))
    answers = stored.match(decisions.answers, solution)
    return Row(name, policy.source, policy.transductive, _measure(answers, own))


def _measure(answers: Answers, own: Answers) -> Figures:
    compared = compare_answers(own, answers)
    return Figures(
        gap(answers),
        gap_landmark_only(answers),
        top1(answers),
        compared.difference,
        compared.low,
        compared.high,
    )


def refine(stored: Stored, settings: RerankSettings) -> Evidence:
    """Return labels and similarities of the neighbours in the order of refined descriptors.

    All neighbours that a run kept are re-ranked. Nothing else of the evidence is moved: it is for
    votes of the neighbours alone.
    """
    evidence, vectors = stored.evidence, stored.vectors
    if stored.database.whitening is not None:
        vectors = stored.database.whitening.apply(vectors)
    scores = np.where(stored.rows < 0, np.float32(-np.inf), evidence.similarities)
    ranked = rerank_neighbors(
        Neighbors(stored.rows, scores),
        *(vectors, stored.database.images.whole),
        count=stored.rows.shape[1],
        nearest=settings.refine_nearest,
        beta=settings.refine_beta,
    )
    labels = stored.database.rows.labels(ranked.rows)
    similarities = np.maximum(ranked.scores, np.float32(-1))
    return replace(evidence, labels=labels, similarities=similarities)


def forget_geometry(evidence: Evidence) -> Evidence:
    """Return the evidence as if no neighbour had been verified."""
    shape = evidence.labels.shape
    return replace(
        evidence,
        inliers=np.full(shape, -1, dtype=np.int64),
        residuals=np.full(shape, np.nan, dtype=np.float32),
        overlaps=np.zeros(shape, dtype=np.float32),
    )


def _fit_without_geometry(job: Job, stored: Stored) -> CalibratedFusion:
    """Fit the calibrated policy as a recipe that does not re-rank would have it.

    So the photos of one occasion, which overlap, are not left out: without features none is known.
    """
    rerank = job.recipe.rerank.model_copy(update={"method": "none"})
    recipe = job.recipe.model_copy(update={"rerank": rerank})
    known = load_known_queries(replace(job, recipe=recipe))
    opened = open_retriever(job.run, job.recipe, stored.database.fingerprint, changes=False)
    retriever = replace(opened, recipe=recipe, features=None)
    calibration_set = build_calibration_set(known.embeddings, opened.database)
    _, evidence = calibration_set.gather(known, retriever)
    return fit_known(evidence, calibration_set, recipe)[0]


def _verify_itself(stored: Stored) -> float | None:
    """Return the "self-verified GAP" of torino; None without a head, or with nothing verified."""
    try:
        decisions = stored.decide("torino")
    except MissingEvidenceError:
        return None
    verdicts = RejectTorino().judge(stored.evidence, decisions.guesses)
    return self_verified_gap(decisions.guesses.confidences, verdicts)
