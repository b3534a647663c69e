"""Verifying the predicted class: its images alone, near or far, and what the reports make of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify_head.evidence import Evidence
from classify_head.policies import POLICIES, decide
from classify_head.rejection import UNVERIFIED, RejectTorino, Verdict
from embed.decode import DecodedImage
from embed.head_scores import HeadScores
from embed.shards import Embeddings
from index.neighbors import Neighbors
from pipelines.answers.class_candidates import add_class_images
from pipelines.answers.database import Database
from pipelines.answers.exclusion import Exclusion
from pipelines.answers.retriever import Retriever
from pipelines.runs.recipe import make_recipe
from rerank.aggregated import build_aggregated_index, verify_aggregated
from rerank.features import LocalFeatures
from rerank.settings import RerankSettings
from rerank.sift import SiftExtractor
from rerank.store import FeatureStore
from rerank.verify import verify_candidates
from tests.databases import make_database
from tests.datasets import SIDE, view
from tests.features import write_features_part

LANDMARKS, PHOTOS, DIM = 4, 5, 8
ABSENT = 77  # a class of the head that the database does not show


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.normal(size=(count, DIM)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def extract(landmark: int, number: int) -> LocalFeatures:
    image = DecodedImage(view(landmark, number), (SIDE, SIDE))
    return SiftExtractor(max_side=SIDE, max_features=150).extract(image)


def make_queries(names: Sequence[str], classes: Sequence[int], vectors: np.ndarray) -> Embeddings:
    """Return queries of which a head says one class each."""
    labels = np.array(classes, dtype=np.int64)[:, None]
    scores = np.full(labels.shape, 0.9, dtype=np.float32)
    unknown = np.full(len(names), -1, dtype=np.int64)
    return Embeddings(tuple(names), unknown, vectors, HeadScores(labels, scores, scores))


def name_rows(labels: Sequence[int], vectors: np.ndarray) -> Database:
    ids = (f"image{row}" for row in range(len(labels)))
    return make_database(vectors, ids, np.array(labels, dtype=np.int64))


@pytest.fixture(scope="module")
def database() -> Database:
    """Photos in the order of their landmarks; what they look like says nothing of which it is."""
    labels = np.repeat(np.arange(LANDMARKS), PHOTOS).tolist()
    return name_rows(labels, unit(np.random.default_rng(3), len(labels)))


@pytest.fixture(scope="module")
def store(database: Database, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("features")
    features = [extract(row // PHOTOS, row % PHOTOS) for row in range(len(database.images))]
    write_features_part(folder / "part-0.parquet", database.rows.list_ids(), features, "sift")
    return FeatureStore(folder, "sift")


@pytest.fixture(scope="module")
def asked() -> list[LocalFeatures]:
    """Return what query 0 to 2 look like: photos of landmark 0, 1, and of none."""
    return [extract(0, 50), extract(1, 50), extract(100, 50)]


VECTORS = unit(np.random.default_rng(4), 3)


def retriever_of(database: Database, store: FeatureStore, **rerank: Any) -> Retriever:
    rerank = {"of": "predicted-class", "max_side": SIDE, **rerank}
    recipe = make_recipe({"search": {"neighbors": 6}, "rerank": rerank}, "test")
    return Retriever(database, np.empty((0, DIM), np.float32), store, recipe)


def gather(
    retriever: Retriever, asked: Sequence[LocalFeatures], classes: Sequence[int]
) -> tuple[Neighbors, Evidence]:
    queries = make_queries(["q0", "q1", "q2"], classes, VECTORS)
    return retriever.gather(queries, lambda query: asked[query])


def merge_slowly(
    database: Database, vector: np.ndarray, label: int, own: int, count: int, most: int
) -> tuple[list[int], set[int]]:
    """Sort everything: the rows of the merged neighbours, and which of them are chosen."""
    vectors = database.images.whole(np.arange(len(database.images)))
    order = np.argsort(-(vectors @ vector), kind="stable").tolist()
    order = [row for row in order if row != own]
    chosen = [row for row in order if database.rows.landmark_ids[row] == label][:most]
    return order[:count] + [row for row in order[count:] if row in chosen], set(chosen)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 14),
    most=st.integers(1, 6),
    leave_out=st.booleans(),
)
def test_a_class_is_merged_as_by_sorting_everything(
    seed: int, count: int, most: int, leave_out: bool
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 12).tolist()
    database = name_rows(labels, unit(rng, 12))
    vectors, classes = unit(rng, 5), np.array([0, 1, 2, ABSENT, -1])
    own = rng.integers(-2, 12, 5) if leave_out else None
    found = database.images.search(vectors[:, None], count + 1)
    left = np.argsort(found.rows == (-9 if own is None else own[:, None]), axis=1, kind="stable")
    near = Neighbors(
        np.take_along_axis(found.rows, left, axis=1)[:, :count],
        np.take_along_axis(found.scores, left, axis=1)[:, :count],
    )
    merged, chosen = add_class_images(near, database, vectors[:, None], classes, most=most, own=own)
    np.testing.assert_array_equal(merged.rows[:, :count], near.rows)
    assert merged.rows.shape == chosen.shape == (5, count + min(most, database.rows.largest_class))
    for query, label in enumerate(classes.tolist()):
        mine = -9 if own is None else int(own[query])
        rows, expected = merge_slowly(database, vectors[query], label, mine, count, most)
        assert [row for row in merged.rows[query].tolist() if row >= 0] == rows
        assert set(merged.rows[query, chosen[query]].tolist()) == expected


def test_the_width_does_not_depend_on_the_queries(database: Database) -> None:
    near = database.images.search(VECTORS[:, None], 6)
    whole, _ = add_class_images(near, database, VECTORS[:, None], np.array([0, 1, 2]), most=1000)
    one = Neighbors(near.rows[1:2], near.scores[1:2])
    alone, _ = add_class_images(one, database, VECTORS[1:2, None], np.array([1]), most=1000)
    np.testing.assert_array_equal(alone.rows, whole.rows[1:2])
    assert whole.rows.shape == (3, 6 + PHOTOS)


def test_no_queries_get_no_images(database: Database) -> None:
    none = Neighbors(np.empty((0, 6), np.int64), np.empty((0, 6), np.float32))
    merged, chosen = add_class_images(
        none, database, VECTORS[:0, None], np.empty(0, np.int64), most=3
    )
    assert merged.rows.shape == chosen.shape == (0, 9)


@pytest.mark.parametrize("most", [2, 1000])
def test_the_images_of_the_class_alone_are_verified(
    database: Database, store: FeatureStore, asked: list[LocalFeatures], most: int
) -> None:
    retriever = retriever_of(database, store, candidates=most)
    neighbors, evidence = gather(retriever, asked, [0, 1, 2])
    verified = evidence.inliers >= 0
    assert (evidence.labels[verified] == np.repeat([0, 1, 2], min(most, PHOTOS))).all()
    assert not np.isfinite(evidence.residuals[~verified]).any()
    geometry = retriever.recipe.rerank
    for query, place in zip(*np.nonzero(verified), strict=True):
        candidate = store.get(database.rows.image_id(neighbors.rows[query, place]))
        assert candidate is not None
        [expected] = verify_candidates(asked[query], [candidate], geometry)
        assert evidence.inliers[query, place] == expected.n_inliers


def test_aggregated_matching_takes_the_whole_class_at_once(
    database: Database, store: FeatureStore, asked: list[LocalFeatures]
) -> None:
    retriever = retriever_of(
        database, store, matching="aggregated", nearest=4, max_distance=0.7, max_iterations=50
    )
    neighbors, evidence = gather(retriever, asked, [1, 1, 0])
    how = RerankSettings(max_iterations=50, nearest=4, max_distance=0.7)
    for query, label in enumerate([1, 1, 0]):
        rows = np.flatnonzero(database.rows.landmark_ids == label)
        images = [store.get(database.rows.image_id(row)) for row in rows.tolist()]
        index = build_aggregated_index([image for image in images if image is not None])
        records = verify_aggregated(asked[query], index, how)
        expected = {row: found.n_inliers for row, found in zip(rows, records, strict=True)}
        places = np.flatnonzero(evidence.inliers[query] >= 0)
        found = zip(neighbors.rows[query, places], evidence.inliers[query, places], strict=True)
        assert dict(found) == expected


@pytest.mark.parametrize("matching", ["pairs", "aggregated"])
def test_a_query_that_is_left_out_is_not_verified_against_itself(
    database: Database, store: FeatureStore, matching: str
) -> None:
    retriever = retriever_of(database, store, matching=matching)
    ids = database.rows.list_ids()
    vectors = database.images.whole(np.arange(len(ids)))
    queries = make_queries(ids, database.rows.landmark_ids.tolist(), vectors)
    neighbors, evidence = retriever.gather(
        queries, lambda query: store.get(ids[query]), Exclusion.own_rows(ids, database)
    )
    assert not (neighbors.rows == np.arange(len(ids))[:, None]).any()
    assert ((evidence.inliers >= 0).sum(axis=1) == PHOTOS - 1).all()


def test_an_image_without_stored_features_is_left_out(
    database: Database, asked: list[LocalFeatures], tmp_path: Path
) -> None:
    write_features_part(tmp_path / "part-0.parquet", ["image0", "image3"], asked[:2], "sift")
    few = FeatureStore(tmp_path, "sift")
    for matching in ("pairs", "aggregated"):
        neighbors, evidence = gather(
            retriever_of(database, few, matching=matching), asked, [0, 0, 1]
        )
        for query, rows in enumerate([{0, 3}, {0, 3}, set()]):
            assert set(neighbors.rows[query, evidence.inliers[query] >= 0].tolist()) == rows


def test_without_a_head_there_is_no_predicted_class(
    database: Database, store: FeatureStore
) -> None:
    unknown = np.full(3, -1, dtype=np.int64)
    queries = Embeddings(("a", "b", "c"), unknown, VECTORS, HeadScores.none(3))
    with pytest.raises(ValueError, match=r'no classification head predicts one; .*"neighbors"'):
        retriever_of(database, store).gather(queries, lambda query: None)


def test_by_default_the_neighbours_are_verified(
    database: Database, store: FeatureStore, asked: list[LocalFeatures]
) -> None:
    neighbors, evidence = gather(
        retriever_of(database, store, of="neighbors", candidates=4), asked, [0, 1, 2]
    )
    assert neighbors.rows.shape == (3, 6)
    assert ((evidence.inliers >= 0) == (np.arange(6) < 4)).all()


def test_neighbours_cannot_be_aggregated() -> None:
    with pytest.raises(ValueError, match=r'set of = "predicted-class"'):
        make_recipe({"rerank": {"matching": "aggregated"}}, "test")


def evidence_of_classes(
    database: Database, store: FeatureStore, asked: Sequence[LocalFeatures], classes: Sequence[int]
) -> Evidence:
    retriever = retriever_of(
        database, store, matching="aggregated", candidates=1000, max_distance=0.8
    )
    return gather(retriever, asked, classes)[1]


def test_torino_confirms_the_right_class_and_no_other(
    database: Database, store: FeatureStore, asked: list[LocalFeatures]
) -> None:
    """Query 0 is right; 1 shows another landmark than predicted; 2 a class without images."""
    evidence = evidence_of_classes(database, store, asked, [0, 3, ABSENT])
    decided = decide(evidence, POLICIES["torino"])
    assert decided.answers.labels.tolist() == [0, -1, -1]
    assert decided.guesses.labels.tolist() == [0, 3, ABSENT]
    assert decided.reasons[2] == UNVERIFIED
    mean = evidence.inliers[1][evidence.inliers[1] >= 0].mean()
    assert mean < 5
    assert f"{mean:.1f} inliers on average" in decided.reasons[1]
    assert decided.reasons[1].endswith("with 5 images of the guess: too few for any landmark")
    verdicts = RejectTorino().judge(evidence, decided.guesses).tolist()
    assert verdicts == [Verdict.CONFIRMED, Verdict.NO_LANDMARK, Verdict.UNVERIFIED]


def test_se_attention_empties_what_has_few_inliers_on_average(
    database: Database, store: FeatureStore, asked: list[LocalFeatures]
) -> None:
    evidence = evidence_of_classes(database, store, asked, [0, 1, 0])
    assert (evidence.inliers >= 0).sum() == 3 * PHOTOS
    decided = decide(evidence, POLICIES["se-attention"])
    assert decided.answers.labels.tolist() == [0, 1, -1]
    assert decided.reasons[2].endswith("fewer than 5 on average")
