"""Further answers: what is verified in another part of a photo than what was answered before."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest

from classify_head.calibration import FALLBACK
from classify_head.policies import NO_GUESS
from embed.head_scores import HeadScores
from embed.shards import Embeddings
from pipelines.answers.answer import Answer, make_answers
from pipelines.answers.decision import Decision
from pipelines.answers.further import add_further
from pipelines.answers.retriever import Retriever
from pipelines.runs.recipe import make_recipe
from rerank.features import LocalFeatures
from rerank.store import FeatureStore
from rerank.verifier import FindFeatures
from tests.conftest import Tiny
from tests.databases import make_database
from tests.datasets import cairn, make_dataset, make_recipe_file, view, write_photo, write_table

SIZE = (600, 400)


def draw(seed: int, left: float, right: float, count: int = 60) -> LocalFeatures:
    """Draw features of a thing between two columns of a photo."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform((left, 20), (right, 380), (count, 2)).astype(np.float32)
    ones = np.ones(count, dtype=np.float32)
    descriptors = rng.normal(size=(count, 32)).astype(np.float32)
    return LocalFeatures(keypoints, descriptors, ones, ones, SIZE)


def join(*parts: LocalFeatures) -> LocalFeatures:
    keypoints = np.concatenate([each.keypoints for each in parts])
    descriptors = np.concatenate([each.descriptors for each in parts])
    ones = np.ones(len(keypoints), dtype=np.float32)
    return LocalFeatures(keypoints, descriptors, ones, ones, SIZE)


def see(thing: LocalFeatures) -> LocalFeatures:
    """Return the features as another photo has them: turned, scaled and shifted."""
    turned = thing.keypoints @ np.array([[0.85, 0.1], [-0.1, 0.85]]) + np.array([20, 40])
    return replace(thing, keypoints=turned.astype(np.float32))


def part(thing: LocalFeatures, count: int) -> LocalFeatures:
    ones = np.ones(count, dtype=np.float32)
    return LocalFeatures(thing.keypoints[:count], thing.descriptors[:count], ones, ones, SIZE)


A, B, C = draw(1, 10, 190), draw(2, 210, 390), draw(3, 410, 590)
TWIN = part(A, 30)  # has a half of what A has, and nothing else


def recognise(
    photo: LocalFeatures | None,
    database: Mapping[int, LocalFeatures],
    most: int = 3,
    threshold: float = 0.5,
    find: FindFeatures | None = None,
) -> Answer:
    """Answer a photo from a database of an image each; the first landmark is the nearest."""
    settings = {"decide": {"most_answers": most}, "search": {"neighbors": 8}}
    recipe = make_recipe(settings, "test")
    labels = np.array(list(database), dtype=np.int64)
    vectors = np.eye(len(labels) + 1, dtype=np.float32)[:-1]
    ids = tuple(f"photo of {label}" for label in database)
    names = {label: f"Thing {label}" for label in database}
    known = make_database(vectors, ids, labels, names=names)
    stored = {name: see(thing) for name, thing in zip(ids, database.values(), strict=True)}
    pool = np.empty((0, len(labels) + 1), dtype=np.float32)
    store = mock.Mock(spec=FeatureStore, get_many=lambda asked: [stored[str(i)] for i in asked])
    retriever = Retriever(known, pool, store, recipe)
    decision = Decision(recipe, FALLBACK, threshold)
    cosines = [0.7, *([0.4] * (len(labels) - 1))]
    vector = np.array([[*cosines, np.sqrt(1 - np.sum(np.square(cosines)))]], dtype=np.float32)
    asked = Embeddings(("q",), np.array([-1]), vector, HeadScores.none(1))
    neighbors, evidence = retriever.gather(asked, lambda query: photo)
    answers = make_answers(retriever, evidence, decision.answer(evidence))
    find = find or (lambda query: photo)
    return add_further(answers, retriever, decision, evidence, neighbors.rows, find_features=find)[
        0
    ]


def labels_of(answer: Answer) -> list[int]:
    return [each.label for each in answer.further]


def test_two_things_in_different_parts_are_both_answered() -> None:
    answer = recognise(join(A, B), {1: A, 2: B})
    assert answer.label == 1
    (found,) = answer.further
    assert (found.label, found.name, found.image_id) == (2, "Thing 2", "photo of 2")
    assert 0.5 < found.confidence <= 1
    assert found.inliers > 40
    left, top, right, bottom = found.box
    assert 205 <= left < 230 and 370 < right <= 391
    assert 15 <= top < 45 and 355 < bottom <= 381


def test_one_thing_is_one_answer() -> None:
    answer = recognise(A, {1: A, 2: B, 3: C})
    assert (answer.label, answer.further) == (1, ())


def test_a_look_alike_verified_on_the_same_part_is_no_further_answer() -> None:
    assert labels_of(recognise(A, {1: A, 4: TWIN})) == []


def test_a_look_alike_does_not_hide_what_is_elsewhere() -> None:
    """It has more inliers than the second thing, which would lag behind it as its rival."""
    assert labels_of(recognise(join(A, part(B, 16)), {1: A, 4: TWIN, 2: B})) == [2]


def test_what_overlaps_the_first_by_half_is_no_further_answer() -> None:
    across = draw(5, 100, 300)
    answer = recognise(join(A, across), {1: A, 5: across})
    assert (answer.label, answer.further) == (1, ())


@pytest.mark.parametrize(("most", "count"), [(1, 0), (2, 1), (3, 2), (20, 2)])
def test_there_are_no_more_than_asked_for(most: int, count: int) -> None:
    answer = recognise(join(A, B, C), {1: A, 2: B, 3: C}, most)
    assert answer.label == 1
    assert sorted(labels_of(answer)) == [2, 3][: len(labels_of(answer))]
    assert len(answer.further) == count


