"""The descriptor model: what it returns, and that its fingerprint names what it computes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from embed.backbone import BackboneSpec
from embed.errors import InputError
from embed.model import DescriptorModel, ModelSpec, fingerprint_model, load_model, save_model
from embed.network_settings import ClsGemSettings

SPEC = ModelSpec(BackboneSpec("test_resnet"), image_size=32, dim=8)


def build(spec: ModelSpec = SPEC, seed: int = 0) -> DescriptorModel:
    torch.manual_seed(seed)
    return DescriptorModel(spec).eval()


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_descriptors_have_length_1_in_training_and_inference() -> None:
    model = build()
    for described in (model(images(3)), model.train()(images(3))):
        assert described.shape == (3, SPEC.dim)
        torch.testing.assert_close(described.norm(dim=1), torch.ones(3))


def test_descriptors_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        described = build()(images(3))
    assert described.dtype == torch.float32
    torch.testing.assert_close(described.norm(dim=1), torch.ones(3))


def test_a_batch_norm_on_the_input_undoes_other_brightness_and_contrast() -> None:
    plain, normed = (build(replace(SPEC, input_norm=norm)).train() for norm in (False, True))
    batch = images(4)
    assert torch.allclose(normed(batch), normed(3 * batch + 2), atol=1e-3)
    assert not torch.allclose(plain(batch), plain(3 * batch + 2), atol=1e-2)
    assert sum(p.numel() for p in normed.backbone.input_norm.parameters()) == 6


def test_an_image_has_the_same_descriptor_alone_and_in_a_batch() -> None:
    model = build()
    with torch.inference_mode():
        together = model(images(5))
        alone = torch.cat([model(image[None]) for image in images(5)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)


def test_a_saved_model_gives_the_same_descriptors_and_fingerprint(tmp_path: Path) -> None:
    model = build().train()
    model(images(4))  # so that the running statistics are not those of a new model
    saved = save_model(model, tmp_path)
    loaded, fingerprint = load_model(tmp_path)
    assert saved == fingerprint == fingerprint_model(model) == fingerprint_model(loaded)
    assert loaded.spec == SPEC and not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(images(3)), model.eval()(images(3)))


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_model(build().to(memory_format=torch.channels_last), tmp_path / name)
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_fingerprint_ignores_the_layout_of_memory() -> None:
    assert fingerprint_model(build().to(memory_format=torch.channels_last)) == fingerprint_model(
        build()
    )


def test_the_fingerprint_changes_with_any_tensor() -> None:
    model = build()
    seen = {fingerprint_model(model)}
    for name, tensor in model.state_dict().items():
        before = tensor.clone()
        tensor.view(-1)[:1] += 1
        seen.add(fingerprint_model(model))
        tensor.copy_(before)
        assert len(seen) > 1, name
    assert len(seen) == 1 + len(model.state_dict())


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, image_size=48),
        replace(SPEC, backbone=replace(SPEC.backbone, mean=(0.5, 0.5, 0.5))),
        replace(SPEC, backbone=replace(SPEC.backbone, std=(0.5, 0.5, 0.5))),
    ],
)
def test_the_fingerprint_changes_with_the_spec(spec: ModelSpec) -> None:
    assert fingerprint_model(build(spec)) != fingerprint_model(build())


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, pretrained_share=0.5)])
def test_a_spec_survives_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_beside_another_model_cosines_are_weighted_means(share: float, tmp_path: Path) -> None:
    trained, before = build(), build(replace(SPEC, dim=0), seed=1)
    joined = trained.with_pretrained(before, share)
    with torch.inference_mode():
        cosines, first, second = (m(images(5)) @ m(images(5)).T for m in (joined, trained, before))
        torch.testing.assert_close(cosines, (1 - share) * first + share * second)
        assert torch.equal(joined.features(images(5)), trained.features(images(5)))
    assert (joined.dim, joined.head_dim) == (trained.dim + before.dim, trained.dim)
    assert trained.pretrained is None and trained.spec == SPEC
    saved = save_model(joined, tmp_path)
    loaded, fingerprint = load_model(tmp_path)
    assert saved == fingerprint != fingerprint_model(trained)
    assert (loaded.dim, loaded.head_dim) == (joined.dim, joined.head_dim)
    with torch.inference_mode():
        assert torch.equal(loaded(images(3)), joined(images(3)))


@pytest.mark.parametrize("share", [-0.1, 0.0, 1.0, 2.0, float("nan")])
def test_a_share_lies_between_nothing_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="pretrained_share is"):
        build().with_pretrained(build(replace(SPEC, dim=0)), share)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    save_model(build(), tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["neck.weight"][0, 0] += 1e-3
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"not the file that model.json describes; copy both"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", ["of another dim", "cut", "empty"])
def test_files_that_do_not_fit_together_are_refused(content: str, tmp_path: Path) -> None:
    save_model(build(replace(SPEC, dim=4)), tmp_path)
    other = (tmp_path / "model.safetensors").read_bytes()
    save_model(build(), tmp_path)
    parts = {"of another dim": other, "cut": other[: len(other) // 2], "empty": b""}
    (tmp_path / "model.safetensors").write_bytes(parts[content])
    with pytest.raises(ValueError, match=r"not the file that model.json describes; copy both"):
        load_model(tmp_path)


@pytest.mark.parametrize("folder", ["", "gone"])
def test_a_folder_without_a_model_says_what_to_run(folder: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model in .*run `cairn train`"):
        load_model(tmp_path / folder)


def test_another_format_is_refused(tmp_path: Path) -> None:
    save_model(build(), tmp_path)
    path = tmp_path / "model.json"
    written = json.loads(path.read_text())
    del written["spec"]["pooling"]  # what another version leaves out is no damage
    path.write_text(json.dumps({**written, "format": 1}))
    with pytest.raises(InputError, match=r"format 1, this one has 2\); train again: cairn train"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["test_vit", "test_vit3", "vit_tiny_patch16_dinov3_qkvb"])
def test_a_model_that_pools_the_token_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    spec = ModelSpec(BackboneSpec(name), 32, 0, pooling=ClsGemSettings(token_share=0.25))
    model = build(spec)
    assert model.dim == 2 * model.backbone.channels
    saved = save_model(model, tmp_path)
    loaded, fingerprint = load_model(tmp_path)
    assert fingerprint == saved and loaded.spec == spec
    with torch.inference_mode():
        described = model(images(3))
        assert torch.equal(loaded(images(3)), described)
    torch.testing.assert_close(described.norm(dim=1), torch.ones(3))


def test_a_convolutional_network_has_no_token_to_pool() -> None:
    with pytest.raises(InputError, match=r"'test_resnet' \(ResNet\) has none"):
        build(replace(SPEC, pooling=ClsGemSettings()))
