"""The decision: where its threshold comes from, what it is fitted on, when it is made anew."""

import json
import logging
import math
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from classify_head.answers import Answers, as_truths
from classify_head.promise import measure_promises
from classify_head.thresholds import probability_threshold
from pipelines.answers import decision
from pipelines.answers.database import load_database
from pipelines.answers.decision import (
    Decision,
    choose_point,
    load_decision,
    load_known_answers,
    load_promises,
)
from pipelines.artifacts import load_manifest
from pipelines.recognizer import Recognizer
from pipelines.runs.recipe import load_recipe
from pipelines.stages import decide, order
from tests.conftest import Tiny
from tests.datasets import (
    LANDMARKS,
    PHOTOS,
    POOL,
    QUERIES,
    cairn,
    make_job,
    make_recipe_file,
    results,
    write_table,
)


@pytest.fixture
def copied(calibrated: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of the calibrated run, free to be decided anew."""
    shutil.copytree(calibrated.data, tmp_path / "data")
    shutil.copytree(calibrated.run, tmp_path / "run")
    return Tiny(tmp_path / "data", tmp_path / "tiny.toml", tmp_path / "run")


def decide_anew(tiny: Tiny, changes: str = "", max_overlap: float = 1.0) -> Decision:
    """Set the decision with other lines of the section [decide], and load it as a query does."""
    section = f"[decide]\nmax_overlap = {max_overlap}\n"
    make_recipe_file(tiny.recipe, f"[train]\nepochs = 0\n{section}{changes}")
    job = make_job(tiny.data, tiny.run, tiny.recipe)
    order.index(job)
    return load_decision(tiny.run, job.recipe, database_of(tiny))


def database_of(tiny: Tiny) -> Any:
    manifest = load_manifest(tiny.run / "index")
    assert manifest is not None
    return load_database(tiny.run, manifest.model["fingerprint"])


def values_of(tiny: Tiny) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((tiny.run / "decision" / "decision.json").read_text())
    return values


def answers_of(tiny: Tiny) -> list[int | None]:
    found: list[int | None] = pq.read_table(tiny.run / "predictions.parquet")[
        "landmark_id"
    ].to_pylist()
    return found


def test_enough_known_queries_make_a_fit(calibrated: Tiny) -> None:
    values, answered = values_of(calibrated), load_known_answers(calibrated.run)
    assert values["model"]["fitted"]
    assert (
        values["known_queries"]
        == len(set(answered.query_ids))
        == LANDMARKS * PHOTOS + len(POOL) // 2
    )
    assert values["distractors"] == (answered.kinds == "pool").sum() == len(POOL) // 2
    assert (answered.kinds == "removed").sum() == LANDMARKS * PHOTOS
    assert answered.correct[answered.kinds == "landmark"].all()
    assert (answered.has_landmark == (answered.kinds == "landmark")).all()
    assert answers_of(calibrated) == [*range(LANDMARKS), None, None]


def test_a_size_that_all_landmarks_have_says_nothing(calibrated: Tiny) -> None:
    model = values_of(calibrated)["model"]
    weights = dict(zip(model["features"], model["weights"], strict=True))
    assert weights["class_size"] == pytest.approx(0)


def test_too_few_known_queries_are_warned_about(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    assert cairn("index", *tiny.options, "--redo").status == 0
    assert "too few photos with a known answer" in caplog.text
    assert "not how often they are right" in caplog.text
    assert not values_of(tiny)["model"]["fitted"]


def test_the_decision_that_is_loaded_is_the_one_that_was_set(calibrated: Tiny) -> None:
    loaded = load_decision(
        calibrated.run, load_recipe(str(calibrated.recipe)), database_of(calibrated)
    )
    assert loaded.model is not None
    assert loaded.model.to_json() == {
        **values_of(calibrated)["model"],
        "features": loaded.model.features,
        "weights": loaded.model.weights,
    }
    assert loaded.threshold == values_of(calibrated)["threshold"] >= 0.5


@pytest.mark.parametrize("least", [0.0, 0.25, 0.999])
def test_the_calibrated_threshold_is_a_probability(least: float, copied: Tiny) -> None:
    made = decide_anew(copied, f"least_probability = {least}\n")
    answered = load_known_answers(copied.run)
    assert made.threshold == probability_threshold(*answered.judged, 0.5, least) >= least


@pytest.mark.parametrize("precision", [0.5, 0.8, 0.95])
def test_the_threshold_of_a_precision_is_the_least_that_reaches_it(
    precision: float, copied: Tiny
) -> None:
    made = decide_anew(
        copied, f"policy = 'top1'\nmin_precision = {precision}\ndistractor_share = 0.3\n"
    )
    answered = load_known_answers(copied.run)

    def reached(threshold: float) -> float:
        promises = measure_promises(*answered.judged, threshold)
        assert list(promises) == ["pool", "removed"]
        return min(promise.precision(0.3) for promise in promises.values())

    enough = [each for each in answered.confidences if reached(each) >= precision]
    assert made.threshold == min(enough)
    assert values_of(copied)["precision"] == reached(made.threshold) >= precision


def test_what_is_promised_is_told_for_either_kind(copied: Tiny) -> None:
    made = decide_anew(copied, "policy = 'top1'\nreject_share = 0.5\ndistractor_share = 0.3\n")
    values, answered = values_of(copied), load_known_answers(copied.run)
    for kind in ("pool", "removed"):
        told = values["promise"][kind]
        distractors = answered.confidences[answered.kinds == kind]
        shown = answered.kinds == "landmark"
        given = shown & (answered.confidences >= made.threshold)
        assert told["distractors"] == len(distractors)
        assert told["answered_distractors"] == (distractors >= made.threshold).sum()
        assert told["landmarks"] == shown.sum() == LANDMARKS * PHOTOS
        assert told["right"] == (given & answered.correct).sum()
        assert told["wrong"] == (given & ~answered.correct).sum()
        right = 0.7 * told["right"] / told["landmarks"]
        wrong = 0.7 * told["wrong"] / told["landmarks"]
        wrong += 0.3 * told["answered_distractors"] / told["distractors"]
        assert told["precision"] == pytest.approx(right / (right + wrong))
        assert told["precision_low"] < told["precision"]
    assert values["precision"] == min(told["precision"] for told in values["promise"].values())
    promises = load_promises(copied.run)
    assert {kind: promise.precision(0.3) for kind, promise in promises.items()} == {
        kind: told["precision"] for kind, told in values["promise"].items()
    }


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_other_policies_reject_a_share_of_either_kind(share: float, copied: Tiny) -> None:
    made = decide_anew(copied, f"policy = 'weighted'\nreject_share = {share}\n")
    assert made.model is None
    answered = load_known_answers(copied.run)
    rates = [
        (answered.confidences[answered.kinds == kind] < made.threshold).mean()
        for kind in ("pool", "removed")
    ]
    assert min(rates) >= share
    if share:  # just above the last that is rejected of the harder kind
        assert np.nextafter(made.threshold, -np.inf) in answered.confidences[~answered.has_landmark]
    else:
        assert made.threshold < -1e300  # nothing is rejected, whatever the policy's scale


@pytest.mark.parametrize("policy", ["calibrated", "weighted"])
def test_without_a_pool_the_landmarks_that_are_taken_out_teach_rejection(
    policy: str, copied: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    (copied.data / "non_landmark.csv").unlink()
    made = decide_anew(copied, f"policy = '{policy}'\n")
    values = values_of(copied)
    assert (values["note"], values["distractors"]) == ("", 0)
    assert values["promise"]["pool"] is None
    assert values["promise"]["removed"]["distractors"] == LANDMARKS * PHOTOS
    assert made.threshold >= (0.5 if policy == "calibrated" else -1e300)
    engine = Recognizer.load(copied.run)
    assert engine.recognize(copied.data / "images" / "q0.jpg").label == 0
    assert engine.recognize(copied.data / "images" / "q7.jpg").label is None


def test_a_database_of_one_landmark_has_no_distractors(copied: Tiny) -> None:
    (copied.data / "non_landmark.csv").unlink()
    write_table(
        copied.data / "index.csv", "id,landmark_id", [f"thing0-{number},0" for number in range(4)]
    )
    made, values = decide_anew(copied), values_of(copied)
    assert "nothing is known of photos without a landmark" in values["note"]
    assert "from confidence 0.00 on" in values["note"]
    assert values["promise"] == {"pool": None, "removed": None}
    assert (made.threshold, values["precision"], values["coverage"]) == (0, 1, 1)
    weighted = decide_anew(copied, "policy = 'weighted'\nreject_below = 0.11\n")
    assert weighted.threshold == 0.11


def test_a_policy_that_rejects_by_a_rule_keeps_it(copied: Tiny) -> None:
    made = decide_anew(copied, "policy = 'torino'\n")
    assert made.policy.rejection.name == "torino"
    assert decide_anew(copied, "policy = 'top1'\n").policy.rejection.name == "threshold"


@pytest.mark.parametrize("rejected", ["sink", "empty"])
def test_a_precision_out_of_reach_answers_nothing_and_says_so(
    rejected: str, tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    # All images of the right landmark are near copies here, so no known query is answered right.
    changes = f"[decide]\nmin_precision = 0.99\nrejected = '{rejected}'\n"
    make_recipe_file(tiny.recipe, changes)
    assert tiny.submit().status == 0
    assert "no threshold reaches a precision of 0.990 on the known queries" in caplog.text
    assert values_of(tiny)["threshold"] is None
    assert answers_of(tiny) == [None] * len(QUERIES)
    rows = (tiny.run / "submission.csv").read_text().splitlines()[1:]
    assert [row.endswith(",") for row in rows] == [rejected == "empty"] * len(QUERIES)
    answer = Recognizer.load(tiny.run).recognize(tiny.data / "images" / "q0.jpg")
    assert answer.label is None
    assert "is too low: none is as sure as was asked for" in answer.reason


@pytest.mark.parametrize("changes", ["", "[decide]\nmin_precision = 0.9\n"])
def test_no_known_query_at_all_is_no_error(
    changes: str, fresh: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    (fresh.data / "non_landmark.csv").unlink()
    make_recipe_file(fresh.recipe, f"[train]\nepochs = 1\nvalidation_share = 0.0\n{changes}")
    end = fresh.submit()
    assert end.status == 0, end.err
    values = values_of(fresh)
    assert (values["known_queries"], values["precision"], values["coverage"]) == (0, None, 0)
    assert "too few photos with a known answer" in caplog.text
    nothing = "no threshold reaches a precision" in caplog.text
    assert nothing == bool(changes)
    assert answers_of(fresh).count(None) == (len(QUERIES) if changes else 0)
    assert not (fresh.run / "decision" / "reliability.png").exists()
    assert fresh.submit().status == 0  # what is not drawn is not missed


def spy_on(module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that gets the arguments of each call that a module makes."""
    real, seen = getattr(module, name), list[Any]()

    def note(*arguments: Any, **options: Any) -> Any:
        seen.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, note)
    return seen


