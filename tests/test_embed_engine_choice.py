"""The exported graph is chosen only where it describes images as torch does."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.engine_choice import choose_engine, same_nearest
from embed.errors import InputError
from embed.graph import (
    Floats,
    GraphEngine,
)
from tests.graphs import FINGERPRINT, build, photos

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install -e '.[openvino]'")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        (
            "embed.engine_choice.GraphEngine",
            InputError("graph.xml cannot be loaded"),
            "graph.xml cannot be loaded; torch describes images",
        ),
        (
            "embed.graph_export._convert",
            RuntimeError("no conversion rule"),
            "cannot be exported as a graph (no conversion rule)",
        ),
    ],
    ids=["loaded", "exported"],
)
def test_a_graph_that_cannot_be_had_costs_no_training_and_leaves_torch(
    name: str,
    error: Exception,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*given: object) -> object:
        raise error

    monkeypatch.setattr(name, refuse)
    choice = choose_engine(build(), FINGERPRINT, tmp_path, photos(64))
    assert (choice.engine, choice.graph) == ("torch", "")
    assert said in caplog.text
    if isinstance(error, RuntimeError):
        assert not list(tmp_path.iterdir())


def test_a_precision_that_moves_neighbours_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build()
    monkeypatch.setattr("embed.engine_choice.LEAST_COSINE", -1.0)
    monkeypatch.setattr("embed.engine_choice.list_precisions", lambda: ("bf16", "f32"))

    def reduce(engine: GraphEngine, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        found, features = compute(engine, images)
        if engine.name == "openvino-bf16":
            found = np.eye(len(found), found.shape[1], dtype=np.float32)  # all are as far
        return found, features

    compute = GraphEngine.compute
    monkeypatch.setattr(GraphEngine, "compute", reduce)
    monkeypatch.setattr("embed.graph.list_precisions", lambda: ("bf16", "f32"))
    choice = choose_engine(model, FINGERPRINT, tmp_path, photos(64, 20))
    assert choice.graph == "openvino-f32" and choice.compared == 20
    assert choice.nearest["openvino-bf16"] < 0.995 < choice.nearest["openvino-f32"]


def test_a_copy_of_the_nearest_image_is_as_near() -> None:
    rows = np.eye(4, dtype=np.float32)[[0, 0, 0, 3]]
    moved = rows + np.array([[0], [0], [1e-4], [0]], dtype=np.float32)
    assert same_nearest(moved, rows) == 1
    assert same_nearest(rows[:1], rows[:1]) == 1


def test_what_is_chosen_agrees_with_torch(tmp_path: Path) -> None:
    choice = choose_engine(build(), FINGERPRINT, tmp_path, photos(64))
    assert choice.graph.startswith("openvino-") and choice.engine in ("torch", choice.graph)
    assert choice.cosines[choice.graph] >= 0.999 and choice.nearest[choice.graph] >= 0.995
    assert set(choice.rates) == set(choice.cosines) == set(choice.nearest)
    assert choice.compared == 3 and choice.runtime
