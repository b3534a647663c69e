"""SuperGlobal's re-ranking: milliseconds a query, and what it does to the GAP of runs.

Beside ours runs what the published code does, one step after the other: every refined descriptor is
made, all cosines are sorted, and no length is brought to 1. Without RUN only the time is measured.
No local features are compared: the neighbours alone vote, or the calibrated policy, fitted anew on
the run's known queries as a run of that recipe would.

python -m tests.benchmarks.bench_superglobal [RUN...] (a minute a run)
"""

import statistics
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.answers import Answers
from classify_head.comparison import compare_answers
from classify_head.evidence import Evidence
from classify_head.gap import gap
from classify_head.policies import POLICIES, decide
from embed.settings import Settings
from embed.shards import Embeddings
from index.base import BaseIndex
from index.images import ImageIndex
from index.neighbors import Neighbors
from pipelines.answers.open_run import load_split_embeddings, open_retriever
from pipelines.answers.retriever import Retriever
from pipelines.runs.job import Job, open_job
from pipelines.scores.ablate import Stored, load_stored
from pipelines.stages.calibration_set import build_calibration_set
from pipelines.stages.decide import fit_known
from pipelines.stages.known_queries import load_known_queries
from rerank.settings import RerankSettings
from rerank.superglobal import rerank_neighbors

COUNT, ROUNDS, BATCH = 400, 15, 8  # candidates a query, timed rounds, queries of a batch
NEAREST, BETA = (
    RerankSettings.model_fields[f"refine_{name}"].default for name in ("nearest", "beta")
)

Floats = NDArray[np.float32]


def published(queries: Floats, candidates: Floats) -> Floats:
    """Return what the published code does: means and maxima of any length."""
    cosines = candidates @ candidates.transpose(0, 2, 1)
    order = np.argsort(-cosines, axis=2)[:, :, : NEAREST + 1]
    weights = np.float32(BETA) * np.take_along_axis(cosines, order, axis=2)
    weights[:, :, 0] = 1
    query = np.arange(len(queries))[:, None, None]
    summed = (weights[:, :, None] @ candidates[query, order])[:, :, 0]
    refined = summed / weights.sum(axis=2, keepdims=True)
    first = (refined @ queries[:, :, None])[:, :, 0]
    best = np.argsort(-first, axis=1)[:, : NEAREST + 1]
    largest = refined[query[:, :, 0], best].max(axis=1)
    return np.asarray((first + (refined @ largest[:, :, None])[:, :, 0]) / 2)


