"""The table of strong backbones against what timm has of each; shapes alone, nothing is fetched."""

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from embed.backbone import Backbone, BackboneSpec, check_backbone
from embed.pooling import build_pooling
from embed.strong_backbones import RANKED, STRONG_BACKBONES, StrongBackbone
from embed.train_settings import TrainSettings
from pipelines.runs.recipe import load_recipe

ROWS = STRONG_BACKBONES.items()


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_the_table_says_what_timm_publishes(name: str, row: StrongBackbone) -> None:
    full = f"{name}.{row.weights}"
    check_backbone(full, published=True, token=row.pooling == "cls-gem")
    config = timm.get_pretrained_cfg(full)
    assert config.hf_hub_id == f"timm/{full}"
    assert (config.license, config.input_size) == (row.license, (3, *[row.published_size] * 2))
    assert (config.mean, config.std) == row.colours


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_the_table_says_what_is_built(name: str, row: StrongBackbone) -> None:
    with torch.device("meta"):
        backbone = Backbone(BackboneSpec(name), token=row.pooling == "cls-gem").eval()
        backbone.requires_grad_(False)
        images = torch.zeros(1, 3, row.image_size, row.image_size)
        with FlopCounterMode(display=False) as counter:
            last = backbone(images)
    network = backbone.network
    side = row.image_size // (row.patch or 32)
    assert last.map.shape == (1, row.dim, side, side)
    assert (last.token is None) == (row.pooling == "gem")
    assert last.token is None or last.token.shape == (1, row.dim)
    assert getattr(network, "num_prefix_tokens", 0) == row.prefix_tokens
    if row.patch:
        assert network.patch_embed.patch_size == (row.patch, row.patch)
    assert row.image_size % (row.patch or 32) == 0
    assert counter.get_total_flops() / 1e9 == pytest.approx(row.gflops, abs=0.06)
    parameters = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    assert parameters == pytest.approx(row.parameters, abs=0.06)
    settings = TrainSettings.model_validate({"pooling": {"kind": row.pooling}}).pooling
    pooled = build_pooling(settings, row.dim).out_features
    assert pooled == row.dim * (1 + (row.pooling == "cls-gem"))


def test_what_is_chosen_unasked_may_be_used_for_anything() -> None:
    rows = [STRONG_BACKBONES[name] for name in RANKED]
    assert all(row.permissive for row in rows)
    assert [row.gflops for row in rows] == sorted(row.gflops for row in rows)
    assert not STRONG_BACKBONES["vit_base_patch16_dinov3"].permissive


def test_the_recipe_has_a_row_of_the_table() -> None:
    train = load_recipe("frozen").train
    name, _, weights = train.backbone.partition(".")
    row = STRONG_BACKBONES[name]
    found = (weights, train.image_size, train.pooling.kind, train.epochs)
    assert found == (row.weights, row.image_size, row.pooling, 0)
    assert row.permissive
