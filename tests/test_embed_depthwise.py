"""Depthwise convolutions in bfloat16: which are computed in float32, and with what result."""

import pytest
import torch
from torch import Tensor, nn

from embed.depthwise import Float32Depthwise


def compute(layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a layer makes of images in bfloat16, and the gradient of its weight."""
    with torch.autocast("cpu", torch.bfloat16), Float32Depthwise():
        found = layer(images)
    found.float().square().sum().backward()
    gradient = layer.weight.grad
    assert isinstance(gradient, Tensor)
    return found, gradient


def depthwise(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(8, 8, kernel, stride, padding, dilation, groups=8)


@pytest.mark.parametrize(
    "layer",
    [depthwise(3, stride=2, padding=1), depthwise(5, padding=2), depthwise(3, dilation=2)],
    ids=["stride", "kernel", "dilation"],
)
def test_a_slow_convolution_is_that_of_float32_rounded_once(layer: nn.Conv2d) -> None:
    images = torch.randn(2, 8, 13, 13, generator=torch.Generator().manual_seed(1))
    found, gradient = compute(layer, images)
    expected = layer(images)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())
    (exact,) = torch.autograd.grad(expected.bfloat16().float().square().sum(), layer.weight)
    assert torch.allclose(gradient, exact, rtol=1e-2)


@pytest.mark.parametrize(
    "layer",
    [depthwise(3, padding=1), nn.Conv2d(8, 8, 3, stride=2), nn.Conv2d(8, 8, 3, 2, groups=4)],
    ids=["3 x 3", "whole", "grouped"],
)
def test_a_fast_convolution_stays_in_bfloat16(layer: nn.Conv2d) -> None:
    images = torch.randn(2, 8, 13, 13)
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(images)
    assert torch.equal(compute(layer, images)[0], expected)


@pytest.mark.parametrize("autocast", [False, True])
def test_nothing_changes_without_autocast_or_without_gradients(autocast: bool) -> None:
    layer, images = depthwise(3, stride=2), torch.randn(2, 8, 13, 13)
    with torch.set_grad_enabled(not autocast), torch.autocast("cpu", enabled=autocast):
        expected = layer(images)
        with Float32Depthwise():
            assert torch.equal(layer(images), expected)


def test_frozen_layers_stay_in_bfloat16() -> None:
    layer, images = depthwise(3, stride=2).requires_grad_(False), torch.randn(2, 8, 13, 13)
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(images)
        with Float32Depthwise():
            assert torch.equal(layer(images), expected)
