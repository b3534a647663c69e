"""Regions in a run: a small thing is found by the one that shows it, and the answer says where."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from classify_head.ensemble import combine_embeddings
from embed.errors import InputError
from embed.head_scores import HeadScores
from embed.shards import Embeddings
from index.images import ImageIndex
from pipelines.answers.exclusion import Exclusion
from pipelines.answers.retriever import Retriever
from pipelines.recognizer import Recognizer
from pipelines.runs.decoding import decode_side
from pipelines.runs.recipe import load_recipe, make_recipe
from pipelines.stages.fit_search import fit_search
from tests.conftest import Tiny
from tests.databases import make_database
from tests.datasets import SIDE, cairn, make_recipe_file, view

DIM, EACH, IMAGES = 16, 5, 12  # EACH: the whole and a grid of 2
LABELS = np.repeat([0, 1, 2], 4)
IDS = tuple(f"image{row}" for row in range(IMAGES))
REGIONS = "[embed.regions]\ngrids = [2]\n"


def unit(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=(*shape, DIM))
    values /= np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values, dtype=np.float32)


def retriever_of(
    vectors: NDArray[np.float32], pool: NDArray[np.float32], **search: object
) -> Retriever:
    recipe = make_recipe({"rerank": {"method": "none"}, "search": {"neighbors": 5, **search}}, "t")
    whitening, index = fit_search(vectors, LABELS, recipe.search, pool=pool)
    database = make_database(ImageIndex(index, vectors.shape[1]), IDS, LABELS, whitening=whitening)
    return Retriever(database, pool, None, recipe)


def queries_of(vectors: NDArray[np.float32], ids: tuple[str, ...]) -> Embeddings:
    head = HeadScores.none(len(ids))
    return Embeddings(ids, np.full(len(ids), -1), vectors[:, 0], head, vectors[:, 1:])


@pytest.mark.parametrize("whiten", ["none", "pca", "within-class"])
def test_similarities_and_those_to_the_pool_are_of_the_best_regions(whiten: str) -> None:
    vectors, pool, asked = unit(IMAGES, EACH), unit(6, EACH, seed=1), unit(3, EACH, seed=2)
    retriever = retriever_of(vectors, pool, whiten=whiten, whiten_dim=8)
    found, evidence = retriever.gather(queries_of(asked, ("a", "b", "c")), lambda query: None)
    whitening = retriever.database.whitening
    if whitening is not None:
        vectors, pool, asked = (whitening.apply_all(each) for each in (vectors, pool, asked))
    best = np.einsum("qud,nvd->qnuv", asked, vectors).max(axis=(2, 3))
    expected = np.argsort(-best, axis=1)[:, :5]
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(evidence.labels, LABELS[expected])
    to_pool = np.einsum("qud,pvd->qpuv", asked, pool).max(axis=(2, 3))
    count = evidence.query_pool.shape[1]
    np.testing.assert_allclose(evidence.query_pool, -np.sort(-to_pool)[:, :count], atol=1e-5)
    of_rows = np.einsum("nud,pvd->npuv", vectors, pool).max(axis=(2, 3))[expected]
    count = evidence.neighbor_pool.shape[2]
    np.testing.assert_allclose(evidence.neighbor_pool, -np.sort(-of_rows)[..., :count], atol=1e-5)
    for query, rows in enumerate(found.rows):
        one = queries_of(unit(3, EACH, seed=2)[query : query + 1], ("x",))
        for (mine, other), row in zip(
            retriever.best_regions(one, rows.tolist()), rows, strict=True
        ):
            assert asked[query, mine] @ vectors[row, other] == pytest.approx(
                best[query, row], abs=1e-5
            )


def test_regions_that_show_no_landmark_do_not_hide_the_one_that_does() -> None:
    # As landmarks lie to one side of all else, so does every background, seen from their mean.
    kind, rest = np.eye(DIM, dtype=np.float32)[:2]
    things = np.repeat(0.5 * unit(3, seed=3), 4, axis=0) + 0.1 * unit(IMAGES)

    def raw(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True), np.float32)

    database = raw(kind + np.repeat(things[:, None], EACH, axis=1))
    database[0] = raw(kind + 0.4 * rest)  # a hub: it shows more of the background
    pool = raw(rest + 0.1 * unit(20, EACH, seed=5))
    asked = raw(rest + 0.1 * unit(8, EACH, seed=6))
    asked[:, 2] = raw(kind + things[8] + 0.3 * unit(8, seed=7))
    found: list[float] = []
    for others in (pool, pool[:0]):
        retriever = retriever_of(database, others, whiten="pca", whiten_dim=8)
        queries = queries_of(asked, tuple("abcdefgh"))
        neighbors, _ = retriever.gather(queries, lambda query: None)
        found.append(float((LABELS[neighbors.rows[:, 0]] == 2).mean()))
    assert found == [1, 0]  # without a pool nothing is known of the background


def test_the_pool_moves_no_centre_where_images_have_one_vector() -> None:
    vectors, pool = unit(IMAGES, 1), unit(6, 1, seed=1)
    with_pool = retriever_of(vectors, pool, whiten="pca", whiten_dim=8).database.whitening
    without = retriever_of(vectors, pool[:0], whiten="pca", whiten_dim=8).database.whitening
    assert with_pool is not None and without is not None
    assert with_pool.fingerprint == without.fingerprint


def test_excluded_images_are_out_with_all_their_regions() -> None:
    vectors = unit(IMAGES, EACH)
    retriever = retriever_of(vectors, vectors[:0])
    known = queries_of(vectors[:2], IDS[:2])
    own = Exclusion.own_rows(IDS[:2], retriever.database)
    found, _ = retriever.gather(known, lambda query: None, own)
    assert not (found.rows == np.arange(2)[:, None]).any() and (found.rows >= 0).all()
    without = replace(own, landmarks=np.array([0, 0]))
    found, evidence = retriever.gather(known, lambda query: None, without)
    assert not (evidence.labels == 0).any()
    kept = ImageIndex.build(vectors[LABELS != 0]).search(vectors[:2], 5)
    np.testing.assert_array_equal(found.rows, np.flatnonzero(LABELS != 0)[kept.rows])
    np.testing.assert_allclose(found.scores, kept.scores, atol=1e-6)


def test_centroids_are_of_whole_images() -> None:
    vectors = unit(IMAGES, EACH)
    labels, centroids = retriever_of(vectors, vectors[:0]).database.centroids
    expected = np.stack([vectors[label == LABELS, 0].mean(axis=0) for label in labels])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(centroids, expected, atol=1e-6)


@pytest.mark.parametrize("key", ["search.expand_query", "search.augment_database", "rerank.refine"])
def test_what_moves_whole_descriptors_alone_is_refused(key: str) -> None:
    section, name = key.split(".")
    values = {section: {name: 10}, "embed": {"regions": {"grids": [3]}}}
    with pytest.raises(InputError, match=f"{key} = 10 with embed.regions: .* set {key} = 0"):
        make_recipe(values, "mine")


def test_members_of_an_ensemble_describe_the_same_regions() -> None:
    members = {"a": {}, "b": {"embed": {"regions": {"grids": [2]}}}}
    with pytest.raises(InputError, match=r"members\.b\.embed\.regions\] differs"):
        make_recipe({"ensemble": {"members": members}}, "mine")
    first = queries_of(unit(2, EACH), IDS[:2])
    both = combine_embeddings([first, queries_of(unit(2, EACH, seed=1), IDS[:2])], "mean")
    expected = unit(2, EACH) @ unit(2, EACH)[0, 3]
    other = unit(2, EACH, seed=1) @ unit(2, EACH, seed=1)[0, 3]
    cosines = both.all_vectors @ both.all_vectors[0, 3]
    np.testing.assert_allclose(cosines, (expected + other) / 2, atol=1e-6)
    with pytest.raises(InputError, match="different regions"):
        combine_embeddings([first, replace(first, regions=None)], "mean")


def test_photos_are_decoded_large_enough_for_regions(finished: Tiny) -> None:
    plain = load_recipe(str(finished.recipe), changes=["rerank.method=none"])
    regions = load_recipe(
        str(finished.recipe), changes=["rerank.method=none", "embed.regions.grids=[3]"]
    )
    assert decode_side(regions) == 2 * decode_side(plain)


@pytest.fixture(scope="module")
def regional(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run with regions that was not trained."""
    folder = tmp_path_factory.mktemp("regional")
    changes = f"[train]\nepochs = 0\n{REGIONS}"
    tiny = Tiny(finished.data, make_recipe_file(folder / "tiny.toml", changes), folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


def test_the_answer_says_where_in_the_photo(regional: Tiny, tmp_path: Path) -> None:
    # A photo of the database fills the lower right of one twice as large, but for its overlap.
    wide = np.random.default_rng(0).integers(0, 256, (3 * SIDE, 3 * SIDE, 3), dtype=np.uint8)
    wide[SIDE:, SIDE:] = np.kron(view(1, 2), np.ones((2, 2, 1), np.uint8))
    path = tmp_path / "wide.png"
    Image.fromarray(wide).save(path)
    engine = Recognizer.load(regional.run)
    answer = engine.recognize(path, neighbors=24)
    near = max(answer.neighbors, key=lambda match: match.similarity)
    assert near.image_id == "thing1-2"
    assert near.query_box == (SIDE, SIDE, 3 * SIDE, 3 * SIDE)
    assert near.box is None  # all of the photo
    told = cairn("query", path, "--run", regional.run, "--neighbors", 24)
    assert f"x {SIDE} to {3 * SIDE}, y {SIDE} to {3 * SIDE}" in told.out
    told = cairn("query", path, "--run", regional.run, "--neighbors", 24, "--json")
    found = json.loads(told.out)
    assert found == json.loads(json.dumps(answer.to_json()))


def test_a_photo_asked_alone_is_found_as_in_the_submission(regional: Tiny) -> None:
    engine = Recognizer.load(regional.run)
    database = engine.opened.retriever.database
    assert database.images.per_image == 5 and len(database.images) == len(database.rows)
    answer = engine.recognize(regional.data / "images" / "thing0-2.jpg")
    assert answer.neighbors[0].image_id == "thing0-2"
    assert answer.neighbors[0].similarity == pytest.approx(1, abs=1e-4)
