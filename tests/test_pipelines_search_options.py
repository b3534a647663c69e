"""Views, whitening and expansion of descriptors: a query finds what the submission found."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.recognizer import Recognizer
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, PHOTOS, QUERIES, make_recipe_file, results

UNTRAINED = "[train]\nepochs = 0\n[decide]\nmax_overlap = 1.0\n"
OPTIONS = {
    "views": "[embed]\nscales = [1.0, 1.4142]\nflip = true\n",
    "whiten": "[search]\nwhiten = 'pca'\nwhiten_dim = 8\n",
    "expand": "[search]\nexpand_query = 3\n",
    "augment": "[search]\naugment_database = 2\n",
    "all": "[embed]\nscales = [0.75, 1.0]\n[search]\nwhiten = 'pca'\nexpand_query = 2\n"
    "augment_database = 1\nneighbors = 9\n",
}


@pytest.fixture(scope="module", params=OPTIONS)
def searched(
    request: pytest.FixtureRequest, calibrated: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> Tiny:
    """Return a finished run of the same data with an option; its folder is the option's name."""
    folder = tmp_path_factory.mktemp("searched")
    shutil.copytree(calibrated.run, folder / request.param)
    tiny = Tiny(calibrated.data, folder / "tiny.toml", folder / request.param)
    submit(tiny, OPTIONS[request.param])
    return tiny


def submit(tiny: Tiny, changes: str) -> None:
    make_recipe_file(tiny.recipe, UNTRAINED + changes)
    end = tiny.submit()
    assert end.status == 0, end.err


def read(run: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run / f"{name}.parquet").to_pylist()
    return rows


def test_a_query_finds_what_the_submission_found(searched: Tiny) -> None:
    stored, answers = read(searched.run, "neighbors"), read(searched.run, "predictions")
    assert [row["landmark_id"] for row in answers] == [*range(LANDMARKS), None, None]
    engine = Recognizer.load(searched.run)
    for answer in answers[::3]:
        photo = searched.data / "images" / f"{answer['query_id']}.jpg"
        asked = engine.recognize(photo, neighbors=100)
        expected = [row for row in stored if row["query_id"] == answer["query_id"]]
        nearest = sorted(
            asked.neighbors, key=lambda match: -1 if match.rank is None else match.rank
        )
        scores = [match.similarity for match in nearest]
        np.testing.assert_allclose(scores, [row["score"] for row in expected], atol=1e-4)
        assert {match.image_id for match in asked.neighbors} == {r["image_id"] for r in expected}
        assert asked.label == answer["landmark_id"]
        assert asked.confidence == pytest.approx(answer["confidence"], abs=1e-3)


def test_every_option_makes_a_difference(searched: Tiny, calibrated: Tiny) -> None:
    found, plain = (read(run, "neighbors") for run in (searched.run, calibrated.run))
    assert [row["score"] for row in found] != [row["score"] for row in plain]
    whitened = (searched.run / "index" / "whitening.safetensors").exists()
    assert whitened == (searched.run.name in {"whiten", "all"})
    queries = [row["query_id"] for row in found]
    neighbors = 9 if searched.run.name == "all" else LANDMARKS * PHOTOS
    assert [queries.count(query) for query in QUERIES] == [neighbors] * len(QUERIES)


def test_an_option_that_is_taken_back_leaves_no_trace(calibrated: Tiny, tmp_path: Path) -> None:
    tiny = Tiny(calibrated.data, tmp_path / "tiny.toml", tmp_path / "run")
    shutil.copytree(calibrated.run, tiny.run)
    submit(tiny, OPTIONS["all"])
    manifest = json.loads((tiny.run / "index" / "manifest.json").read_text())
    assert "whitening.safetensors" in {row["name"] for row in manifest["outputs"]}
    submit(tiny, "")
    assert results(tiny.run) == results(calibrated.run)


def test_too_few_images_for_a_whitening_say_so(calibrated: Tiny, tmp_path: Path) -> None:
    tiny = Tiny(calibrated.data, tmp_path / "tiny.toml", tmp_path / "run")
    changes = UNTRAINED.replace("[train]", "[train]\ndim = 0")
    make_recipe_file(tiny.recipe, changes + "[search]\nwhiten = 'pca'\nwhiten_dim = 90\n")
    end = tiny.submit()
    assert end.status == 1
    assert "search.whiten_dim = 90: 24 vectors fill at most 23 directions" in end.err
    assert not (tiny.run / "index" / "manifest.json").exists()
