"""Attention against numpy, as it starts, as it is saved, and inside timm's networks."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from torch import nn

from embed.attention import (
    SEAttention,
    SelfAttention,
    SpatialAttention,
    attach_stage_attention,
    build_attention,
)
from embed.backbone import Backbone, BackboneSpec
from embed.network_settings import AttentionSettings, SEAttentionSettings
from embed.train_settings import TrainSettings

SE = SEAttentionSettings()


def settings_of(kind: str) -> AttentionSettings:
    return TrainSettings.model_validate({"attention": {"kind": kind}}).attention


def feature_map(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build_self(channels: int = 16, gamma: float = 0.7) -> SelfAttention:
    torch.manual_seed(0)
    attention = SelfAttention(channels)
    nn.init.constant_(attention.gamma, gamma)
    return attention


def build_backbone(name: str) -> Backbone:
    torch.manual_seed(0)
    return Backbone(BackboneSpec(name)).eval()


def attended(backbone: Backbone) -> list[str]:
    return [n for n, module in backbone.named_modules() if isinstance(module, SEAttention)]


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_spatial_attention_equals_numpy(batch: int, channels: int, h: int, w: int) -> None:
    features = feature_map(batch, channels, h, w, seed=h * 8 + w)
    values = features.numpy().astype(np.float64)
    weights = softmax(values.sum(axis=1), axis=(1, 2))
    expected = values * weights[:, None]
    np.testing.assert_allclose(SpatialAttention()(features), expected, rtol=1e-4, atol=1e-6)


def test_spatial_attention_shrinks_a_map_of_equal_locations_by_their_number() -> None:
    torch.testing.assert_close(
        SpatialAttention()(torch.ones(1, 3, 4, 5)), torch.full((1, 3, 4, 5), 0.05)
    )


def test_spatial_attention_tells_sums_apart_that_bfloat16_cannot() -> None:
    # 2048 halves and 2048 halves with one more: their sums, 1024 and 1025, are one bfloat16.
    features = torch.full((1, 2048, 1, 2), 0.5, dtype=torch.bfloat16)
    features[0, 0, 0, 1] = 1.5
    weighed = SpatialAttention()(features)
    assert weighed.dtype == torch.bfloat16
    ratio = (weighed[0, 1, 0, 1] / weighed[0, 1, 0, 0]).item()
    assert ratio == pytest.approx(np.e, rel=0.01)


def weights_of(layer: nn.Module) -> NDArray[np.float64]:
    """Return the weights [outputs, channels] that a convolution of spectral norm 1 uses."""
    assert isinstance(layer.weight, torch.Tensor)
    weights: NDArray[np.float64] = layer.weight.detach().flatten(1).double().numpy()
    return weights


def plain_self_attention(attention: SelfAttention, features: torch.Tensor) -> NDArray[np.float64]:
    """Attend location by location, in float64."""

    def convolve(layer: nn.Module, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.tensordot(weights_of(layer), values, axes=(1, 1)).swapaxes(0, 1)

    def pooled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows, columns = range(0, values.shape[2], 2), range(0, values.shape[3], 2)
        cells = [values[:, :, y : y + 2, x : x + 2].max(axis=(2, 3)) for y in rows for x in columns]
        return np.stack(cells, axis=2)

    values = features.numpy().astype(np.float64)
    queries = convolve(attention.queries, values)
    keys = pooled(convolve(attention.keys, values))
    contents = pooled(convolve(attention.values, values))
    read = np.zeros((len(values), contents.shape[1], *values.shape[2:]))
    for image, y, x in np.ndindex(len(values), *values.shape[2:]):
        weights = softmax(queries[image, :, y, x] @ keys[image])
        read[image, :, y, x] = contents[image] @ weights
    return values + attention.gamma.item() * convolve(attention.output, read)


@pytest.mark.parametrize("size", [(4, 6), (7, 7), (3, 2), (1, 1)])
def test_self_attention_equals_a_loop_over_locations(size: tuple[int, int]) -> None:
    attention, features = build_self().eval(), feature_map(2, 16, *size)
    with torch.inference_mode():
        found = attention(features)
        np.testing.assert_allclose(found, plain_self_attention(attention, features), atol=1e-5)


def test_self_attention_is_the_identity_at_first_and_learns_from_there() -> None:
    attention, features = SelfAttention(16), feature_map(2, 16, 5, 5)
    described = attention(features)
    assert torch.equal(described, features)
    described.square().sum().backward()
    assert attention.gamma.grad is not None and attention.gamma.grad.item() != 0


def test_its_convolutions_have_the_spectral_norm_1() -> None:
    attention = build_self(64)
    nn.init.normal_(attention.queries.parametrizations.weight.original)  # type: ignore[union-attr, arg-type]
    for _ in range(50):
        attention(feature_map(1, 64, 2, 2))
    for layer in (attention.queries, attention.keys, attention.values, attention.output):
        assert np.linalg.svd(weights_of(layer))[1][0] == pytest.approx(1, abs=0.01)


def test_a_saved_self_attention_gives_the_same_values(tmp_path: Path) -> None:
    attention, features = build_self(), feature_map(2, 16, 5, 5)
    attention(features)  # a step of training moves the vectors that the norm is found with
    attention.eval()
    save_file(attention.state_dict(), tmp_path / "a.safetensors")
    torch.save(attention.state_dict(), tmp_path / "a.pt")
    for state in (
        load_file(tmp_path / "a.safetensors"),
        torch.load(tmp_path / "a.pt", weights_only=True),
    ):
        loaded = SelfAttention(16).eval()
        loaded.load_state_dict(state)
        assert torch.equal(loaded(features), attention(features))


def test_self_attention_in_use_gives_the_same_values_each_time_and_as_a_copy() -> None:
    attention, features = build_self().eval(), feature_map(2, 16, 5, 5)
    first = attention(features)
    duplicate = copy.deepcopy(attention)
    assert torch.equal(attention(features), first)
    assert torch.equal(duplicate(features), first)
    nn.init.zeros_(duplicate.gamma)
    assert torch.equal(attention(features), first)


@pytest.mark.parametrize("kind", ["spatial", "self"])
def test_bfloat16_changes_the_values_no_more_than_its_own_rounding(kind: str) -> None:
    attention = build_attention(settings_of(kind), 16).eval()
    if isinstance(attention, SelfAttention):
        nn.init.ones_(attention.gamma)
    features = feature_map(2, 16, 5, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(features)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), attention(features.float()), rtol=2**-8, atol=1e-6)


def test_kinds_that_do_not_weigh_the_last_map_leave_it_alone() -> None:
    for kind in ("none", "se"):
        attention = build_attention(settings_of(kind), 16)
        assert isinstance(attention, nn.Identity)


@pytest.mark.parametrize(("size", "mask"), [((8, 8), 1), ((7, 5), 2), ((1, 1), 3)])
def test_se_attention_is_nearly_the_identity_at_first(size: tuple[int, int], mask: int) -> None:
    features = feature_map(2, 16, *size)
    for module in (SEAttention(16, 2, mask), SEAttention(16, 2, mask).eval()):
        # 1 + 1 / (1 + e ** 4) = 1.018
        torch.testing.assert_close(module(features), 1.0179862 * features)


def test_se_attention_adds_the_masked_trunk_to_the_trunk() -> None:
    features = feature_map(1, 8, 6, 6)
    module = SEAttention(8).eval()
    nn.init.ones_(module.mask_norm.weight)
    nn.init.normal_(module.trunk[0].bn3.weight)  # type: ignore[union-attr, arg-type]
    with torch.inference_mode():
        trunk, mask = module.trunk(features), module.mask_norm(module.mask(features))
        assert mask.shape == (1, 8, 3, 3)
        # Enlarged to twice its size each new location lies a quarter from the next old one.
        corner = 0.75**2 * mask[..., 0, 0] + 0.1875 * (mask[..., 0, 1] + mask[..., 1, 0])
        corner = corner + 0.0625 * mask[..., 1, 1]
        expected = (1 + corner.sigmoid()) * trunk[..., 1, 1]
        torch.testing.assert_close(module(features)[..., 1, 1], expected)
        assert not torch.allclose(trunk, features)


def test_a_gradient_reaches_all_of_se_attention_once_its_zeros_have_moved() -> None:
    torch.manual_seed(0)
    module = SEAttention(16, trunk=2, mask=2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for step in range(2):
        optimizer.zero_grad()
        module(feature_map(4, 16, 8, 8, seed=step)).pow(3).mean().backward()
        optimizer.step()
    still = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_se_attention_has_as_many_blocks_as_the_settings_say() -> None:
    module = SEAttention(16, trunk=3, mask=2)
    assert (len(module.trunk), len(module.mask)) == (3, 2)
    assert module.mask(feature_map(2, 16, 12, 9)).shape == (2, 16, 3, 3)


# From the networks' own lists: [(e["module"], e["num_chs"], e["reduction"]) for e in feature_info]
STAGES = {
    "resnet18": {"layer1": 64, "layer2": 128, "layer3": 256},
    "mobilenetv2_100": {"blocks.1": 24, "blocks.2": 32, "blocks.4": 96},
    "test_convnext": {"stages.0": 24, "stages.1": 32, "stages.2": 48},
}


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_but_the_last_gets_attention_of_its_channels(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(BackboneSpec(name)).eval()
        attach_stage_attention(backbone, SEAttentionSettings(trunk=2, mask=3))
        shape = backbone(torch.zeros(2, 3, 64, 64)).map.shape
    assert attended(backbone) == [f"network.{stage}.attention" for stage in STAGES[name]]
    for stage, channels in STAGES[name].items():
        attention = backbone.get_submodule(f"network.{stage}.attention")
        assert isinstance(attention, SEAttention) and attention.channels == channels
        assert (len(attention.trunk), len(attention.mask)) == (2, 3)
    assert shape == (2, backbone.channels, 2, 2)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_intermediate_and_last_maps_have_passed_the_attention(name: str) -> None:
    backbone, images = build_backbone(name), feature_map(2, 3, 64, 64)
    level = backbone.find_level(16)
    with torch.inference_mode():
        plain, _ = backbone.forward_both(images, level)
        attach_stage_attention(backbone, SE)
        close, last = backbone.forward_both(images, level)
        torch.testing.assert_close(last.map, backbone(images).map)
        # It stands before the next stage, so 1.018 times what three stages made of 1.018 before.
        assert 1.0 < (close.norm() / plain.norm()).item() < 1.1
        for module in backbone.modules():
            if isinstance(module, SEAttention):
                nn.init.constant_(module.mask_norm.bias, -100)
        torch.testing.assert_close(backbone.forward_to(images, level), plain)


def test_a_saved_network_with_attention_gives_the_same_map(tmp_path: Path) -> None:
    backbone, images = build_backbone("test_resnet"), feature_map(4, 3, 64, 64)
    attach_stage_attention(backbone, SE)
    backbone.train()(images)  # so that the running statistics are not those of a new network
    save_file(backbone.state_dict(), tmp_path / "model.safetensors")
    loaded = Backbone(BackboneSpec("test_resnet"))
    attach_stage_attention(loaded, SE)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    with torch.inference_mode():
        expected = backbone.eval()(images).map
        assert torch.equal(loaded.eval()(images).map, expected)
        assert torch.equal(copy.deepcopy(loaded)(images).map, expected)


def test_attention_is_attached_once() -> None:
    backbone = build_backbone("test_resnet")
    attach_stage_attention(backbone, SE)
    names = attended(backbone)
    with pytest.raises(ValueError, match="has stage attention already; attach it once"):
        attach_stage_attention(backbone, SE)
    assert attended(backbone) == names


@pytest.mark.parametrize("kind", ["none", "spatial", "self"])
def test_other_kinds_change_no_network(kind: str) -> None:
    backbone = build_backbone("test_resnet")
    names = list(backbone.state_dict())
    attach_stage_attention(backbone, settings_of(kind))
    assert list(backbone.state_dict()) == names


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("test_vit", r"it has 1 stride"),
        ("legacy_xception", r"\['block2.rep.0', .* are no stages"),
        ("vgg11", r"\['features.9', .* are no stages"),
        ("swin_tiny_patch4_window7_224", r"\['layers.0', .* are no stages"),
    ],
)
def test_networks_without_convolutional_stages_are_refused(name: str, found: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(BackboneSpec(name))
    with pytest.raises(ValueError, match=rf"{found}.*it suits ResNet.*'self'"):
        attach_stage_attention(backbone, SE)
    assert attended(backbone) == []


def test_a_stage_that_returns_no_map_of_its_channels_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 16, h, w\]; choose another backbone"):
        SEAttention(16)(torch.zeros(2, 4, 4, 16))
    with pytest.raises(ValueError, match=r"got list from a stage, expected \[B, 16, h, w\]"):
        SEAttention(16)([torch.zeros(2, 16, 4, 4)])
