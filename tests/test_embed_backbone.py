"""Feature maps of timm networks, and where their weights come from. Needs no network."""

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from embed import hub
from embed.backbone import (
    Backbone,
    BackboneSpec,
    Level,
    build_backbone,
    check_backbone,
    load_weights,
    read_weights_spec,
    undo_zero_init,
)
from embed.errors import InputError, MissingFileError

RESNET = BackboneSpec("test_resnet")


def write_weights(
    path: Path, name: str, metadata: dict[str, str] | None = None, half: bool = False
) -> dict[str, torch.Tensor]:
    """Save a random timm model with a classifier of 7 classes; return its tensors."""
    torch.manual_seed(1)
    tensors: dict[str, torch.Tensor] = timm.create_model(name, num_classes=7).state_dict()
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    save_file(tensors, path, metadata)
    return tensors


# Swin and its like (here MambaOut) put the channels last, a ViT returns tokens.
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_mambaout", "test_vit"])
def test_every_family_returns_a_channels_first_map(name: str) -> None:
    backbone = Backbone(BackboneSpec(name)).eval()
    with torch.inference_mode():
        features = backbone(torch.rand(2, 3, 64, 128)).map
    assert features.shape[:2] == (2, backbone.channels)
    assert features.shape[3] == 2 * features.shape[2]


def test_patch_tokens_are_laid_out_row_by_row() -> None:
    backbone = Backbone(BackboneSpec("test_vit")).eval()
    images = torch.rand(2, 3, 32, 64)
    with torch.inference_mode():
        tokens = backbone.network.forward_features(images)
        features = backbone(images).map
    assert features.shape == (2, backbone.channels, 2, 4)  # patches of 16 pixels
    for row in range(2):
        for column in range(4):
            token = tokens[:, 1 + 4 * row + column]  # behind the class token
            torch.testing.assert_close(features[:, :, row, column], token, rtol=0, atol=0)