def test_one_answer_asks_for_no_features() -> None:
    def refuse(query: int) -> LocalFeatures:
        raise AssertionError

    assert recognise(join(A, B), {1: A, 2: B}, most=1, find=refuse).further == ()
    assert recognise(A, {1: A, 2: B}, find=refuse).further == ()  # one landmark is verified


def test_without_a_verified_first_answer_there_is_no_second() -> None:
    """Nobody knows where it is."""
    answer = recognise(B, {1: A, 2: B}, threshold=0.0)
    assert answer.label == 2
    strangers = recognise(None, {1: A, 2: B}, threshold=0.0)
    assert (strangers.label, strangers.further) == (1, ())


def test_a_further_answer_must_be_as_sure_as_the_first() -> None:
    weak = join(A, part(B, 9))
    sure = recognise(weak, {1: A, 2: B}, threshold=0.0).further
    assert [each.label for each in sure] == [2]
    answer = recognise(weak, {1: A, 2: B}, threshold=sure[0].confidence + 1e-6)
    assert (answer.label, answer.further) == (1, ())
    assert recognise(weak, {1: A, 2: B}, threshold=sure[0].confidence).further == sure


def test_a_refused_photo_has_no_further_answer() -> None:
    answer = recognise(join(A, B), {1: A, 2: B}, threshold=1.1)
    assert answer.reason and answer.reason != NO_GUESS
    assert answer.further == ()


CHANGES = """
[train]
epochs = 0
[rerank]
max_side = 192
max_features = 400
[decide]
max_overlap = 1.0
most_answers = 2
"""


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a run that gives two answers; photo `pair` shows things 4 and 1."""
    folder = tmp_path_factory.mktemp("several")
    data = make_dataset(folder / "data")
    write_photo(data, "pair", np.concatenate([view(4, 60), view(1, 60)], axis=1))
    write_table(data / "test.csv", "id", ["pair", "q0", "q7"])
    (data / "solution.csv").unlink()
    tiny = Tiny(data, make_recipe_file(folder / "two.toml", CHANGES), folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


def test_query_says_what_else_is_there_and_where(several: Tiny, tmp_path: Path) -> None:
    photo = several.data / "images" / "pair.jpg"
    end = cairn("query", photo, several.data / "images" / "q0.jpg", "--run", several.run, "--json")
    pair, single = (json.loads(line) for line in end.out.splitlines())
    (further,) = pair["further"]
    assert {pair["label"], further["label"]} == {1, 4}
    left, _, right, bottom = further["box"]
    assert bottom <= 96 and (left >= 90 if further["label"] == 1 else right <= 102)
    assert single["further"] == []
    page = tmp_path / "page.html"
    end = cairn("query", photo, "--run", several.run, "--html", page)
    also = f"also {further['name']} ({further['label']}), confidence"
    assert also in end.out
    assert "pixels {},{} to {},{}".format(*further["box"]) in end.out
    assert f"also {further['name']}, confidence" in page.read_text(encoding="utf-8")


def test_the_report_says_what_else_is_in_a_photo(several: Tiny) -> None:
    end = cairn("report", several.run)
    assert end.status == 0, end.err
    (row,) = pq.read_table(several.run / "further.parquet").to_pylist()
    page = (several.run / "report.html").read_text(encoding="utf-8")
    assert re.search(rf"photo pair [^<]* · also [^<]+, confidence {row['confidence']:.3f}", page)


def test_a_damaged_table_of_others_is_refused_by_the_report(several: Tiny, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(several.run, run)
    (run / "further.parquet").write_bytes((run / "further.parquet").read_bytes()[:-9])
    end = cairn("report", run)
    assert end.status == 1, end.err
    assert "further.parquet is damaged: it ends after" in end.err and "cairn submit" in end.err


def test_a_submission_has_one_answer_and_a_table_of_others(several: Tiny, tmp_path: Path) -> None:
    rows = pq.read_table(several.run / "further.parquet").to_pylist()
    assert [(row["query_id"], row["place"]) for row in rows] == [("pair", 1)]
    first = pq.read_table(several.run / "predictions.parquet").to_pylist()[0]
    assert {first["landmark_id"], rows[0]["landmark_id"]} == {1, 4}
    assert rows[0]["right"] > rows[0]["left"] and rows[0]["inliers"] > 6
    submitted = (several.run / "submission.csv").read_bytes()
    decided = (several.run / "decision" / "manifest.json").read_bytes()
    assert cairn("verify", several.run).status == 0
    changes = CHANGES.replace("most_answers = 2", "most_answers = 1")
    end = replace(several, recipe=make_recipe_file(tmp_path / "one.toml", changes)).submit()
    assert end.status == 0, end.err
    assert (several.run / "submission.csv").read_bytes() == submitted
    assert (several.run / "decision" / "manifest.json").read_bytes() == decided
    assert not (several.run / "further.parquet").exists()


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"rerank": {"method": "none"}}, 'rerank.method is "none"'),
        ({"rerank": {"of": "predicted-class"}}, 'rerank.of "predicted-class"'),
        ({"decide": {"policy": "weighted"}}, 'policy "weighted" does not say how likely'),
    ],
)
def test_where_it_cannot_work_it_is_refused(section: dict[str, dict[str, str]], told: str) -> None:
    values = {**section, "decide": {"most_answers": 2, **section.get("decide", {})}}
    with pytest.raises(ValueError, match="most_answers") as refused:
        make_recipe(values, "test")
    assert told in str(refused.value)
    make_recipe({**section}, "test")
