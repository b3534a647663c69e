"""Score a run by the ground truth of revisited Oxford or Paris: mAP and mP@k of full rankings.

Reads ground_truth.parquet and index of the dataset; index/, embeddings/test/ and, for the re-ranked
order, verified.parquet of the run. Writes nothing. `index.revisited` has the figures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.columns import find_places, to_array
from embed.errors import InputError, MissingFileError
from index.revisited import LEVELS, PRECISION_AT, Ints, Relevance, Scores, score_rankings
from index.settings import SearchSettings
from pipelines.answers.database import Database, load_database
from pipelines.answers.open_run import load_split_embeddings, load_split_failures
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import Dataset
from pipelines.runs.integrity import intact_output
from pipelines.runs.job import read_run
from pipelines.runs.recipe import make_recipe
from pipelines.sources.revisited.truth import NAME, load_truth
from rerank.expansion import expand_queries

CHUNK = 1 << 16  # database images that are compared at a time


@dataclass(frozen=True)
class _Queries:
    """The queries of a run."""

    ids: tuple[str, ...]  # [Q]
    row_of: Mapping[str, int]  # in scores, of those that could be read
    images: Ints  # [L] rows of the database that are not removed, ascending
    scores: NDArray[np.float32]  # [rows, L] cosines to these


def revisited_figures(run: Path, dataset: Dataset) -> dict[str, Any]:
    """Return the figures of a run whose dataset has such a ground truth.

    All of the database is ranked as the run searches it: with its whitening, query expansion and
    augmentation. Images and queries that could not be read count as never found.

    Returns:
        By setup (easy, medium, hard) map, mp@k, and queries, of how many. The same below reranked
        where the run has verified its candidates: by inliers, then similarity, all others after
        them. unread_images and unread_queries count what could not be read.

    Raises:
        MissingFileError: the run has no index, or has not described the queries.
        InputError: the run is of other data.
    """
    truth = load_truth(dataset.folder / f"{NAME}.parquet")
    described = load_manifest(run / "embeddings" / "test")
    if described is None:
        raise MissingFileError(
            f"{run} has not described the queries; run `cairn submit --run {run}`"
        )
    database = load_database(run, str(described.model["fingerprint"]))
    numbers, unread = _number_images(run, dataset, database)
    relevance = [_number(levels, numbers) for levels in truth.values()]
    queries = _compare(run, tuple(truth), database)
    figures: dict[str, Any] = _report(score_rankings(_rank(queries), relevance))
    verified = _read_verified(run, database, numbers)
    if verified:
        figures["reranked"] = _report(score_rankings(_rank_again(queries, verified), relevance))
    figures["unread_images"] = unread
    figures["unread_queries"] = len(truth.keys() - queries.row_of.keys())
    return figures


def _report(scores: Mapping[str, Scores]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "map": found.mean_average_precision,
            **{f"mp@{k}": found.mean_precision[k] for k in PRECISION_AT},
            "queries": found.queries,
        }
        for name, found in scores.items()
    }


def _number_images(run: Path, dataset: Dataset, database: Database) -> tuple[dict[str, int], int]:
    """Return the row of each database image, and how many could not be read.

    Those that are not found, unread or removed, are numbered after the last row.

    Raises InputError if they are not the images of the dataset.
    """
    failed = load_split_failures(run, database.split)
    table = database.rows
    live = np.sort(table.by_landmark)
    numbers = dict(zip(table.ids(live).to_pylist(), live.tolist(), strict=True))
    removed = table.ids(np.setdiff1d(np.arange(len(table)), live)).to_pylist()
    lost = dict.fromkeys((*failed, *(each for each in removed if each not in numbers)))
    numbers |= {image_id: row for row, image_id in enumerate(lost, len(table))}
    if numbers.keys() != set(dataset.load_split(database.split).ids):
        raise InputError(
            f"{run} searches other images than {dataset.folder} names; run `cairn submit --run "
            f"{run}`"
        )
    return numbers, len(failed)


def _number(levels: Mapping[str, list[str]], numbers: Mapping[str, int]) -> Relevance:
    try:
        found = [np.array([numbers[i] for i in levels[name]], dtype=np.int64) for name in LEVELS]
    except KeyError as error:
        raise InputError(
            f"the ground truth names image {error}, which the dataset's index does not; make the "
            "dataset anew"
        ) from error
    return Relevance(*found)


def _compare(run: Path, ids: tuple[str, ...], database: Database) -> _Queries:
    """Return the similarity of each query to all of the database, as the run searches it."""
    queries = load_split_embeddings(run, "test")
    failed = load_split_failures(run, "test")
    unknown = sorted({*ids} - {*queries.ids, *failed})
    if unknown:
        raise InputError(
            f"{run} has not described query '{unknown[0]}'; run `cairn submit --run {run}`"
        )
    row_of = {query_id: row for row, query_id in enumerate(queries.ids)}
    vectors = queries.all_vectors
    if database.whitening is not None:
        vectors = database.whitening.apply_all(vectors)
    recorded = read_run(run)
    assert recorded is not None  # a run without it is not scored
    vectors = _expand(vectors, database, make_recipe(recorded["settings"], str(run)).search)
    images = database.images
    live = np.sort(database.rows.by_landmark)
    scores = np.empty((len(vectors), len(live)), dtype=np.float32)
    for start in range(0, len(live), CHUNK):
        part = images.vectors(live[start : start + CHUNK])
        products = vectors.reshape(-1, part.shape[2]) @ part.reshape(-1, part.shape[2]).T
        pairs = products.reshape(*vectors.shape[:2], *part.shape[:2])
        scores[:, start : start + len(part)] = pairs.max(axis=(1, 3))
    return _Queries(ids, row_of, live, scores)


def _expand(
    vectors: NDArray[np.float32], database: Database, settings: SearchSettings
) -> NDArray[np.float32]:
    """Add to each query what it finds, where the run does."""
    count = min(settings.expand_query, database.images.live)
    if not count:
        return vectors
    found = database.images.search(vectors, count)
    distinct, places = np.unique(found.rows, return_inverse=True)
    known = database.images.whole(distinct)
    rows = places.reshape(found.rows.shape)
    expanded = expand_queries(
        *(vectors[:, 0], known, rows, found.scores), count=count, alpha=settings.alpha
    )
    return expanded[:, None]


def _rank(queries: _Queries) -> Iterator[Ints]:
    """Yield the rows of all images for each query, the most similar first, ties by row."""
    for query_id in queries.ids:
        row = queries.row_of.get(query_id)
        if row is None:
            yield queries.images[:0]
        else:
            yield queries.images[np.argsort(-queries.scores[row], kind="stable")]


def _rank_again(queries: _Queries, verified: Mapping[str, Ints]) -> Iterator[Ints]:
    """Yield the same with the verified candidates first, in their order."""
    for query_id, ranked in zip(queries.ids, _rank(queries), strict=True):
        first = verified.get(query_id, ranked[:0])
        yield np.concatenate([first, ranked[~np.isin(ranked, first)]])


def _read_verified(run: Path, database: Database, numbers: Mapping[str, int]) -> dict[str, Ints]:
    """Return the candidates of each query that geometry has looked at, most inliers first."""
    submitted = load_manifest(run / "submit")
    if submitted is None or submitted.inputs.get("index") != database.key:
        return {}
    table = pq.read_table(intact_output(run, "verified.parquet"))
    if not table.num_rows:
        return {}
    table = table.sort_by(
        [("query_id", "ascending"), ("inliers", "descending"), ("rank", "ascending")]
    )
    rows = find_places(table["image_id"], list(numbers))
    images = np.fromiter(numbers.values(), np.int64, len(numbers))[rows]
    query_ids = table["query_id"].combine_chunks().dictionary_encode()
    starts = np.flatnonzero(np.diff(to_array(query_ids.indices), prepend=-1))
    return dict(zip(query_ids.dictionary.to_pylist(), np.split(images, starts[1:]), strict=True))
