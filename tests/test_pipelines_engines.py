"""A run is described by the engine that its recipe and its model name, and asked without torch."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embed.errors import InputError
from embed.graph import GRAPH_FILES
from embed.torch_engine import pick_device
from pipelines.answers import engines
from pipelines.answers.engines import begin_engines, open_engine
from pipelines.answers.open_run import load_split_embeddings
from pipelines.artifacts import Manifest, load_manifest
from pipelines.recognizer import Recognizer
from pipelines.runs.engines import pick_engine
from pipelines.runs.job import open_job, read_run
from pipelines.runs.recipe import Recipe, make_recipe
from pipelines.stages.keys import embeddings_artifact
from tests.conftest import Tiny
from tests.datasets import cairn, make_recipe_file
from tests.test_imports import ROOT

GRAPH = {"engine": "openvino-bf16", "graph": "openvino-bf16"}
SLOW = {"engine": "torch", "graph": "openvino-f32"}
NONE = {"engine": "torch", "graph": ""}


@pytest.mark.parametrize(
    ("setting", "model", "engine"),
    [
        *(("auto", GRAPH, "openvino-bf16"), ("torch", GRAPH, "torch")),
        *(("auto", SLOW, "torch"), ("openvino", SLOW, "openvino-f32")),
        *(("auto", NONE, "torch"), ("openvino", NONE, "torch")),
    ],
)
def test_the_setting_and_the_model_name_the_engine(
    setting: str, model: dict[str, Any], engine: str
) -> None:
    assert pick_engine(setting, model) == engine


@pytest.fixture(scope="module")
def graphed(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run that was described by a graph."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    folder = tmp_path_factory.mktemp("graphed")
    recipe = make_recipe_file(folder / "tiny.toml", "[embed]\nengine = 'openvino'\n")
    tiny = Tiny(finished.data, recipe, folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


def test_the_graph_is_a_signed_part_of_the_model(graphed: Tiny) -> None:
    made = load_manifest(graphed.run / "model")
    assert made is not None and {*GRAPH_FILES} <= {record.name for record in made.outputs}
    described = load_manifest(graphed.run / "embeddings" / "test")
    assert described is not None
    assert described.model["described_by"] == described.inputs["engine"] == made.model["graph"]


def test_graph_and_torch_agree_on_descriptors_and_head(graphed: Tiny) -> None:
    stored = load_split_embeddings(graphed.run, "test")
    engine, _ = open_engine(graphed.run, "torch")
    query = Recognizer.load(graphed.run, engine="torch")
    assert engine.name == "torch"
    for row, name in enumerate(stored.ids):
        image = query.opened.describer.decode(graphed.data / "images" / f"{name}.jpg")
        found, _ = query.opened.describer.describe([image], [name])
        assert found.vectors[0] @ stored.vectors[row] > 0.999
        np.testing.assert_allclose(found.head.scores[0], stored.head.scores[row], atol=0.02)


def test_a_question_imports_nothing_that_it_has_no_need_of(graphed: Tiny) -> None:
    heavy = "torch", "timm", "torchvision", "faiss", "pandas", "numpy.ma", "numpy.random"
    photo = graphed.data / "images" / "q0.jpg"
    code = (
        "import sys; from pipelines.cli import main\n"
        f"sys.argv = ['cairn', 'query', '--run', {str(graphed.run)!r}, '--json', {str(photo)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    assert json.loads(done.stdout)


def test_another_engine_than_that_of_the_database_is_told_once(
    graphed: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        Recognizer.load(graphed.run)
    assert "those of the database" not in caplog.text
    with caplog.at_level("INFO"):
        Recognizer.load(graphed.run, engine="torch")
    assert caplog.text.count("described by torch, those of the database were by openvino") == 1


def test_without_the_runtime_torch_answers_and_the_extra_is_named(
    graphed: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "has_runtime", lambda: False)
    assert open_engine(graphed.run, "auto")[0].name in ("torch", "openvino")
    assert open_engine(graphed.run, "openvino")[0].name == "torch"
    assert ".[openvino]" in caplog.text


def test_a_damaged_graph_ends_a_question_with_a_remedy(graphed: Tiny, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(graphed.run, run)
    path = run / "model" / "graph.bin"
    path.write_bytes(path.read_bytes()[:-100])
    end = cairn("query", "--run", run, graphed.data / "images" / "q0.jpg")
    assert end.status == 1 and "graph.bin" in end.err


def test_the_engine_that_is_resolved_decides_whether_to_describe_again(graphed: Tiny) -> None:
    trained = load_manifest(graphed.run / "model")
    assert trained is not None
    keys = set()
    for setting in ("openvino", "auto", "torch"):
        job = open_job(None, graphed.run, None, None)
        values = job.recipe.model_dump() | {"embed": {"engine": setting}}
        changed = replace(job, recipe=Recipe.model_validate(values))
        fast = replace(trained, model={**trained.model, "engine": trained.model["graph"]})
        keys.add(embeddings_artifact(changed, "index", "", fast, {}).key)
    assert len(keys) == 2  # the graph, asked for or chosen; and torch


def test_a_model_trained_without_the_runtime_gets_its_graph_by_train(
    finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[embed]\nengine = 'openvino'\n")
    tiny = Tiny(finished.data, recipe, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("embed.engine_choice.has_runtime", lambda: False)
        patch.setattr("pipelines.stages.order.has_runtime", lambda: False)
        before = train(tiny)
    assert before.model["graph"] == before.model["runtime"] == ""
    after = train(tiny)
    assert after.model["graph"] and after.model["fingerprint"] == before.model["fingerprint"]
    assert {*GRAPH_FILES} <= {record.name for record in after.outputs}
    assert open_engine(tiny.run, "openvino")[0].name == after.model["graph"]
    assert train(tiny) == after  # nothing is left to do


def train(tiny: Tiny) -> Manifest:
    end = cairn("train", "--data", tiny.data, "--recipe", tiny.recipe, "--run", tiny.run)
    assert end.status == 0, end.err
    made = load_manifest(tiny.run / "model")
    assert made is not None
    return made


def test_a_graph_that_was_begun_is_the_one_that_is_opened(graphed: Tiny) -> None:
    recorded = read_run(graphed.run)
    assert recorded is not None
    begin_engines(graphed.run, make_recipe(recorded["settings"], ""))
    before = engines._open_graph.cache_info().misses
    first, second = (open_engine(graphed.run, "openvino")[0] for _ in range(2))
    assert first is second and engines._open_graph.cache_info().misses == before


def test_a_graph_that_could_not_be_opened_is_tried_again(graphed: Tiny, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(graphed.run, run)
    path = run / "model" / "graph.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"graph\.bin is damaged"):
        open_engine(run, "openvino")
    path.write_bytes(whole)
    assert open_engine(run, "openvino")[0].name.startswith("openvino-")


def test_a_model_without_a_graph_is_described_by_torch(
    finished: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    made = load_manifest(finished.run / "model")
    assert made is not None and made.model["graph"] == ""
    assert open_engine(finished.run, "openvino")[0].name == "torch"
    assert "has no graph" in caplog.text


def test_the_device_is_cuda_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=available: found)
        assert pick_device().type == name
