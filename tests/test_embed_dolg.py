"""DOLG against slow numpy, location by location, and as the pooling of a whole model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embed.backbone import BackboneSpec
from embed.dolg import Dolg, LocationAttention, MultiAtrous, orthogonal_part
from embed.explain import grad_cam
from embed.model import DescriptorModel, ModelSpec, load_model, save_model
from embed.network_settings import DolgSettings, GemSettings
from embed.pooling import GeM, build_pooling
from embed.train_settings import TrainSettings
from rerank.delf.joint import build_joint_objective
from rerank.delf.settings import DelfSettings

SETTINGS = DolgSettings(width=6, dilations=(1, 2))
SPEC = ModelSpec(BackboneSpec("test_resnet"), image_size=64, dim=8, pooling=SETTINGS)
Floats = NDArray[np.float64]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(spec: ModelSpec = SPEC, seed: int = 0) -> DescriptorModel:
    torch.manual_seed(seed)
    return DescriptorModel(spec).eval()


def build_dolg() -> Dolg:
    torch.manual_seed(0)
    return Dolg(GeM(7), 5, 6, (1, 3)).eval()


def convolve(values: Floats, convolution: nn.Conv2d) -> Floats:
    """Sum over the locations around each [B, C, h, w], zeros beyond the border."""
    assert convolution.bias is not None
    weight, bias = (t.detach().double().numpy() for t in (convolution.weight, convolution.bias))
    (rate, _), (reach, _) = convolution.dilation, convolution.kernel_size
    half = rate * (reach // 2)
    padded = np.pad(values, ((0, 0), (0, 0), (half, half), (half, half)))
    height, width = values.shape[2:]
    found = np.zeros((len(values), len(weight), height, width))
    for row in range(reach):
        for column in range(reach):
            top, left = rate * row, rate * column
            seen = padded[:, :, top : top + height, left : left + width]
            found += np.einsum("bchw,oc->bohw", seen, weight[:, :, row, column])
    return np.asarray(found + bias[None, :, None, None])


def slow_atrous(values: Floats, module: MultiAtrous) -> Floats:
    seen = [convolve(values, branch) for branch in module.branches]  # type: ignore[arg-type]
    mean = values.mean(axis=(2, 3), keepdims=True)
    whole = np.maximum(convolve(mean, module.whole[1]), 0)  # type: ignore[arg-type]
    seen.append(np.broadcast_to(whole, seen[0].shape))
    return np.maximum(convolve(np.concatenate(seen, axis=1), module.merge), 0)


def slow_attention(values: Floats, module: LocationAttention) -> Floats:
    norm = module.embed[1]
    assert isinstance(norm, nn.BatchNorm2d)
    mean, var = (t.double().numpy() for t in (norm.running_mean, norm.running_var))  # type: ignore[union-attr]
    embedded = convolve(values, module.embed[0])  # type: ignore[arg-type]
    embedded = (embedded - mean[:, None, None]) / np.sqrt(var + norm.eps)[:, None, None]
    score = np.log1p(np.exp(convolve(np.maximum(embedded, 0), module.score)))
    return np.asarray(score * embedded / np.linalg.norm(embedded, axis=1, keepdims=True))


def slow_dolg(pool: Dolg, earlier: Floats, last: Floats) -> Floats:
    """Fuse as figure 2 of the paper: 2 * width values at each location, then their mean."""
    gem = (np.clip(last, 1e-6, None) ** 3).mean(axis=(2, 3)) ** (1 / 3)
    weight, bias = (t.detach().double().numpy() for t in (pool.project.weight, pool.project.bias))
    whole = gem @ weight.T + bias
    local = slow_attention(slow_atrous(earlier, pool.atrous), pool.attention)
    fused = np.empty((len(local), 2 * local.shape[1], *local.shape[2:]))
    for image, row, column in np.ndindex(len(local), *local.shape[2:]):
        g, f = whole[image], local[image, :, row, column]
        fused[image, :, row, column] = np.concatenate([g, f - (f @ g) / (g @ g) * g])
    return np.asarray(fused.mean(axis=(2, 3)))


def test_what_is_left_is_orthogonal_and_what_was_taken_away_makes_up_for_it() -> None:
    vectors, directions = draw(5, 6), 3 * draw(5, 6, seed=1)
    left = orthogonal_part(vectors, directions)
    torch.testing.assert_close((left * directions).sum(dim=1), torch.zeros(5), rtol=0, atol=1e-5)
    taken = vectors - left
    share = (vectors * directions).sum(dim=1) / directions.norm(dim=1) ** 2
    torch.testing.assert_close(taken, share[:, None] * directions)
    torch.testing.assert_close(orthogonal_part(left, directions), left)
    assert orthogonal_part(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]])).tolist() == [
        [0.0, 4.0]
    ]


def test_a_direction_of_zeros_takes_nothing_away() -> None:
    assert torch.equal(orthogonal_part(draw(2, 3), torch.zeros(2, 3)), draw(2, 3))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 5)])
def test_fusion_is_that_of_the_paper_location_by_location(shape: tuple[int, int]) -> None:
    pool = build_dolg()
    earlier, last = draw(3, 5, 2 * shape[0], 2 * shape[1]), draw(3, 7, *shape, seed=1)
    expected = slow_dolg(pool, earlier.double().numpy(), last.double().numpy())
    found = pool(last, earlier)
    assert found.shape == (3, pool.out_features) == (3, 12)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    pool = build_dolg().train()
    maps = [draw(3, 5, 6, 6).requires_grad_(), draw(3, 7, 3, 3, seed=1).requires_grad_()]
    pool(*reversed(maps)).square().sum().backward()
    for name, parameter in pool.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert all(features.grad is not None and features.grad.any() for features in maps)


def test_half_precision_changes_little() -> None:
    pool, maps = build_dolg(), (draw(3, 7, 3, 3, seed=1), draw(3, 5, 6, 6))
    with torch.autocast("cpu", torch.bfloat16):
        lowered = pool(*maps)
    assert lowered.dtype == torch.float32
    torch.testing.assert_close(lowered, pool(*maps), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dim", [0, 8])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_a_model_describes_an_image_alike_alone_saved_and_among_others(
    name: str, dim: int, tmp_path: Path
) -> None:
    model = build(replace(SPEC, backbone=BackboneSpec(name), dim=dim))
    images = draw(4, 3, 64, 64)
    model.train()(images)  # so that the running statistics are not those of a new model
    save_model(model.eval(), tmp_path)
    loaded, _ = load_model(tmp_path)
    with torch.inference_mode():
        described = model(images)
        assert described.shape == (4, dim or 12) and model.dim == model.head_dim == (dim or 12)
        assert torch.equal(loaded(images), described)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(alone, described, rtol=0, atol=1e-5)


def test_a_stride_that_the_network_lacks_is_refused() -> None:
    spec = replace(SPEC, pooling=DolgSettings(stride=12))
    with pytest.raises(ValueError, match=r"train\.pooling\.stride = 12: .* only of \[2, 4"):
        DescriptorModel(spec)


def test_pretrained_features_beside_it_have_no_new_part(tmp_path: Path) -> None:
    before = build(SPEC.pretrained, seed=1)
    assert before.spec.pooling == GemSettings() and before.spec.dim == 0
    trained, images = build(), draw(3, 3, 64, 64)
    joined = trained.with_pretrained(before, 0.5)
    save_model(joined, tmp_path)
    loaded, _ = load_model(tmp_path)
    with torch.inference_mode():
        cosines, first, second = (m(images) @ m(images).T for m in (loaded, trained, before))
        assert torch.equal(loaded.features(images), trained.features(images))
    torch.testing.assert_close(cosines, (first + second) / 2)


@pytest.mark.parametrize("stride", [8, 16])
def test_local_features_share_its_pass(stride: int) -> None:
    model, images = build(), draw(3, 3, 64, 64)
    delf = build_joint_objective(model.backbone, DelfSettings(stride=stride, dim=8), classes=2)
    with torch.inference_mode():
        found, last = model.backbone.forward_both(images, delf.level)
        assert torch.equal(found, model.backbone.forward_to(images, delf.level))
        assert torch.equal(model.pool_map(last), model.features(images))


def test_grad_cam_shows_its_last_map() -> None:
    images = (255 * torch.rand(2, 3, 64, 64)).to(torch.uint8)
    shown = grad_cam(build(), images, lambda model, batch: model.features(batch)[:, 0].abs())
    assert shown.shape == (2, 64, 64) and (shown >= 0).all()


def test_it_learns_to_tell_colours_apart() -> None:
    model = build().train()
    images, labels = 0.3 * draw(8, 3, 64, 64), torch.arange(8) % 2
    images[labels == 1, 0] += 1
    head = nn.Linear(8, 2)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], 3e-3)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(head(model.features(images)), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_settings_reach_the_pooling() -> None:
    train = TrainSettings.model_validate(
        {"pooling": {"kind": "dolg", "width": 4, "p": 2.0, "dilations": [3, 6, 9]}}
    )
    pool = build_pooling(train.pooling, 7, 5)
    assert isinstance(pool, Dolg) and isinstance(pool.gem, GeM)
    assert pool.out_features == 8 and pool.gem.p.item() == 2.0
    assert [branch.dilation for branch in pool.atrous.branches] == [(3, 3), (6, 6), (9, 9)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dilations": []}, "at least 1 item"),
        ({"dilations": [0]}, "greater than or equal to 1"),
        ({"width": 1}, "greater than or equal to 2"),
        ({"stride": 0}, "greater than or equal to 1"),
        ({"grid": 4}, "not permitted"),
    ],
)
def test_senseless_settings_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSettings.model_validate({"pooling": {"kind": "dolg", **changed}})