def measure_time() -> str:
    """Return a table of milliseconds a query, both ways in turn; vectors are gathered anew."""
    lines = [f"{COUNT} candidates       published: median   best  ours: median   best  processor"]
    rng = np.random.default_rng(0)
    for dim in (512, 1280):
        drawn = rng.normal(size=(BATCH * COUNT, dim)).astype(np.float32)
        index = BaseIndex.build(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
        for batch in (1, BATCH):
            queries = index.vectors(np.arange(batch))
            found = index.search(queries, COUNT)
            ways = {"published": partial(ask_published, index), "ours": partial(ask_ours, index)}
            walls: dict[str, list[float]] = {name: [] for name in ways}
            processor: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(-2, ROUNDS):  # two to warm up
                for name, way in ways.items():
                    started, used = time.perf_counter(), time.process_time()
                    way(found, queries)
                    if number >= 0:
                        walls[name].append(1e3 * (time.perf_counter() - started) / batch)
                        processor[name].append(1e3 * (time.process_time() - used) / batch)
            cells = [f"{statistics.median(each):14.1f} {min(each):6.1f}" for each in walls.values()]
            lines.append(
                f"{dim:5d}-d, {batch:2d} at once {'  '.join(cells)}"
                f"{statistics.median(processor['ours']):11.1f}"
            )
    return "\n".join(lines)


def ask_published(index: BaseIndex, found: Neighbors, queries: Floats) -> Neighbors:
    """Re-rank as the published code does."""
    candidates = index.vectors(found.rows.ravel()).reshape(*found.rows.shape, -1)
    scores = published(queries, candidates)
    order = np.argsort(-scores, axis=1, kind="stable")
    return Neighbors(
        np.take_along_axis(found.rows, order, axis=1),
        np.take_along_axis(scores, order, axis=1),
    )


def ask_ours(index: BaseIndex, found: Neighbors, queries: Floats) -> Neighbors:
    """Re-rank with the default numbers."""
    return rerank_neighbors(found, queries, index.vectors, count=COUNT, nearest=NEAREST, beta=BETA)


@dataclass(frozen=True)
class Case:
    """A run that is asked without local features."""

    job: Job
    stored: Stored
    retriever: Retriever
    queries: Embeddings

    def refining(self, count: int) -> Retriever:
        """Return the retriever with so many candidates refined; 0: none."""
        recipe = self.retriever.recipe
        rerank = recipe.rerank.model_copy(update={"refine": count})
        return replace(self.retriever, recipe=recipe.model_copy(update={"rerank": rerank}))

    def ask(self, retriever: Retriever) -> Evidence:
        """Return the evidence of the test queries."""
        return retriever.gather(self.queries, lambda row: None)[1]

    def ask_published(self) -> Evidence:
        """Return it with the similarities of the published code."""
        database, plain = self.retriever.database, self.ask(self.retriever)
        vectors = self.queries.vectors
        if database.whitening is not None:
            vectors = database.whitening.apply(vectors)
        index = database.images.base
        found = index.search(vectors, min(COUNT, len(database.images)))
        parts = [
            ask_published(
                index,
                Neighbors(found.rows[row : row + 1], found.scores[row : row + 1]),
                vectors[row : row + 1],
            )
            for row in range(len(found))
        ]
        rows, scores = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "scores")
        )
        ranked = Neighbors(rows, scores).first(plain.labels.shape[1])
        labels, similarities = plain.labels.copy(), plain.similarities.copy()
        labels[:, : ranked.rows.shape[1]] = database.rows.landmark_ids[ranked.rows]
        similarities[:, : ranked.rows.shape[1]] = ranked.scores
        return replace(plain, labels=labels, similarities=similarities)

    def vote(self, evidence: Evidence) -> Answers:
        """Return what the neighbours vote for."""
        guesses = decide(evidence, POLICIES["knn-power"]).guesses
        return self.stored.match(guesses, self.job.dataset.solution)

    def calibrate(self, retriever: Retriever) -> Answers:
        """Return the answers of the calibrated policy, fitted on known queries asked likewise."""
        known = load_known_queries(replace(self.job, recipe=retriever.recipe))
        calibration_set = build_calibration_set(known.embeddings, retriever.database)
        _, evidence = calibration_set.gather(known, retriever)
        model, _ = fit_known(evidence, calibration_set, retriever.recipe)
        return self.stored.match(model.decide(self.ask(retriever)), self.job.dataset.solution)


def open_case(run: Path, *, whitened: bool) -> Case:
    """Open a finished run; search it as it does, or by the plain cosine of its descriptors."""
    job = open_job(None, run, None, None)
    stored = load_stored(job)
    recipe = job.recipe
    changes: dict[str, Settings] = {
        "rerank": recipe.rerank.model_copy(update={"method": "none", "refine": 0})
    }
    if not whitened:
        changes["search"] = recipe.search.model_copy(update={"whiten": "none"})
    opened = open_retriever(run, recipe, stored.database.fingerprint)
    database = opened.database
    if not whitened:
        vectors = load_split_embeddings(run, database.split).vectors
        database = replace(database, whitening=None, images=ImageIndex.build(vectors[:, None]))
    retriever = replace(
        opened, recipe=recipe.model_copy(update=changes), features=None, database=database
    )
    return Case(job, stored, retriever, load_split_embeddings(run, "test"))


def measure_effect(run: Path) -> str:
    """Return lines of GAP without and with re-ranking, and the paired 95 % interval between."""
    lines = []
    for whitened in (False, True):
        case = open_case(run, whitened=whitened)
        refining = case.refining(COUNT)
        plain = case.vote(case.ask(case.retriever))
        calibrated = case.calibrate(case.retriever)
        for name, before, after in (
            ("votes, published", plain, case.vote(case.ask_published())),
            ("votes", plain, case.vote(case.ask(refining))),
            ("calibrated", calibrated, case.calibrate(refining)),
        ):
            found = compare_answers(before, after)
            lines.append(
                f"{run.name:20s} {'whitened' if whitened else 'cosine':9s} {name:17s}"
                f"{gap(before):7.3f} {gap(after):7.3f}  {found.difference:+.3f} "
                f"({found.low:+.3f} to {found.high:+.3f})"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the time, then the effect on each run."""
    print(measure_time(), flush=True)
    for run in map(Path, sys.argv[1:]):
        print(measure_effect(run), flush=True)


if __name__ == "__main__":
    main()
