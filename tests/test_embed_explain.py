"""Saliency and Grad-CAM: against finite differences, closed forms, and what must not matter."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from embed.backbone import BackboneSpec
from embed.explain import (
    Score,
    class_logit,
    cosine_to,
    grad_cam,
    input_slopes,
    layer_grad_cam,
    saliency,
)
from embed.model import DescriptorModel, ModelSpec
from embed.network_settings import ClsGemSettings
from embed.tensors import normalize, to_tensor
from embed.whitening import Whitening
from tests.images import photo

SIDE, DIM = 64, 8


def make_model(name: str = "test_resnet") -> DescriptorModel:
    torch.manual_seed(0)
    model = DescriptorModel(ModelSpec(BackboneSpec(name), SIDE, DIM))
    # The mean over places: with it, Grad-CAM has a closed form.
    model.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return model.eval()


def make_images(count: int = 2) -> Tensor:
    return torch.stack([to_tensor(photo(SIDE, SIDE, seed)) for seed in range(count)])


def direction() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=DIM).astype(np.float32))


def make_score() -> Score:
    """Return a linear score: a direction's product with the features."""
    return lambda model, images: model.features(images) @ direction()


def test_slopes_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 1)
    ).double()
    network.requires_grad_(False)  # a frozen network is explained, too

    def score(batch: Tensor) -> Tensor:
        found: Tensor = network(batch)
        return found[:, 0]

    inputs = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    expected, step = torch.empty_like(inputs), 1e-6
    for place in np.ndindex(inputs.shape):
        nudge = torch.zeros_like(inputs)
        nudge[place] = step
        difference = score(inputs + nudge) - score(inputs - nudge)
        expected[place] = (difference[place[0]] / (2 * step)).abs()
    torch.testing.assert_close(input_slopes(score, inputs), expected, rtol=1e-6, atol=1e-9)


def test_saliency_is_the_steepest_colour_in_units_of_pixel_values() -> None:
    model, images, score = make_model(), make_images(), make_score()
    values = images.float().requires_grad_()  # what normalize starts from
    value = score(model, normalize(values, model.spec.backbone)).sum()
    (slopes,) = torch.autograd.grad(value, values)
    found = saliency(model, images, score)
    assert (found.dtype, found.shape) == (torch.float32, (2, SIDE, SIDE))
    torch.testing.assert_close(found, slopes.abs().amax(dim=1), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_grad_cam_after_mean_pooling_is_cam(name: str) -> None:
    # Zhou et al.: Learning Deep Features for Discriminative Localization, CVPR 2016, equation 2:
    # the weights of the map's channels are those of the linear layers behind the mean.
    model, images, score = make_model(name), make_images(), make_score()
    with torch.no_grad():
        maps = model.backbone(normalize(images, model.spec.backbone)).map
    pooled = torch.zeros(1, maps.shape[1], requires_grad=True)
    described = model.neck_norm(model.neck(pooled)) @ direction()
    (slopes,) = torch.autograd.grad(described.sum(), pooled)
    height, width = maps.shape[-2:]
    weights = slopes[..., None, None] / (height * width)
    cam = (weights * maps).sum(dim=1, keepdim=True).relu()
    expected = nn.functional.interpolate(cam, size=(SIDE, SIDE), mode="bilinear")[:, 0]
    found = grad_cam(model, images, score)
    assert expected.max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)


def test_grad_cam_is_dark_where_the_layer_does_not_matter() -> None:
    layer = nn.Conv2d(1, 2, 1, bias=False)
    nn.init.ones_(layer.weight)
    inputs = torch.tensor([[[[0.0, 2.0], [1.0, 0.0]]]])
    bright = layer_grad_cam(lambda batch: layer(batch).sum(dim=(1, 2, 3)), layer, inputs)
    torch.testing.assert_close(bright, 2 * inputs[:, 0])  # the sum of both weights
    against = layer_grad_cam(lambda batch: -layer(batch).sum(dim=(1, 2, 3)), layer, inputs)
    assert not against.any()


@pytest.mark.parametrize("explain", [saliency, grad_cam])
def test_an_image_is_explained_alike_alone_and_among_others(explain: type) -> None:
    model, images, score = make_model(), make_images(3), make_score()
    together = explain(model, images, score)
    for place in range(3):
        alone = explain(model, images[place : place + 1], score)
        torch.testing.assert_close(alone[0], together[place], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("explain", [saliency, grad_cam])
def test_the_model_is_left_as_it_was(explain: type) -> None:
    model, images = make_model(), make_images(1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        explain(model, images, make_score())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.backbone._forward_hooks


@pytest.mark.parametrize("explain", [saliency, grad_cam])
def test_a_model_in_training_is_refused(explain: type) -> None:
    with pytest.raises(ValueError, match=r"call model.eval\(\)"):
        explain(make_model().train(), make_images(1), make_score())


def test_the_score_of_a_class_is_its_logit() -> None:
    model, head, images = make_model(), nn.Linear(DIM, 5), make_images() / 255
    wanted = head(model.features(images))[:, 2]
    torch.testing.assert_close(class_logit(head, 2)(model, images), wanted)


@pytest.mark.parametrize("whitened", [False, True])
def test_the_score_of_a_neighbour_is_what_search_finds(whitened: bool) -> None:
    rng = np.random.default_rng(0)
    model, share = make_model(), 0.3
    before = ModelSpec(model.spec.backbone, SIDE, 0)
    model = model.with_pretrained(DescriptorModel(before).eval(), share)
    images = make_images(4) / 255
    described = model(images).detach().numpy()
    whitening = None
    if whitened:
        mean, projection = rng.normal(size=model.dim) / 9, rng.normal(size=(4, model.dim))
        whitening = Whitening(mean.astype(np.float32), projection.astype(np.float32))

    def index(vectors: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.float32]:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit if whitening is None else whitening.apply(unit)

    other, asked = index(described[:1]), index(described[1:])
    found = cosine_to(other[0], whitening)(model, images[1:])
    np.testing.assert_allclose(found.detach().numpy(), asked @ other[0], atol=1e-5)


def test_grad_cam_of_a_pooled_token_shows_what_the_patches_say() -> None:
    torch.manual_seed(0)
    spec = ModelSpec(BackboneSpec("test_vit"), SIDE, 0, pooling=ClsGemSettings())
    model, images = DescriptorModel(spec).eval(), make_images()
    channels = model.backbone.channels
    shown = grad_cam(model, images, lambda model, batch: model.features(batch)[:, :channels].sum(1))
    token = grad_cam(model, images, lambda model, batch: model.features(batch).sum(1))
    assert shown.shape == (2, SIDE, SIDE) and shown.max() > 0
    torch.testing.assert_close(token, shown)
