"""Gathering evidence: a photo of the database asked as if it were not in it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from classify_head.evidence import Evidence
from embed.head_scores import HeadScores
from embed.shards import Embeddings
from index.neighbors import Neighbors
from pipelines.answers.exclusion import Exclusion
from pipelines.answers.open_run import load_split_embeddings, open_retriever
from pipelines.answers.retriever import Retriever
from pipelines.artifacts import load_manifest
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.databases import take_rows
from tests.datasets import LANDMARKS, PHOTOS


@pytest.fixture(scope="module")
def retriever(calibrated: Tiny) -> Retriever:
    manifest = load_manifest(calibrated.run / "index")
    assert manifest is not None
    recipe = load_recipe(str(calibrated.recipe))
    return open_retriever(calibrated.run, recipe, manifest.model["fingerprint"])


@pytest.fixture(scope="module")
def vectors(retriever: Retriever) -> np.ndarray:
    database = retriever.database
    found = database.images.whole(np.arange(len(database.images)))
    return np.asarray(found, dtype=np.float32)


def gather(
    retriever: Retriever, ids: Sequence[str], vectors: np.ndarray, *, leave_out: bool
) -> tuple[Neighbors, Evidence]:
    assert retriever.features is not None
    store = retriever.features
    excluded = Exclusion.own_rows(ids, retriever.database) if leave_out else None
    return retriever.gather(ask(ids, vectors), lambda row: store.get(ids[row]), excluded)


def ask(ids: Sequence[str], vectors: np.ndarray) -> Embeddings:
    """Return queries of which the head says nothing."""
    count = len(ids)
    return Embeddings(tuple(ids), np.full(count, -1), vectors, HeadScores.none(count))


def without_row(retriever: Retriever, vectors: np.ndarray, row: int) -> Retriever:
    """Return the recogniser of a database in which one image never was."""
    keep = np.arange(len(vectors)) != row
    database = retriever.database
    smaller = take_rows(database, keep)
    return replace(retriever, database=smaller)


def test_an_image_left_out_is_as_good_as_not_there(
    retriever: Retriever, vectors: np.ndarray
) -> None:
    """The oracle is a database that was built without the image."""
    ids = retriever.database.rows.list_ids()
    neighbors, evidence = gather(retriever, ids, vectors, leave_out=True)
    for row in range(0, len(ids), 5):
        smaller = without_row(retriever, vectors, row)
        found, expected = gather(
            smaller, ids[row : row + 1], vectors[row : row + 1], leave_out=False
        )
        names = [smaller.database.rows.image_id(place) for place in found.rows[0] if place >= 0]
        assert [ids[place] for place in neighbors.rows[row] if place >= 0] == names
        arrays = evidence.take(slice(row, row + 1)).arrays
        del arrays["sizes"]  # see below
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, expected.arrays[name], err_msg=name)


@pytest.mark.parametrize(("count", "neighbors"), [(8, 24), (1000, 24), (12, 3)])
def test_a_refined_image_left_out_is_as_good_as_not_there(
    retriever: Retriever, vectors: np.ndarray, count: int, neighbors: int
) -> None:
    """Nor does it refine any other."""
    retriever = refining(retriever, count, neighbors)
    ids = retriever.database.rows.list_ids()
    found, evidence = gather(retriever, ids, vectors, leave_out=True)
    for row in range(0, len(ids), 5):
        smaller = without_row(retriever, vectors, row)
        expected, other = gather(
            smaller, ids[row : row + 1], vectors[row : row + 1], leave_out=False
        )
        names = [smaller.database.rows.image_id(place) for place in expected.rows[0] if place >= 0]
        assert [ids[place] for place in found.rows[row] if place >= 0] == names
        np.testing.assert_allclose(evidence.similarities[row], other.similarities[0], atol=1e-6)
        np.testing.assert_array_equal(evidence.inliers[row], other.inliers[0])


def refining(retriever: Retriever, count: int, neighbors: int) -> Retriever:
    """Return it with so many neighbours, of so many that are refined."""
    recipe = retriever.recipe
    rerank = recipe.rerank.model_copy(update={"refine": count, "candidates": 2})
    search = recipe.search.model_copy(update={"neighbors": neighbors})
    changed = recipe.model_copy(update={"rerank": rerank, "search": search})
    return replace(retriever, recipe=changed)


def test_the_refined_order_decides_what_is_verified(
    retriever: Retriever, vectors: np.ndarray
) -> None:
    ids = retriever.database.rows.list_ids()
    plain, _ = gather(refining(retriever, 0, 24), ids, vectors, leave_out=True)
    neighbors, evidence = gather(refining(retriever, 24, 3), ids, vectors, leave_out=True)
    whole, _ = gather(refining(retriever, 24, 24), ids, vectors, leave_out=True)
    np.testing.assert_array_equal(neighbors.rows, whole.rows[:, :3])
    assert (neighbors.rows != plain.rows[:, :3]).any()
    verified = evidence.inliers >= 0
    assert verified[:, :2].all() and not verified[:, 2:].any()
    assert (np.diff(evidence.similarities, axis=1) <= 0).all()


def test_refining_goes_without_local_features(retriever: Retriever, vectors: np.ndarray) -> None:
    ids = retriever.database.rows.list_ids()
    expected, _ = gather(refining(retriever, 12, 5), ids, vectors, leave_out=True)
    alone = replace(refining(retriever, 12, 5), features=None)
    excluded = Exclusion.own_rows(ids, retriever.database)
    neighbors, evidence = alone.gather(ask(ids, vectors), lambda row: None, excluded)
    np.testing.assert_array_equal(neighbors.rows, expected.rows)
    assert (evidence.inliers == -1).all()


def test_no_image_finds_itself(retriever: Retriever, vectors: np.ndarray) -> None:
    ids = retriever.database.rows.list_ids()
    neighbors, evidence = gather(retriever, ids, vectors, leave_out=True)
    own = np.arange(len(ids))[:, None]
    assert not (neighbors.rows == own).any()
    mine = evidence.labels == retriever.database.rows.landmark_ids[:, None]
    assert mine.sum() == LANDMARKS * PHOTOS * (PHOTOS - 1)  # all others of the landmark are found


def test_the_size_of_a_landmark_does_not_tell_which_is_right(
    retriever: Retriever, vectors: np.ndarray
) -> None:
    """All have the same here; were the query not counted, the right one would have one less."""
    _, evidence = gather(retriever, retriever.database.rows.list_ids(), vectors, leave_out=True)
    assert (evidence.sizes == np.where(evidence.labels >= 0, PHOTOS, 0)).all()


def test_otherwise_every_image_finds_itself_first(
    retriever: Retriever, vectors: np.ndarray
) -> None:
    ids = retriever.database.rows.list_ids()
    neighbors, evidence = gather(retriever, ids[:3], vectors[:3], leave_out=False)
    assert neighbors.rows[:, 0].tolist() == [0, 1, 2]
    assert (evidence.overlaps[:, 0] > 0.9).all()
    assert (evidence.sizes == PHOTOS).all()


def test_leaving_out_what_is_not_there_changes_nothing(
    retriever: Retriever, calibrated: Tiny
) -> None:
    test = load_split_embeddings(calibrated.run, "test")
    for few in (retriever, shallow(retriever)):
        left, plain = (
            few.gather(test, lambda row: None, excluded)
            for excluded in (Exclusion.own_rows(test.ids, few.database), None)
        )
        np.testing.assert_array_equal(left[0].rows, plain[0].rows)
        np.testing.assert_array_equal(left[1].sizes, plain[1].sizes)


def shallow(retriever: Retriever) -> Retriever:
    """Return it with 3 neighbours, fewer than the database has."""
    search = retriever.recipe.search.model_copy(update={"neighbors": 3})
    return replace(retriever, recipe=retriever.recipe.model_copy(update={"search": search}))


def test_leaving_out_keeps_the_number_of_neighbours(
    retriever: Retriever, vectors: np.ndarray
) -> None:
    ids = retriever.database.rows.list_ids()
    neighbors, _ = gather(shallow(retriever), ids, vectors, leave_out=True)
    assert neighbors.rows.shape == (len(ids), 3)
    assert (neighbors.rows >= 0).all()


def test_queries_without_features_are_not_verified(
    retriever: Retriever, vectors: np.ndarray
) -> None:
    _, evidence = retriever.gather(ask(["a", "b"], vectors[:2]), lambda row: None)
    assert (evidence.inliers == -1).all()
    assert np.isnan(evidence.residuals).all()
    assert (evidence.overlaps == 0).all()


def test_no_queries_are_no_evidence(retriever: Retriever, vectors: np.ndarray) -> None:
    neighbors, evidence = retriever.gather(ask([], vectors[:0]), lambda row: None)
    assert len(evidence) == 0
    assert neighbors.rows.shape == evidence.labels.shape == (0, 24)