def test_near_copies_are_left_out(copied: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = spy_on(decide, "fit_calibration", monkeypatch)
    decide_anew(copied, max_overlap=0.99)
    decide_anew(copied, max_overlap=0.3)
    everything, fewer = (arguments[0] for arguments in asked)
    copies = everything.overlaps > 0.3
    assert copies.any() and not copies.all()
    assert fewer.overlaps.max() <= 0.3
    assert (fewer.labels >= 0).sum() == (everything.labels >= 0).sum() - copies.sum()


def test_extras_are_of_the_neighbours_that_are_left(
    copied: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = spy_on(decide, "make_extras", monkeypatch)
    decided = spy_on(decision, "decide", monkeypatch)
    decide_anew(copied, "policy = 'label-agreement'\n", max_overlap=0.3)
    (_, database, _, rows, _), evidence = made[0], decided[0][0]
    assert (evidence.labels < 0).any()
    np.testing.assert_array_equal(database.rows.labels(rows), evidence.labels)


def test_another_database_or_pool_is_decided_anew(copied: Tiny) -> None:
    decide_anew(copied)
    before, queries = load_manifest(copied.run / "decision"), values_of(copied)["known_queries"]
    decide_anew(copied)
    assert load_manifest(copied.run / "decision") == before
    write_table(copied.data / "non_landmark.csv", "id", POOL[:4])
    decide_anew(copied)
    assert load_manifest(copied.run / "decision") != before
    assert values_of(copied)["known_queries"] == queries - 1
    rows = [f"thing{label}-{number},{label}" for label in range(LANDMARKS) for number in range(3)]
    write_table(copied.data / "index.csv", "id,landmark_id", rows)
    decide_anew(copied)
    assert values_of(copied)["known_queries"] == len(rows) + 2


def test_the_decision_for_another_index_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the two: the index is there, the decision is the old one."""
    write_table(tiny.data / "non_landmark.csv", "id", POOL[:4])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipelines.stages.decide.set_decision", interrupt)
        order.index(make_job(tiny.data, tiny.run, tiny.recipe))
    message = f"no decision for the index and the recipe of {tiny.run}; run `cairn index --run"
    with pytest.raises(FileNotFoundError, match=message):
        Recognizer.load(tiny.run)
    assert cairn("index", *tiny.options).status == 0
    Recognizer.load(tiny.run)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_decision_of_another_recipe_is_refused(tiny: Tiny) -> None:
    make_recipe_file(tiny.recipe, "[decide]\npolicy = 'weighted'\n")
    assert cairn("embed", *tiny.options).status == 0
    with pytest.raises(FileNotFoundError, match="and the recipe of"):
        Recognizer.load(tiny.run)


def test_a_fit_made_twice_is_the_same_bytes(calibrated: Tiny, tmp_path: Path) -> None:
    again = Tiny(calibrated.data, calibrated.recipe, tmp_path / "run")
    assert again.submit().status == 0
    assert results(again.run) == results(calibrated.run)


@pytest.mark.parametrize("precision", [0.5, 0.9])
def test_a_query_may_ask_for_another_precision(
    precision: float, calibrated: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        engine = Recognizer.load(calibrated.run, min_precision=precision)
    point = choose_point(load_known_answers(calibrated.run), precision, 0.5)
    assert engine.opened.decision.threshold == point.threshold
    assert f"answers from confidence {point.threshold:.3f} on" in caplog.text
    assert engine.recognize(calibrated.data / "images" / "q0.jpg").label == 0
    threshold = values_of(calibrated)["threshold"]
    assert (
        Recognizer.load(calibrated.run).opened.decision.threshold == threshold
    )  # the run is as it was


def test_a_query_for_a_precision_out_of_reach_answers_nothing(
    finished: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        engine = Recognizer.load(finished.run, min_precision=0.999)
    assert math.isinf(engine.opened.decision.threshold)
    assert "nothing is answered" in caplog.text
    assert "answers from confidence" not in caplog.text
    assert engine.recognize(finished.data / "images" / "q0.jpg").label is None


@pytest.mark.parametrize("precision", [-0.1, 1.5, math.nan])
def test_a_precision_that_is_no_share_is_refused(precision: float, calibrated: Tiny) -> None:
    with pytest.raises(ValueError, match=r"decide\.min_precision = .*: expected "):
        Recognizer.load(calibrated.run, min_precision=precision)


def test_a_precision_is_refused_where_no_threshold_rejects(copied: Tiny) -> None:
    """It would change nothing, and the run would seem to be as precise as asked for."""
    decide_anew(copied, "policy = 'torino'\n")
    expected = 'policy "torino" has a rejection of its own, "torino", and min_precision 0.9'
    with pytest.raises(ValueError, match=expected):
        Recognizer.load(copied.run, min_precision=0.9)
    asked = cairn("submit", *copied.options, "--min-precision", 0.9)
    assert asked.status == 1
    assert expected in asked.err


def test_distractors_are_never_right() -> None:
    labels, kinds = np.array([3, -1, 3, -1]), np.array(["landmark", "pool", "removed", "landmark"])
    truths = as_truths(np.array([3, -1, -1, 3]))
    answered = Answers(labels, np.ones(4), ("a", "b", "a", "d"), truths, kinds)
    assert answered.correct.tolist() == [True, False, False, False]
    assert answered.given.tolist() == [1, -np.inf, 1, -np.inf]
