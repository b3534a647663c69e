"""Each backbone that the reports name, at the size they name, and the counts they print."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from embed.backbone import CLASSIFIERS, Backbone, BackboneSpec, load_weights
from embed.network_settings import (
    BilinearSettings,
    FlattenSettings,
    GemSettings,
    PlainPoolingSettings,
    PoolingSettings,
    RmacSettings,
)
from embed.pooling import build_pooling

# timm name, side of the image, map [C, h, w], parameters; inputs of other sizes are the reports'.
# for name in ...: print(sum(p.numel() for p in Backbone(BackboneSpec(name)).parameters()))
TABLE = [
    ("resnet18", 224, (512, 7, 7), 11_176_512),
    ("resnet34", 224, (512, 7, 7), 21_284_672),
    ("resnet50", 197, (2048, 7, 7), 23_508_032),
    ("resnet101", 128, (2048, 4, 4), 42_500_160),
    ("resnet152", 224, (2048, 7, 7), 58_143_808),
    ("seresnet50", 128, (2048, 4, 4), 26_039_024),
    ("seresnext50_32x4d", 128, (2048, 4, 4), 25_510_896),
    ("wide_resnet50_2", 224, (2048, 7, 7), 66_834_240),
    ("densenet121", 224, (1024, 7, 7), 6_953_856),
    ("inception_v3", 299, (2048, 8, 8), 21_785_568),
    ("mobilenetv2_100", 224, (1280, 7, 7), 2_223_872),
    ("legacy_xception", 256, (2048, 8, 8), 20_806_952),
    ("xception41", 256, (2048, 8, 8), 24_920_560),
    ("vgg16", 224, (512, 7, 7), 14_714_688),
    ("efficientnet_b0", 224, (1280, 7, 7), 4_007_548),
    ("convnext_tiny", 224, (768, 7, 7), 27_820_128),
    ("vit_small_patch14_dinov2", 224, (384, 16, 16), 22_056_192),
    ("vit_small_patch16_dinov3", 224, (384, 14, 14), 21_586_944),
    ("vit_base_patch16_siglip_224", 224, (768, 14, 14), 85_797_120),
]
POOLINGS: list[PoolingSettings] = [
    GemSettings(),
    PlainPoolingSettings(kind="spoc"),
    PlainPoolingSettings(kind="mac"),
    RmacSettings(),
    FlattenSettings(),
    BilinearSettings(bilinear_dim=64),
]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("name", "size", "shape", "parameters"), TABLE)
def test_a_backbone_returns_a_map_that_every_pooling_takes(
    name: str, size: int, shape: tuple[int, int, int], parameters: int
) -> None:
    torch.manual_seed(0)
    backbone = Backbone(BackboneSpec(name)).eval()
    assert (count(backbone), backbone.channels) == (parameters, shape[0])
    with torch.inference_mode():
        features = backbone(torch.randn(1, 3, size, size)).map
        assert features.shape == (1, *shape)
        for settings in POOLINGS:
            pool = build_pooling(settings, backbone.channels)
            pooled = pool(features)
            assert pooled.shape == (1, pool.out_features)
            assert torch.isfinite(pooled).all()


# Published weights of Inception have a second classifier, which timm leaves out unless it is asked.
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("vgg16", {"head", "pre_logits"}),
        ("inception_v3", {"fc", "AuxLogits"}),
        ("vit_base_patch16_siglip_224", {"attn_pool"}),
    ],
)
def test_a_file_of_the_whole_network_holds_the_backbone_and_its_classifier(
    name: str, parts: set[str]
) -> None:
    options = {"aux_logits": True} if name == "inception_v3" else {}
    with torch.device("meta"):  # names and shapes alone
        whole = timm.create_model(name, **options).state_dict()
        wanted = Backbone(BackboneSpec(name)).network.state_dict()
    assert {key: whole[key].shape for key in wanted} == {k: v.shape for k, v in wanted.items()}
    assert {key.split(".")[0] for key in whole.keys() - wanted.keys()} == parts


@pytest.mark.parametrize("part", sorted(CLASSIFIERS))
def test_classifiers_of_all_kinds_are_left_out_of_loaded_weights(part: str, tmp_path: Path) -> None:
    backbone = Backbone(BackboneSpec("test_resnet"))
    tensors = backbone.network.state_dict()
    save_file({**tensors, f"{part}.fc1.weight": torch.zeros(7)}, tmp_path / "w.safetensors")
    load_weights(backbone, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("settings", "classes", "parameters"),
    [
        (PlainPoolingSettings(kind="spoc"), 14_951, 30_634_599),
        (FlattenSettings(grid=4), 14_951, 489_929_319),
        (FlattenSettings(grid=4), 6_632, 217_324_008),
    ],
)
def test_linear_heads_have_as_many_parameters_as_the_report_says(
    settings: PoolingSettings, classes: int, parameters: int
) -> None:
    pool = build_pooling(settings, channels=2048)  # of ResNet50
    head = nn.Linear(pool.out_features, classes, device="meta")  # 2 GB otherwise
    assert count(pool) + count(head) == parameters
