"""What single policies ask for: support against a slow oracle, centroids, else nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from classify_head.policies import POLICIES
from embed.whitening import Whitening, fit_whitening
from index.base import BaseIndex
from pipelines.answers.database import Database
from pipelines.answers.decision import Decision, load_decision
from pipelines.answers.extras import label_support, make_extras
from pipelines.answers.open_run import load_split_embeddings, open_features, open_retriever
from pipelines.artifacts import load_manifest
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.databases import make_database
from tests.datasets import LANDMARKS, QUERIES, make_recipe_file


def unit(rng: np.random.Generator, count: int, dim: int = 6) -> NDArray[np.float32]:
    vectors = rng.normal(size=(count, dim))
    found = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(found, dtype=np.float32)


def database(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], whitening: Whitening | None = None
) -> Database:
    ids = tuple(f"i{row}" for row in range(len(vectors)))
    return make_database(vectors, ids, labels, whitening=whitening)


def slow_support(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """One neighbour after the other, one image of its landmark after the other."""
    support = np.zeros(rows.shape, dtype=np.float32)
    for place, row in np.ndenumerate(rows):
        others = [
            float(vectors[row] @ vectors[other])
            for other in range(len(vectors))
            if row >= 0 and other != row and labels[other] == labels[row]
        ]
        support[place] = max(others, default=0.0)
    return support


@pytest.mark.parametrize("seed", range(8))
def test_support_is_the_cosine_to_the_nearest_of_the_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, labels = unit(rng, 30), rng.integers(0, 12, 30)  # some have one image
    rows = rng.integers(-1, 30, (5, 7))
    found = label_support(database(vectors, labels), rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_support(vectors, labels, rows), atol=1e-6)


def test_padding_and_single_images_have_no_support() -> None:
    vectors = unit(np.random.default_rng(0), 3)
    searched = database(vectors, np.array([4, 5, 4]))
    found = label_support(searched, np.array([[0, 1, -1]]))
    np.testing.assert_allclose(found, [[vectors[0] @ vectors[2], 0, 0]], atol=1e-6)
    assert label_support(searched, np.full((2, 3), -1)).tolist() == [[0, 0, 0]] * 2
    assert label_support(searched, np.empty((0, 3), dtype=np.int64)).shape == (0, 3)


def test_two_copies_support_each_other_with_one() -> None:
    vector = unit(np.random.default_rng(0), 1)
    searched = database(np.repeat(vector, 2, axis=0), np.array([7, 7]))
    assert label_support(searched, np.array([[0, 1]]))[0] == pytest.approx([1, 1])


@pytest.mark.parametrize("name", POLICIES)
def test_only_what_is_asked_for_is_measured(name: str) -> None:
    rng = np.random.default_rng(0)
    searched = database(unit(rng, 12), np.arange(12) % 4)
    extras = make_extras(POLICIES[name], searched, unit(rng, 3), np.zeros((3, 2), dtype=np.int64))
    assert (extras.centroids is not None) == name.startswith("centroid")
    assert (extras.support is not None) == (name == "label-agreement")
    assert extras.calibrated is None


@pytest.mark.parametrize("whitened", [False, True])
def test_centroids_are_those_of_the_vectors_that_are_searched(whitened: bool) -> None:
    rng = np.random.default_rng(1)
    raw, labels, queries = unit(rng, 40), np.arange(40) % 5, unit(rng, 4)
    whitening = fit_whitening(raw, 3) if whitened else None
    vectors = whitening.apply(raw) if whitening else raw
    searched = database(vectors, labels, whitening)
    extras = make_extras(POLICIES["centroid"], searched, queries, np.zeros((4, 1), dtype=np.int64))
    means = np.array([vectors[labels == label].mean(axis=0) for label in range(5)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    asked = whitening.apply(queries) if whitening else queries
    assert extras.centroids is not None
    expected = -np.sort(-(asked @ means.T), axis=1)
    np.testing.assert_allclose(extras.centroids.scores, expected, atol=1e-6)
    np.testing.assert_array_equal(extras.centroids.labels[:, 0], (asked @ means.T).argmax(axis=1))


def test_the_centroids_of_a_database_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    searched, asked = database(unit(rng, 40), np.arange(40) % 5), np.zeros((1, 1), dtype=np.int64)
    read, counts = BaseIndex.vectors, list[int]()

    def count(index: BaseIndex, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        counts.append(len(rows))
        return read(index, rows)

    monkeypatch.setattr(BaseIndex, "vectors", count)
    for _ in range(3):  # a query is asked after the other
        make_extras(POLICIES["centroid"], searched, unit(rng, 1), asked)
    assert counts == [40]


@pytest.fixture(scope="module")
def gathered(calibrated: Tiny) -> Any:
    """Return recogniser, decision, and what is known of the test images of the run."""
    manifest = load_manifest(calibrated.run / "index")
    assert manifest is not None
    recipe = load_recipe(str(calibrated.recipe))
    retriever = open_retriever(calibrated.run, recipe, manifest.model["fingerprint"])
    test = load_split_embeddings(calibrated.run, "test")
    store = open_features(calibrated.run, "test", recipe)
    assert store is not None
    found = retriever.gather(test, lambda row: store.get(test.ids[row]))
    fitted = load_decision(calibrated.run, recipe, retriever.database)
    return retriever.database, fitted, test.vectors, *found


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_answers_for_a_run(name: str, gathered: Any, tmp_path: Path) -> None:
    searched, fitted, vectors, neighbors, evidence = gathered
    recipe = load_recipe(
        str(make_recipe_file(tmp_path / "t.toml", f"[decide]\npolicy = '{name}'\n"))
    )
    decision = Decision(recipe, fitted.model if name == "calibrated" else None, -1e9)
    extras = make_extras(decision.policy, searched, vectors, neighbors.rows)
    decided = decision.answer(evidence, extras)
    assert len(decided.answers.labels) == len(QUERIES)
    assert ((decided.guesses.labels >= 0) & (decided.guesses.labels < LANDMARKS)).all()
