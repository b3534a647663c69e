"""The landmark head of a run: what it learns from, what it is asked, and runs that have none."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from classify_head.evidence_store import read_evidence
from classify_head.landmark_head import FOLDS, LEAST_IMAGES, fit_landmark_head
from classify_head.rejection import RejectNonLandmarks
from pipelines.answers.database import LANDMARK_HEAD, load_landmark_head
from pipelines.answers.exclusion import Exclusion
from pipelines.answers.open_run import load_split_embeddings, open_retriever, split_pool
from pipelines.answers.retriever import Retriever
from pipelines.artifacts import load_manifest
from pipelines.recognizer import Recognizer
from pipelines.runs.recipe import load_recipe
from pipelines.stages import order
from tests.conftest import Tiny
from tests.datasets import (
    POOL,
    QUERIES,
    cairn,
    make_job,
    make_recipe_file,
    results,
    view,
    write_photo,
    write_table,
)

PLAIN = "[train]\nepochs = 0\n[rerank]\nmethod = 'none'\n[decide]\npolicy = 'knn-sum'\n"
FITTED = PLAIN + "landmark_head = true\nrejected = 'empty'\n"
REJECTING = FITTED + "[decide.steps.rejection]\nname = 'landmark-head'\n"
STANDING = REJECTING + "unknown = 'stand'\n"


def add_pool(data: Path) -> None:
    """Let a dataset have as many photos without a landmark as a head needs."""
    more = [f"void{number}" for number in range(2 * LEAST_IMAGES)]
    for number, image_id in enumerate(more):
        write_photo(data, image_id, view(300 + number, 0))
    write_table(data / "non_landmark.csv", "id", [*POOL, *more])


@pytest.fixture(scope="module")
def pooled(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run that rejects half of its queries by its landmark head."""
    folder = tmp_path_factory.mktemp("pooled")
    data = shutil.copytree(finished.data, folder / "data")
    add_pool(data)
    tiny = Tiny(data, make_recipe_file(folder / "tiny.toml", REJECTING), folder / "run")
    assert tiny.submit().status == 0
    middle = np.median(read_evidence(tiny.run / "evidence.parquet").landmark)
    make_recipe_file(tiny.recipe, f"{REJECTING}threshold = {middle}\n")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


def reject(tiny: Tiny) -> NDArray[np.bool_]:
    """Return which test queries are below the threshold of the recipe."""
    rejection = load_recipe(str(tiny.recipe)).decide.make_policy().rejection
    assert isinstance(rejection, RejectNonLandmarks)
    landmark = read_evidence(tiny.run / "evidence.parquet").landmark
    return np.asarray(landmark < rejection.threshold)


def retriever_of(tiny: Tiny) -> Retriever:
    manifest = load_manifest(tiny.run / "index")
    assert manifest is not None
    return open_retriever(tiny.run, load_recipe(str(tiny.recipe)), manifest.model["fingerprint"])


def landmarks_of(tiny: Tiny) -> NDArray[np.float32]:
    return load_split_embeddings(tiny.run, "train").vectors


def test_it_learns_from_the_database_and_the_first_half_of_the_pool(pooled: Tiny) -> None:
    head = load_landmark_head(pooled.run / "index" / LANDMARK_HEAD)
    expected = fit_landmark_head(landmarks_of(pooled), split_pool(pooled.run)[0].vectors)
    np.testing.assert_array_equal(head.head.weights, expected.weights)
    manifest = load_manifest(pooled.run / "index")
    assert manifest is not None
    assert LANDMARK_HEAD in [record.name for record in manifest.outputs]


def test_queries_are_asked_and_rejected_below_the_threshold(pooled: Tiny) -> None:
    evidence = read_evidence(pooled.run / "evidence.parquet")
    head = load_landmark_head(pooled.run / "index" / LANDMARK_HEAD)
    queries = load_split_embeddings(pooled.run, "test").vectors
    np.testing.assert_array_equal(evidence.landmark, head.probability(queries).astype(np.float32))
    rows = dict(
        line.split(",") for line in (pooled.run / "submission.csv").read_text().splitlines()[1:]
    )
    assert reject(pooled).sum() == len(QUERIES) / 2
    assert [rows[query] == "" for query in QUERIES] == reject(pooled).tolist()


def test_a_photo_is_asked_as_a_test_image(pooled: Tiny) -> None:
    engine = Recognizer.load(pooled.run)
    for query, rejected in zip(QUERIES, reject(pooled), strict=True):
        answer = engine.recognize(pooled.data / "images" / f"{query}.jpg")
        assert (answer.label is None) == ("of any landmark is below" in answer.reason)
        assert (answer.label is None) == rejected


