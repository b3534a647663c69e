"""Every network that a recipe can name is exported as a graph that computes the same."""

from pathlib import Path

import pytest

from embed.graph import (
    list_precisions,
)
from embed.graph_export import export_graph
from embed.network_settings import (
    AttentionSettings,
    BilinearSettings,
    ClsGemSettings,
    PoolingSettings,
    RmacSettings,
)
from tests.graphs import ATTENTIONS, FAMILIES, FINGERPRINT, POOLINGS, build, export, least_cosine

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install -e '.[openvino]'")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_exported_and_agrees_with_torch(name: str, tmp_path: Path) -> None:
    model = build(name, FAMILIES[name], dim=0)
    spec = export(model, tmp_path)
    assert least_cosine(model, tmp_path, spec) > 0.9999
    for precision in list_precisions():  # how much is lost depends on the weights
        assert least_cosine(model, tmp_path, spec, precision) > 0.998


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda settings: settings.kind)
def test_every_pooling_is_exported(pooling: PoolingSettings, tmp_path: Path) -> None:
    model = build(size=128, pooling=pooling)
    assert least_cosine(model, tmp_path, export(model, tmp_path)) > 0.9999


def test_rmac_of_a_small_map_is_exported_for_its_shape(tmp_path: Path) -> None:
    model = build(size=64, pooling=RmacSettings())  # 2 x 2: several regions lie on one place
    spec = export(model, tmp_path)
    assert least_cosine(model, tmp_path, spec) > 0.9999
    assert not spec.any_shape  # how many regions there are depends on the shape


def test_compact_bilinear_pooling_is_left_to_torch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pooling = BilinearSettings(bilinear_dim=64)  # its products are complex numbers
    assert export_graph(build(pooling=pooling), FINGERPRINT, tmp_path) is None
    assert "cannot be exported as a graph" in caplog.text


def test_the_token_of_a_vit_is_exported(tmp_path: Path) -> None:
    model = build("test_vit", 32, ClsGemSettings())
    assert least_cosine(model, tmp_path, export(model, tmp_path)) > 0.9999


@pytest.mark.parametrize("attention", ATTENTIONS, ids=lambda settings: settings.kind)
def test_every_attention_is_exported(attention: AttentionSettings, tmp_path: Path) -> None:
    model = build(attention=attention)
    assert least_cosine(model, tmp_path, export(model, tmp_path)) > 0.9999


def test_features_before_training_are_in_the_graph(tmp_path: Path) -> None:
    model = build().with_pretrained(build(dim=0), 0.5).eval()
    assert least_cosine(model, tmp_path, export(model, tmp_path)) > 0.9999


def test_the_same_model_gives_the_same_graph(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        export(build(), tmp_path / name)
    for name in ("graph.json", "graph.bin"):  # names in graph.xml are numbered by the process
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
