"""Geometric re-ranking beside the recipe of public DELF code and beside other estimators.

Pairs of real photos, of the same landmark and of different ones that look alike: how many a second
on all cores, and how well the number of inliers tells them apart. Reads a finished run, its
features and the tables of its dataset.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from classify_head.submission import load_solution
from embed.parallel import map_parallel, run_parallel
from pipelines.answers.open_run import open_features
from pipelines.runs.job import Job, open_job
from rerank.cosines import unit_rows
from rerank.features import LocalFeatures
from rerank.matching import match_mutual
from rerank.settings import RerankSettings
from rerank.store import FeatureStore
from rerank.verifier import share_out
from rerank.verify import verify_candidates
from tests.benchmarks.estimators import (
    Arrays,
    Estimator,
    count_poselib,
    count_pydegensac,
    count_reference,
    process_pool,
)
from tests.benchmarks.plain_rerank import count_plainly

QUERIES, EACH, ROUNDS = (
    60,
    4,
    6,
)  # up to EACH pairs of the same landmark a query, and as many others
REFERENCE_DIM = 40  # of DELF's descriptors; longer ones are reduced for the reference
RERANKED = 100  # candidates of one query
TIMED = 20  # queries that are re-ranked, each with all of them


@dataclass(frozen=True)
class RerankQuery:
    """A query, images of the same landmark, and as many others that the index found near it."""

    query: LocalFeatures
    candidates: tuple[LocalFeatures, ...]
    same: tuple[bool, ...]


# Returns the inliers of each candidate of each query.
Method = Callable[[Sequence[RerankQuery]], list[list[int]]]
Reduction = tuple[NDArray[np.float32], NDArray[np.float32]]  # mean [D], directions [D, 40]


def run(run_folder: Path) -> str:
    """Return a table of the methods, and the milliseconds of re-ranking one query."""
    job = open_job(None, run_folder, None, None)
    settings = job.recipe.rerank
    query_store, store = (
        open_features(run_folder, split, job.recipe)
        for split in ("test", job.dataset.database_split)
    )
    if query_store is None or store is None:
        return "the run's recipe does not re-rank"
    asked = sample_pairs(job, query_store, store)
    reduce = fit_reduction([candidate for one in asked for candidate in one.candidates])
    small = {id(one): reduced(one, reduce) for one in asked}
    with process_pool() as pool:
        methods: dict[str, Method] = {
            "public DELF recipe, 40-d": lambda part: list(
                pool.map(count_reference, [reference_task(small[id(one)]) for one in part])
            ),
            "ours, 40-d float16": lambda part: ours([small[id(one)] for one in part], settings),
            "plain float32, as stored": lambda part: plainly(part, settings),
            "ours, as stored": lambda part: ours(part, settings),
            "our matches, poselib homography": lambda part: others(part, settings, count_poselib),
            "our matches, pydegensac homography": lambda part: others(
                part, settings, count_pydegensac
            ),
        }
        table = compare(asked, methods)
    images = [found for i in list_ids(job)[:RERANKED] if (found := store.get(i)) is not None]
    return f"{table}\n{time_query([one.query for one in asked[:TIMED]], images, settings)}"


def list_ids(job: Job) -> tuple[str, ...]:
    """Return the images of the database."""
    return job.dataset.load_split(job.dataset.database_split).ids


def sample_pairs(job: Job, queries: FeatureStore, store: FeatureStore) -> list[RerankQuery]:
    """Draw queries; for each, some images of its landmark and the nearest of other landmarks."""
    table = job.dataset.load_split(job.dataset.database_split)
    solution_path = job.dataset.find_table("solution")
    assert solution_path is not None
    solution = load_solution(solution_path)
    found = pd.read_parquet(job.run / "neighbors.parquet").groupby("query_id", sort=False)
    nearest = {str(query_id): rows["image_id"].tolist() for query_id, rows in found}
    labels = dict(zip(table.ids, table.landmark_ids.tolist(), strict=True))
    rng = np.random.default_rng(0)
    asked = []
    for row in rng.permutation(len(solution.query_ids)):
        query_id, truth = solution.query_ids[row], solution.truths[row]
        query = queries.get(query_id)
        if query is None or not truth:
            continue
        same = [i for i in rng.permutation(table.ids).tolist() if labels[i] in truth][:EACH]
        other = [i for i in nearest[query_id] if labels[i] not in truth][: len(same)]
        records = [(store.get(i), i in same) for i in same + other]
        kept = [(record, is_same) for record, is_same in records if record is not None]
        asked.append(RerankQuery(query, tuple(r for r, _ in kept), tuple(s for _, s in kept)))
        if len(asked) == QUERIES:
            break
    return asked


def compare(asked: Sequence[RerankQuery], methods: dict[str, Method]) -> str:
    """Time all methods on one part of the pairs after the other, and print what they found."""
    for method in methods.values():
        method(asked[:2])  # imports and workers
    rates: dict[str, list[float]] = {name: [] for name in methods}
    inliers: dict[str, list[int]] = {name: [] for name in methods}
    same = np.array([s for r in range(ROUNDS) for one in asked[r::ROUNDS] for s in one.same])
    for start in range(ROUNDS):
        part = asked[start::ROUNDS]
        for name, method in methods.items():
            started = time.perf_counter()
            found = [count for query in method(part) for count in query]
            rates[name].append(len(found) / (time.perf_counter() - started))
            inliers[name] += found
    reference = next(iter(rates.values()))
    lines = [
        f"{same.sum()} pairs of the same landmark, {(~same).sum()} of others that look alike\n"
        f"{'':36s} pairs/s   times    AUC  inliers same/other"
    ]
    for name in methods:
        counts = np.array(inliers[name])
        times = statistics.median(a / b for a, b in zip(rates[name], reference, strict=True))
        lines.append(
            f"{name:36s} {statistics.median(rates[name]):7.1f} {times:7.1f} "
            f"{roc_auc_score(same, counts):6.3f}  "
            f"{np.median(counts[same]):.0f}/{np.median(counts[~same]):.0f}"
        )
    return "\n".join(lines)


def time_query(
    queries: Sequence[LocalFeatures], images: Sequence[LocalFeatures], settings: RerankSettings
) -> str:
    """Return the milliseconds of one query after the other, in plain float32 and as in a run.

    Both share the candidates among all cores in chunks, and take turns. In the first round numpy
    prepares itself, and so does the graph of integers.
    """

    def count(query: LocalFeatures, chunk: Sequence[LocalFeatures]) -> list[int]:
        return [found.n_inliers for found in verify_candidates(query, chunk, settings)]

    ways = {
        "plain float32": lambda query, chunk: count_plainly(query, chunk, settings),
        "as in a run": count,
    }
    chunks = share_out([*images])
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    counts: dict[str, list[list[list[int]]]] = {name: [] for name in ways}
    for timed in (False, True):
        for query in queries:
            for name, way in ways.items():
                started = time.perf_counter(), time.process_time()
                found = list(map_parallel(partial(way, query), chunks, pinned=True))
                if timed:
                    wall = time.perf_counter() - started[0]
                    spent[name].append((wall, time.process_time() - started[1]))
                    counts[name].append(found)
    lines = [f"{len(images)} candidates of one query, median (best) milliseconds"]
    for name, times in spent.items():
        wall, processor = 1e3 * np.array(times).T
        lines.append(
            f"{name:36s} {np.median(wall):4.0f} ({wall.min():.0f}) of wall time, "
            f"{np.median(processor):4.0f} ({processor.min():.0f}) of processor time"
        )
    plain, own = (
        np.concatenate([np.concatenate(each) for each in found]) for found in counts.values()
    )
    return "\n".join([*lines, f"{(plain != own).sum()} of {len(own)} pairs differ in inliers"])


def ours(asked: Sequence[RerankQuery], settings: RerankSettings) -> list[list[int]]:
    """Count inliers with `verify_candidates`, a query a thread."""

    def count(one: RerankQuery) -> list[int]:
        found = verify_candidates(one.query, one.candidates, settings)
        return [verification.n_inliers for verification in found]

    return run_parallel(count, asked)


def plainly(asked: Sequence[RerankQuery], settings: RerankSettings) -> list[list[int]]:
    """Count inliers in plain float32, a query a thread."""
    return run_parallel(lambda one: count_plainly(one.query, one.candidates, settings), asked)


def others(
    asked: Sequence[RerankQuery],
    settings: RerankSettings,
    count: Estimator,
) -> list[list[int]]:
    """Count the inliers that another estimator finds in our tentative matches."""

    def count_all(one: RerankQuery) -> list[int]:
        descriptors = [candidate.descriptors for candidate in one.candidates]
        found = match_mutual(one.query.descriptors, descriptors, max_ratio=settings.max_ratio)
        points = [
            (scaled(one.query)[matches[:, 0]], scaled(candidate)[matches[:, 1]])
            for candidate, matches in zip(one.candidates, found, strict=True)
        ]
        return [count(p0, p1, settings.threshold_px) if len(p0) > 4 else 0 for p0, p1 in points]

    return run_parallel(count_all, asked)


def scaled(features: LocalFeatures) -> NDArray[np.float64]:
    """Return keypoints [N, 2] as if the longer side were 512 pixels."""
    return features.keypoints * np.float64(512 / max(features.image_size))


def reference_task(one: RerankQuery) -> tuple[Arrays, Sequence[Arrays]]:
    """Return the arrays of a query and its candidates, ready for the reference."""
    arrays = [(f.keypoints, unit_rows(f.descriptors)) for f in (one.query, *one.candidates)]
    return arrays[0], arrays[1:]


def fit_reduction(features: Sequence[LocalFeatures]) -> Reduction | None:
    """Return the PCA of descriptors to 40 values; None where they have no more."""
    rows = unit_rows(np.concatenate([record.descriptors for record in features]))
    if rows.shape[1] <= REFERENCE_DIM:
        return None
    _, directions = np.linalg.eigh(np.cov(rows, rowvar=False))
    return rows.mean(axis=0), directions[:, -REFERENCE_DIM:].astype(np.float32)


def reduced(one: RerankQuery, reduction: Reduction | None) -> RerankQuery:
    """Return the same with descriptors of 40 values in float16, rows of length 1, as DELF's."""
    if reduction is None:
        return one
    mean, directions = reduction

    def reduce(features: LocalFeatures) -> LocalFeatures:
        rows = unit_rows((unit_rows(features.descriptors) - mean) @ directions)
        return replace(features, descriptors=rows.astype(np.float16))

    return RerankQuery(reduce(one.query), tuple(map(reduce, one.candidates)), one.same)