def test_a_known_query_of_the_database_is_asked_of_a_head_that_did_not_learn_it(
    pooled: Tiny,
) -> None:
    retriever = retriever_of(pooled)
    known, others = load_split_embeddings(pooled.run, "train"), split_pool(pooled.run)[0].vectors
    assert known.ids == retriever.database.rows.list_ids()
    own_rows = Exclusion.own_rows(known.ids, retriever.database)
    _, evidence = retriever.gather(known, lambda row: None, own_rows)
    rows = np.arange(len(known.ids))
    for fold in range(FOLDS):
        mine = rows % FOLDS == fold
        without = fit_landmark_head(known.vectors[~mine], others)
        expected = without.probability(known.vectors[mine])
        np.testing.assert_allclose(evidence.landmark[mine], expected, rtol=1e-6)
    _, seen = retriever.gather(known, lambda row: None)
    assert seen.landmark.mean() > evidence.landmark.mean()


def test_whitening_changes_nothing_of_it(pooled: Tiny, tmp_path: Path) -> None:
    """Descriptors are taken as embedded."""
    run = shutil.copytree(pooled.run, tmp_path / "run")
    changes = REJECTING + "[search]\nwhiten = 'pca'\nwhiten_dim = 4\n"
    tiny = Tiny(pooled.data, make_recipe_file(tmp_path / "tiny.toml", changes), run)
    before = (run / "index" / LANDMARK_HEAD).read_bytes()
    order.index(make_job(tiny.data, run, tiny.recipe))
    assert (run / "index" / LANDMARK_HEAD).read_bytes() == before
    test = load_split_embeddings(run, "test")
    queries = [each.gather(test, lambda row: None)[1] for each in map(retriever_of, (tiny, pooled))]
    np.testing.assert_array_equal(queries[0].landmark, queries[1].landmark)


def test_two_runs_fit_the_same_head(pooled: Tiny, tmp_path: Path) -> None:
    run = shutil.copytree(pooled.run, tmp_path / "run")
    order.index(make_job(pooled.data, run, pooled.recipe), redo=True)
    name = f"index/{LANDMARK_HEAD}"
    assert results(run)[name] == results(pooled.run)[name]


def test_switched_off_nothing_is_left_of_it(pooled: Tiny, tmp_path: Path) -> None:
    run = shutil.copytree(pooled.run, tmp_path / "run")
    recipe = make_recipe_file(tmp_path / "tiny.toml", PLAIN)
    manifest = order.index(make_job(pooled.data, run, recipe))
    assert not (run / "index" / LANDMARK_HEAD).exists()
    recorded = load_manifest(run / "index")
    assert recorded is not None
    assert recorded.settings == manifest.settings and not recorded.settings["landmark_head"]
    test = load_split_embeddings(run, "test")
    _, evidence = retriever_of(replace(pooled, recipe=recipe, run=run)).gather(test, lambda _: None)
    assert np.isnan(evidence.landmark).all()


@pytest.mark.parametrize("has_table", [True, False])
def test_without_a_pool_to_learn_from_a_recipe_may_let_all_stand(
    has_table: bool, fresh: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    make_recipe_file(fresh.recipe.with_name("standing.toml"), STANDING)
    if not has_table:
        (fresh.data / "non_landmark.csv").unlink()
    end = replace(fresh, recipe=fresh.recipe.with_name("standing.toml")).submit()
    assert end.status == 0, end.err
    count = len(POOL) // 2 if has_table else 0
    assert f"no landmark head: 24 photos in the database and {count} in the half" in caplog.text
    assert f"list {2 * LEAST_IMAGES} or more in non_landmark.csv" in caplog.text
    assert not (fresh.run / "index" / LANDMARK_HEAD).exists()
    rows = (fresh.run / "submission.csv").read_text().splitlines()[1:]
    assert not any(row.endswith(",") for row in rows)


def test_without_a_pool_to_learn_from_others_say_what_to_do(
    fresh: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = make_recipe_file(fresh.recipe.with_name("rejecting.toml"), REJECTING)
    end = cairn("index", *replace(fresh, recipe=recipe).options)
    assert end.status == 1
    assert "needs a landmark head" in end.err and "table non_landmark" in end.err
    assert [each.levelno for each in caplog.records if "no landmark head" in each.message] == [
        logging.WARNING
    ]


def test_a_rejection_without_the_head_it_asks_is_refused(tmp_path: Path) -> None:
    text = REJECTING.replace("landmark_head = true\n", "")
    with pytest.raises(ValueError, match=r"set decide\.landmark_head = true"):
        load_recipe(str(make_recipe_file(tmp_path / "tiny.toml", text)))


def test_the_slides_have_it() -> None:
    decide = load_recipe("facenet-hadamard").decide
    assert decide.landmark_head
    assert decide.make_policy().rejection.name == "landmark-head"


@pytest.mark.parametrize("text", ["", "{}", '{"head": 3, "folds": []}', "[]"])
def test_a_damaged_file_says_what_to_do(text: str, tmp_path: Path) -> None:
    path = tmp_path / "index" / LANDMARK_HEAD
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is no landmark head .*: cairn index --redo --run /"):
        load_landmark_head(path)
