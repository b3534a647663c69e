"""The calibration set: every query once, and once with a database that never had its landmark."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify_head.evidence import Evidence
from classify_head.policies import POLICIES
from classify_head.promise import LANDMARK, POOL, REMOVED
from embed.head_scores import HeadScores
from embed.meter import Meter
from embed.shards import Embeddings
from embed.whitening import fit_within_class
from index.images import ImageIndex
from pipelines.answers.database import Database
from pipelines.answers.exclusion import Exclusion
from pipelines.answers.extras import make_extras
from pipelines.answers.open_run import open_retriever
from pipelines.answers.retriever import Retriever
from pipelines.artifacts import load_manifest
from pipelines.runs.recipe import load_recipe, make_recipe
from pipelines.stages.calibration_set import CalibrationSet, build_calibration_set
from pipelines.stages.fit_search import fit_search
from pipelines.stages.known_queries import KnownQueries, load_known_queries
from rerank.features import LocalFeatures
from rerank.verifier import Verifier
from tests.conftest import Tiny
from tests.databases import make_database, take_rows
from tests.datasets import LANDMARKS, PHOTOS, make_job

DIM = 8
NO_VECTORS = np.empty((0, DIM), dtype=np.float32)  # of no use without whitening by classes


@pytest.fixture(scope="module")
def known(calibrated: Tiny) -> KnownQueries:
    return load_known_queries(make_job(calibrated.data, calibrated.run, calibrated.recipe))


@pytest.fixture(scope="module")
def retriever(calibrated: Tiny) -> Retriever:
    manifest = load_manifest(calibrated.run / "index")
    assert manifest is not None
    recipe = load_recipe(str(calibrated.recipe))
    return open_retriever(calibrated.run, recipe, manifest.model["fingerprint"])


def few(retriever: Retriever, neighbors: int, candidates: int, refine: int = 0) -> Retriever:
    """Return it with fewer neighbours than the database has images."""
    recipe = retriever.recipe
    search = recipe.search.model_copy(update={"neighbors": neighbors})
    rerank = recipe.rerank.model_copy(update={"candidates": candidates, "refine": refine})
    changed = recipe.model_copy(update={"search": search, "rerank": rerank})
    return replace(retriever, recipe=changed)


def without(database: Database, landmark: int) -> Database:
    """Return a database that was built without a landmark."""
    return take_rows(database, database.rows.landmark_ids != landmark)


def check_evidence(found: Evidence, expected: Evidence) -> None:
    """All but the sizes and the last digits are the same; further columns are padding."""
    arrays = found.arrays
    assert found.query_ids == expected.query_ids
    for name, array in expected.arrays.items():
        mine = arrays[name]
        if mine.ndim > 1 and name not in ("query_pool", "head_labels", "head_scores"):
            mine = mine[:, : array.shape[1]]
        np.testing.assert_allclose(mine, array, atol=1e-6, err_msg=name)
    width = expected.labels.shape[1]
    assert (found.labels[:, width:] < 0).all()


def seconds(calibration_set: CalibrationSet, landmark: int, truths: np.ndarray) -> np.ndarray:
    """Return the queries of a landmark that is left out."""
    return np.flatnonzero(
        (calibration_set.kinds == REMOVED) & (truths[calibration_set.photos] == landmark)
    )


@pytest.mark.parametrize(
    ("neighbors", "candidates", "refine"), [(24, 24, 0), (7, 3, 0), (7, 3, 12), (12, 3, 7)]
)
def test_a_second_query_is_of_a_database_that_never_had_the_landmark(
    neighbors: int, candidates: int, refine: int, retriever: Retriever, known: KnownQueries
) -> None:
    retriever = few(retriever, neighbors, candidates, refine)
    calibration_set = build_calibration_set(known.embeddings, retriever.database)
    _, evidence = calibration_set.gather(known, retriever)
    for landmark in range(0, LANDMARKS, 2):
        rows = seconds(calibration_set, landmark, known.truths)
        assert len(rows) == PHOTOS
        smaller = replace(retriever, database=without(retriever.database, landmark))
        places = calibration_set.photos[rows].tolist()
        features = [known.find_features(place) for place in places]
        _, expected = smaller.gather(known.embeddings.take(places), features.__getitem__)
        heads = calibration_set.excluded.mask_head(
            calibration_set.queries.head, retriever.database
        ).take(rows)  # it knows all landmarks
        check_evidence(
            evidence.take(rows),
            replace(expected, head_labels=heads.labels, head_scores=heads.scores),
        )


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    neighbors=st.integers(1, 16),
    expand=st.integers(0, 3),
    labels=st.integers(2, 5),
)
def test_so_it_is_for_any_database(seed: int, neighbors: int, expand: int, labels: int) -> None:
    rng = np.random.default_rng(seed)

    def unit(count: int) -> np.ndarray:
        rows = rng.normal(size=(count, DIM)).astype(np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    truths = np.append(rng.integers(0, labels, 12), [0, 1])
    database = make_database(unit(14), map(str, range(14)), truths)
    chosen = rng.permutation(14)[:5]
    vectors = np.concatenate([database.images.whole(chosen), unit(2)])
    ranked = rng.permuted(np.tile(np.arange(labels), (7, 1)), axis=1)
    scores = -np.sort(-rng.random((7, labels), dtype=np.float32))
    known = Embeddings(
        (*map(str, chosen.tolist()), "held out", "other"),
        np.append(truths[chosen], [1, -1]),
        vectors,
        HeadScores(ranked, scores, scores),
    )
    recipe = make_recipe(
        {"search": {"neighbors": neighbors, "expand_query": expand}, "rerank": {"method": "none"}},
        "test",
    )
    retriever = Retriever(database, unit(4)[:, None], None, recipe)
    calibration_set = build_calibration_set(known, database)
    assert calibration_set.queries.ids == (*known.ids, *known.ids[:-1])
    found, evidence = calibration_set.gather(
        KnownQueries(known, lambda row: None, NO_VECTORS), retriever
    )
    assert evidence.labels.shape == (13, neighbors)
    for query, row in enumerate(range(7, 13)):
        truth = int(known.landmark_ids[query])
        smaller = without(database, truth)
        _, expected = replace(retriever, database=smaller).gather(
            known.take([query]), lambda row: None
        )
        heads = ranked[query][ranked[query] != truth].tolist()
        assert evidence.head_labels[row].tolist() == [*heads, -1]
        mine = evidence.take([row])
        heads = {"head_labels": mine.head_labels, "head_scores": mine.head_scores}
        check_evidence(mine, Evidence(mine.query_ids, **{**expected.arrays, **heads}))
        assert len(set(evidence.query_ids)) == 7
    for query, left_out in enumerate(calibration_set.excluded.landmarks):
        own = calibration_set.excluded.rows[query]
        assert own < 0 or own not in found.rows[query]
        assert left_out < 0 or left_out not in database.rows.labels(found.rows[query])


def test_a_pair_of_photos_is_compared_once(retriever: Retriever, known: KnownQueries) -> None:
    retriever = few(retriever, 12, 8)
    calibration_set = build_calibration_set(known.embeddings, retriever.database)
    compare, pairs = Verifier.compare, list[tuple[int, int]]()

    def count(self: Verifier, query: LocalFeatures, rows: list[int], meter: Meter) -> object:
        pairs.extend((id(query), row) for row in rows)
        return compare(self, query, rows, meter)

    kept = [known.find_features(row) for row in range(len(known.ids))]
    with mock.patch.object(Verifier, "compare", count):
        neighbors, evidence = calibration_set.gather(
            replace(known, find_features=kept.__getitem__), retriever
        )
    wanted = {
        (int(calibration_set.photos[query]), int(neighbors.rows[query, place]))
        for query, place in zip(*np.nonzero(evidence.inliers >= 0), strict=True)
    }
    assert len(set(pairs)) == len(pairs) == len(wanted)
    assert (evidence.inliers >= 0).sum() > len(wanted)


def test_nothing_tells_that_a_landmark_was_taken_out(
    retriever: Retriever, known: KnownQueries
) -> None:
    """Neighbours, candidates and sizes are as many as for photos of other things."""
    retriever = few(retriever, 7, 3)
    calibration_set = build_calibration_set(known.embeddings, retriever.database)
    _, evidence = calibration_set.gather(known, retriever)
    for kind in (LANDMARK, POOL, REMOVED):
        some = evidence.take(calibration_set.kinds == kind)
        assert (some.labels >= 0).all()
        assert ((some.inliers >= 0).sum(axis=1) == 3).all()
        assert (some.sizes == PHOTOS).all()


def test_a_database_of_one_landmark_is_asked_once() -> None:
    vectors = np.eye(3, DIM, dtype=np.float32)
    labels = np.zeros(3, dtype=np.int64)
    database = make_database(vectors, "abc", labels)
    known = Embeddings(("a", "b", "c"), labels, vectors, HeadScores.none(3))
    assert build_calibration_set(known, database).kinds.tolist() == [LANDMARK] * 3
    two = replace(database, rows=make_database(vectors, "abc", np.array([0, 0, 1])).rows)
    assert build_calibration_set(known, two).kinds.tolist() == [LANDMARK] * 3 + [REMOVED] * 3
    assert build_calibration_set(known, two, twice=False).kinds.tolist() == [LANDMARK] * 3


def test_a_landmark_head_that_learned_the_landmark_is_not_asked() -> None:
    """Its answer is not known: nan, as without a head."""
    vectors = np.eye(3, DIM, dtype=np.float32)
    labels = np.array([0, 0, 1])
    head = mock.Mock(probability=lambda vectors, rows: np.full(len(vectors), 0.5))
    database = make_database(vectors, "abc", labels)
    recipe = make_recipe({"rerank": {"method": "none"}}, "test")
    retriever = Retriever(
        replace(database, landmark_head=head), np.empty((0, DIM), np.float32), None, recipe
    )
    known = Embeddings(("a", "b", "c"), labels, vectors, HeadScores.none(3))
    calibration_set = build_calibration_set(known, database)
    _, evidence = calibration_set.gather(
        KnownQueries(known, lambda row: None, NO_VECTORS), retriever
    )
    assert np.isnan(evidence.landmark).tolist() == [False] * 3 + [True] * 3


def test_centroids_are_those_of_the_other_landmarks(retriever: Retriever) -> None:
    database = retriever.database
    vectors = database.images.whole(np.arange(len(database.images)))
    policy = next(each for each in POLICIES.values() if each.vote.name == "centroids")
    excluded = Exclusion(
        np.full(len(vectors), -1), np.where(database.rows.landmark_ids == 3, 3, -1)
    )
    rows = np.full((len(vectors), 1), -1)
    found = make_extras(policy, database, vectors, rows, excluded).centroids
    plain = make_extras(policy, database, vectors, rows).centroids
    smaller = make_extras(policy, without(database, 3), vectors, rows).centroids
    assert found is not None and plain is not None and smaller is not None
    mine = database.rows.landmark_ids == 3
    np.testing.assert_array_equal(found.labels[~mine], plain.labels[~mine])
    np.testing.assert_array_equal(found.labels[mine][:, : LANDMARKS - 1], smaller.labels[mine])
    assert (found.labels[mine][:, LANDMARKS - 1] == -1).all()


def test_no_photo_is_asked_of_a_whitening_that_learned_from_it() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 6)
    drawn = rng.normal(size=(72, DIM)) + labels[:, None] / 6
    vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    ids = tuple(f"p{row}" for row in range(72))
    recipe = make_recipe(
        {"search": {"whiten": "within-class", "neighbors": 20}, "rerank": {"method": "none"}}, "it"
    )
    whitening, index = fit_search(vectors, labels, recipe.search)
    assert whitening is not None
    database = make_database(ImageIndex(index), ids, labels, whitening=whitening)
    retriever = Retriever(database, np.empty((0, DIM), np.float32), None, recipe)
    outside = Embeddings(("new",), np.array([3]), vectors[:1], HeadScores.none(1))
    inside = Embeddings(ids, labels, vectors, HeadScores.none(72))
    known = KnownQueries(Embeddings.concatenate([inside, outside]), lambda row: None, vectors)
    calibration_set = build_calibration_set(known.embeddings, database)
    _, evidence = calibration_set.gather(known, retriever)
    assert evidence.query_ids == calibration_set.queries.ids
    for place, photo in enumerate(calibration_set.photos):
        fitted = np.arange(72) % 5 != photo % 5 if photo < 72 else np.ones(72, dtype=bool)
        own = fit_within_class(vectors[fitted], labels[fitted])
        assert own is not None
        cosines = own.apply(vectors) @ own.apply(known.embeddings.vectors[photo : photo + 1])[0]
        excluded = (np.arange(72) == photo) | (labels == calibration_set.excluded.landmarks[place])
        best = np.sort(np.where(excluded, -2, cosines))[::-1][:20]
        np.testing.assert_allclose(evidence.similarities[place], best, atol=1e-5)