def hooked_map(backbone: Backbone, images: torch.Tensor, level: Level) -> torch.Tensor:
    """Return what the module of a level puts out, as [B, C, h, w]: the oracle."""
    found: list[torch.Tensor] = []
    name = backbone.network.feature_info[level.index]["module"]
    handle = backbone.network.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: found.append(output)
    )
    backbone(images)
    handle.remove()
    (features,) = found
    if features.ndim == 3:  # tokens, the class token first
        side = math.isqrt(features.shape[1])
        features = features[:, -side * side :].reshape(len(features), side, side, -1)
    return features if features.shape[1] == level.channels else features.permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "mobilenetv2_100", "efficientnet_b0", "convnext_atto", "densenet121"),
        *("swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "test_mambaout"),
    ],
)
def test_one_pass_gives_an_intermediate_map_and_the_last(name: str) -> None:
    backbone = Backbone(BackboneSpec(name)).eval()
    level = backbone.find_level()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        intermediate, last = backbone.forward_both(images, level)
        assert intermediate.shape == (2, level.channels, 64 // level.stride, 64 // level.stride)
        for other, expected in [
            (last.map, backbone(images).map),
            (backbone.forward_to(images, level), intermediate),
            (hooked_map(backbone, images, level), intermediate),
        ]:
            torch.testing.assert_close(other, expected, rtol=0, atol=0)


def test_the_level_of_a_stride_is_the_last_map_of_it() -> None:
    backbone = Backbone(RESNET)
    assert backbone.find_level(16) == Level(index=3, stride=16, channels=192)
    assert backbone.find_level(4) == Level(index=1, stride=4, channels=32)


def test_the_level_of_a_vit_is_at_three_quarters_of_its_depth() -> None:
    assert Backbone(BackboneSpec("vit_tiny_patch16_224")).find_level(16).index == 8  # of 0 to 11


@pytest.mark.parametrize(
    ("name", "strides"), [("test_resnet", "2, 4, 8, 16, 32"), ("test_vit", "16")]
)
def test_a_stride_that_is_not_there_names_those_that_are(name: str, strides: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"stride = 12: .* no intermediate map of that stride, only of \[{strides}\]",
    ):
        Backbone(BackboneSpec(name)).find_level(12)


@pytest.mark.parametrize("name", ["resnet5O", "resnt50", "resnet_50"])
def test_an_unknown_network_names_close_ones(name: str) -> None:
    with pytest.raises(InputError, match=rf"no network '{name}' .* close names: .*resnet50"):
        build_backbone(BackboneSpec(name))


def test_a_name_like_no_other_gets_no_hint() -> None:
    with pytest.raises(InputError, match=r"no network 'zzzzzz' .*timm.list_models"):
        build_backbone(BackboneSpec("zzzzzz"))


def test_weights_of_a_network_that_timm_does_not_have_are_named() -> None:
    check_backbone("resnet18.tv_in1k", published=True)
    with pytest.raises(InputError, match=r"no weights 'mine' of the network 'resnet18'.*tv_in1k"):
        check_backbone("resnet18.mine")


def test_the_metadata_of_a_weights_file_wins(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    metadata = {
        "architecture": "test_efficientnet",
        "pad_type": "same",
        "mean": "0.5, 0.4,.3",
        "std": "1,1,2",
    }
    write_weights(path, "test_efficientnet", metadata)
    backbone, spec = build_backbone(RESNET, weights=path)
    assert spec == BackboneSpec("test_efficientnet", "same", (0.5, 0.4, 0.3), (1.0, 1.0, 2.0))
    assert any("Same" in type(module).__name__ for module in backbone.modules())


def test_a_file_without_metadata_is_as_the_weights_that_would_be_fetched(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_weights(path, "test_resnet")
    config = timm.get_pretrained_cfg("test_resnet")
    assert config.mean != RESNET.mean
    assert read_weights_spec(path, RESNET) == replace(RESNET, mean=config.mean, std=config.std)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_half_precision_weights_become_float32_without_the_classifier(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    stored = write_weights(path, name, half=True)
    backbone, _ = build_backbone(BackboneSpec(name), weights=path)
    loaded = backbone.network.state_dict()
    assert set(loaded) < set(stored)  # the classifier is gone
    for key, tensor in loaded.items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.equal(tensor.double(), stored[key].double())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_weights(path, "test_vit")
    with pytest.raises(ValueError, match=r"tensors missing .* unknown .* name the architecture"):
        build_backbone(RESNET, weights=path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = write_weights(path, "test_resnet")
    save_file({**tensors, "conv1.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"1 of another shape \['conv1.0.weight'\]"):
        load_weights(Backbone(RESNET), path)


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.safetensors is not a safetensors file"):
        build_backbone(RESNET, weights=path)


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights file at .*gone.safetensors"):
        build_backbone(RESNET, weights=tmp_path / "gone.safetensors")


@pytest.mark.parametrize("mean", ["0.5,0.5", "a,b,c", "", "1,2,3,4"])
def test_senseless_metadata_is_refused(mean: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"mean": mean})
    with pytest.raises(ValueError, match=rf"metadata 'mean' of .* is '{mean}', expected three"):
        read_weights_spec(path, RESNET)


@dataclass
class Hub:
    """Stands in for the network: it can be reached or not, and counts what it is asked."""

    problem: Exception | None
    asked: int = 0

    def head(self, url: str, timeout: float) -> None:
        """Answer as the hub does when asked for a file, or as a network without it."""
        self.asked += 1
        if self.problem:
            raise self.problem


def without_network(monkeypatch: pytest.MonkeyPatch, problem: Exception, cache: Path) -> Hub:
    found = Hub(problem)
    monkeypatch.setattr(hub, "get_hf_file_metadata", found.head)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    return found


@pytest.mark.parametrize("error", [OSError(), ConnectionError("refused\nby the proxy")])
def test_an_unreachable_hub_is_asked_once_and_the_advice_says_which_file_to_fetch(
    error: OSError,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = without_network(monkeypatch, error, tmp_path)
    with pytest.raises(MissingFileError) as caught:
        build_backbone(RESNET, pretrained=True)
    for part in ("test_resnet", type(error).__name__, "'timm/test_resnet.r160_in1k'", "WEIGHTS="):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert found.asked == 1
    assert "Retrying" not in caplog.text
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_weights_in_the_cache_of_the_hub_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_network(monkeypatch, ConnectionError("no network"), tmp_path)
    stored = tmp_path / "models--timm--test_resnet.r160_in1k"
    snapshot = stored / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("0" * 40)
    torch.manual_seed(1)
    tensors = timm.create_model("test_resnet").state_dict()
    save_file(tensors, snapshot / "model.safetensors")
    backbone, spec = build_backbone(RESNET, pretrained=True)
    assert torch.equal(backbone.network.state_dict()["conv1.0.weight"], tensors["conv1.0.weight"])
    assert spec.mean == tuple(timm.get_pretrained_cfg("test_resnet").mean)


@pytest.mark.parametrize("error", [OSError("broken"), RuntimeError()])
def test_a_hub_that_answers_and_gives_no_weights_gets_the_same_advice(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> nn.Module:
        raise error

    monkeypatch.setattr(hub, "get_hf_file_metadata", Hub(None).head)
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(MissingFileError, match=rf"\({type(error).__name__}: .* WEIGHTS="):
        build_backbone(RESNET, pretrained=True)


def test_an_architecture_without_published_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="no pretrained weights for 'darknet17'"):
        build_backbone(BackboneSpec("darknet17"), pretrained=True)


def closed_norms(module: nn.Module) -> int:
    norms = [child for child in module.modules() if isinstance(child, nn.BatchNorm2d)]
    return sum(bool((norm.weight == 0).all()) for norm in norms)


def test_random_networks_start_without_zero_init() -> None:
    assert closed_norms(timm.create_model("test_resnet")) > 0
    backbone, _ = build_backbone(RESNET)
    assert closed_norms(backbone) == 0


def test_opening_branches_leaves_other_weights_alone() -> None:
    norms = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False))
    weights = torch.tensor([0.0, 2.0, -1.0])
    with torch.no_grad():
        norms[0].weight.copy_(weights)  # type: ignore[operator]
        norms[1].weight.zero_()  # type: ignore[operator]
    undo_zero_init(norms)
    assert torch.equal(norms[0].weight, weights)  # type: ignore[arg-type]
    assert torch.equal(norms[1].weight, torch.ones(2))  # type: ignore[arg-type]


# A class token alone; one beside four registers; attention pooling beside a register and no class
# token; the RoPE of DINOv3.
TOKENS = ["test_vit", "vit_tiny_patch16_dinov3_qkvb", "test_vit3"]


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
def test_the_token_of_the_whole_image_is_what_timm_pools(name: str, size: tuple[int, int]) -> None:
    backbone = Backbone(BackboneSpec(name), token=True).eval()
    images = torch.rand(2, 3, *size)
    with torch.inference_mode():
        last = backbone(images)
        tokens = backbone.network.forward_features(images)
        _, both = backbone.forward_both(images, backbone.find_level(16))
        expected = backbone.network.forward_head(tokens)
    assert last.token is not None and both.token is not None
    assert torch.equal(last.token, expected)
    prefix = backbone.network.num_prefix_tokens
    assert torch.equal(last.map.flatten(2).transpose(1, 2), tokens[:, prefix:])
    assert torch.equal(both.token, last.token) and torch.equal(both.map, last.map)


def test_registers_are_neither_token_nor_patches() -> None:
    backbone = Backbone(BackboneSpec("vit_tiny_patch16_dinov3_qkvb"), token=True).eval()
    images = torch.rand(1, 3, 32, 32)
    tokens = torch.arange(9.0).reshape(1, 9, 1)  # class token, four registers, four patches
    last = backbone._read(tokens, images)
    assert last.token is not None
    assert (last.token.flatten().tolist(), last.map.flatten().tolist()) == ([0.0], [5, 6, 7, 8])


@pytest.mark.parametrize("name", ["test_vit", "test_vit3"])
def test_without_a_token_nothing_of_it_is_built_or_computed(name: str) -> None:
    backbone = Backbone(BackboneSpec(name))
    assert backbone(torch.rand(1, 3, 32, 32)).token is None
    assert not any(key.startswith("attn_pool") for key in backbone.state_dict())


@pytest.mark.parametrize("name", ["test_resnet", "test_mambaout", "test_vit2"])
def test_a_network_without_a_token_of_the_whole_image_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"'{name}' \(.*\) has none; set .*'gem', or take a ViT"):
        build_backbone(BackboneSpec(name), pretrained=True, token=True)


def test_attention_pooling_is_loaded_from_a_weights_file(tmp_path: Path) -> None:
    stored = write_weights(tmp_path / "weights.safetensors", "test_vit3")
    backbone, _ = build_backbone(
        BackboneSpec("test_vit3"), weights=tmp_path / "weights.safetensors", token=True
    )
    loaded = backbone.network.state_dict()
    assert "attn_pool.latent" in loaded
    assert all(torch.equal(tensor, stored[name]) for name, tensor in loaded.items())


def test_a_licence_that_binds_is_told_where_weights_are_fetched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(name: str, **options: object) -> nn.Module:
        made: nn.Module = create("test_resnet")
        return made

    create = timm.create_model
    monkeypatch.setattr(hub, "get_hf_file_metadata", Hub(None).head)
    monkeypatch.setattr(timm, "create_model", make)
    caplog.set_level(logging.WARNING)
    build_backbone(RESNET, pretrained=True)
    assert not caplog.messages
    build_backbone(BackboneSpec("vit_small_patch16_dinov3"), pretrained=True)
    assert "have the licence 'dinov3-license': read it" in caplog.text
