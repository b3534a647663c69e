"""The non-landmark pool: it sets penalty and threshold, and goes when its table goes."""

import json

import pyarrow.parquet as pq
import pytest

from pipelines.answers.open_run import load_split_embeddings, open_retriever, split_pool
from pipelines.answers.retriever import Retriever
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.datasets import POOL, cairn, write_table


def retriever_of(tiny: Tiny) -> Retriever:
    manifest = json.loads((tiny.run / "index" / "manifest.json").read_text())
    recipe = load_recipe(str(tiny.recipe))
    return open_retriever(tiny.run, recipe, manifest["model"]["fingerprint"])


def test_no_image_is_in_both_halves(finished: Tiny) -> None:
    penalty, decision = split_pool(finished.run)
    assert set(penalty.ids).isdisjoint(decision.ids)
    assert penalty.ids + decision.ids == POOL
    used = {row.tobytes() for row in retriever_of(finished).pool}
    assert used == {row.tobytes() for row in penalty.vectors}
    assert used.isdisjoint({row.tobytes() for row in decision.vectors})
    whole = load_split_embeddings(finished.run, "non_landmark").vectors
    assert len(whole) == len(penalty.vectors) + len(decision.vectors)


def test_a_pool_that_is_taken_away_leaves_no_trace(
    tiny: Tiny,
) -> None:
    (tiny.data / "non_landmark.csv").unlink()
    assert tiny.submit().status == 0
    assert len(retriever_of(tiny).pool) == 0
    penalties = pq.read_table(tiny.run / "predictions.parquet")["penalty"].to_pylist()
    assert penalties == [0.0] * len(penalties)


def test_one_image_is_no_pool_to_set_a_threshold_with(tiny: Tiny) -> None:
    """It is one to be like; distractors are the known photos without their landmark."""
    write_table(tiny.data / "non_landmark.csv", "id", POOL[:1])
    assert cairn("index", *tiny.options).status == 0
    decision = json.loads((tiny.run / "decision" / "decision.json").read_text())
    assert (decision["note"], decision["promise"]["pool"]) == ("", None)
    assert decision["promise"]["removed"]["distractors"] > 0
    assert len(retriever_of(tiny).pool) == 1


@pytest.mark.parametrize("changes", ["", "\n[decide]\nmin_precision = 0.5\n"])
def test_few_images_of_the_pool_are_warned_about(
    changes: str, tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.recipe.write_text(tiny.recipe.read_text() + changes)
    assert cairn("index", *tiny.options, "--redo").status == 0
    few = len(POOL) // 2
    assert f"only {few} photos without a landmark say how often other things" in caplog.text
    decision = json.loads((tiny.run / "decision" / "decision.json").read_text())
    assert decision["note"].startswith(f"only {few} photos without a landmark")


def test_a_pool_without_rows_is_refused(tiny: Tiny) -> None:
    (tiny.data / "non_landmark.csv").write_text("id\n")
    end = tiny.submit()
    assert end.status == 1
    assert "non_landmark.csv has a header and no rows; add some, or delete it" in end.err


def test_a_pool_without_one_good_image_is_refused(tiny: Tiny) -> None:
    for image_id in POOL:
        (tiny.data / "images" / f"{image_id}.jpg").write_bytes(b"nothing")
    write_table(tiny.data / "non_landmark.csv", "id", POOL[::-1])
    end = tiny.submit()
    assert end.status == 1
    assert f"none of the {len(POOL)} images of" in end.err
    assert "non_landmark.csv could be read" in end.err


def test_an_image_asked_about_and_known_is_refused(fresh: Tiny) -> None:
    with (fresh.data / "non_landmark.csv").open("a") as file:
        file.write("q0\n")
    end = fresh.submit()
    assert end.status == 1
    assert "test.csv are in non_landmark.csv, too, the first is 'q0' (line 2 of test.csv" in end.err
    assert not (fresh.run / "model").exists()
