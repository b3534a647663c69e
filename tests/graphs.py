"""Small networks, and graphs that are exported of them."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from embed.backbone import Backbone, BackboneSpec, undo_zero_init
from embed.graph import (
    GraphEngine,
    GraphSpec,
    Precision,
    read_graph_spec,
)
from embed.graph_export import export_graph
from embed.model import DescriptorModel, ModelSpec
from embed.network_settings import (
    AttentionSettings,
    DolgSettings,
    FlattenSettings,
    GemSettings,
    MapAttentionSettings,
    PlainPoolingSettings,
    PoolingSettings,
    RmacSettings,
    SEAttentionSettings,
    SuperGlobalSettings,
)
from embed.torch_engine import TorchEngine
from embed.views import ONE_VIEW, Views
from tests.images import photo

FINGERPRINT = "f" * 64
# One small network of each family.
FAMILIES = {
    "resnet10t": 64,
    "mobilenetv2_035": 64,
    "tf_efficientnet_b0": 64,
    "convnext_atto": 64,
    "densenet121": 64,
    "inception_v3": 107,
    "vgg11_bn": 64,
    "legacy_xception": 107,
    "vit_tiny_patch16_224": 64,
}
POOLINGS: list[PoolingSettings] = [
    *(GemSettings(), PlainPoolingSettings(kind="spoc"), PlainPoolingSettings(kind="mac")),
    *(RmacSettings(), FlattenSettings(grid=2), SuperGlobalSettings(), DolgSettings(width=32)),
]
ATTENTIONS: list[AttentionSettings] = [
    *(MapAttentionSettings(kind="spatial"), MapAttentionSettings(kind="self")),
    SEAttentionSettings(),
]


def build(
    name: str = "test_resnet",
    size: int = 64,
    pooling: PoolingSettings | None = None,
    attention: AttentionSettings | None = None,
    dim: int = 16,
) -> DescriptorModel:
    torch.manual_seed(0)
    pooling = pooling or GemSettings()
    spec = BackboneSpec(name)
    backbone = Backbone(spec, token=pooling.kind == "cls-gem")
    made = ModelSpec(spec, size, dim, False, attention or MapAttentionSettings(), pooling)
    model = DescriptorModel(made, backbone)
    undo_zero_init(backbone)
    for module in model.modules():  # norms that have learned something
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and module.running_mean is not None:
            nn.init.normal_(module.running_mean, std=0.05)
    return model.eval()


def photos(size: int, count: int = 3) -> NDArray[np.uint8]:
    return np.stack([photo(size, size, seed).transpose(2, 0, 1) for seed in range(count)])


def export(model: DescriptorModel, folder: Path) -> GraphSpec:
    spec = export_graph(model, FINGERPRINT, folder)
    assert spec is not None
    assert read_graph_spec(folder, FINGERPRINT) == spec
    return spec


def least_cosine(
    model: DescriptorModel,
    folder: Path,
    spec: GraphSpec,
    precision: Precision = "f32",
    views: Views = ONE_VIEW,
) -> float:
    images = photos(views.input_side(model))
    expected, _ = TorchEngine(model).describe(images, views)
    found, _ = GraphEngine(folder, spec, precision, views=views).describe(images, views)
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    return float((found * expected).sum(axis=1).min())
