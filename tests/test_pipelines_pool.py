"""The non-landmark pool: it sets penalty and threshold, and goes when its table goes."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from classify_head.fusion import FusionSettings, fuse
from pipelines.database import Database, load_database
from pipelines.prepare import load_split_embeddings, penalty_pool, threshold_pool
from tests.conftest import Tiny
from tests.datasets import POOL


def _database(tiny: Tiny) -> Database:
    manifest = json.loads((tiny.run / "index" / "manifest.json").read_text())
    return load_database(tiny.run, manifest["model"]["fingerprint"])


def test_no_image_is_in_both_halves(finished: Tiny) -> None:
    penalty = {row.tobytes() for row in penalty_pool(finished.run, _database(finished))}
    threshold = {row.tobytes() for row in threshold_pool(finished.run).vectors}
    whole = load_split_embeddings(finished.run, "non_landmark").vectors
    assert len(whole) == len(POOL)
    assert penalty.isdisjoint(threshold)
    assert penalty | threshold == {row.tobytes() for row in whole}


def test_a_pool_that_is_taken_away_leaves_no_trace(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    (tiny.data / "non_landmark.csv").unlink()
    assert tiny.submit().status == 0
    assert "the threshold of rejection is a guess" in caplog.text
    assert len(penalty_pool(tiny.run, _database(tiny))) == 0
    penalties = pq.read_table(tiny.run / "predictions.parquet")["penalty"].to_pylist()
    assert penalties == [0.0] * len(penalties)


def test_without_a_pool_the_penalty_has_no_weight() -> None:
    labels, cosines = np.array([1]), np.array([1.0], dtype=np.float32)
    settings = FusionSettings(policy="top1", inlier_weight=0.0, penalty_weight=0.0)
    assert fuse(labels, cosines, np.zeros(1, dtype=np.int64), 0.0, settings).confidence == 1.0


def test_few_images_of_the_pool_are_warned_about(
    fresh: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    assert fresh.submit().status == 0
    assert "only 3 images of non_landmark set the threshold" in caplog.text


def test_an_image_asked_about_and_known_is_refused(fresh: Tiny) -> None:
    with (fresh.data / "non_landmark.csv").open("a") as file:
        file.write("q0\n")
    end = fresh.submit()
    assert end.status == 1
    assert "1 images of test are in non_landmark.csv, too, the first is 'q0'" in end.err
    assert not (fresh.run / "model").exists()
