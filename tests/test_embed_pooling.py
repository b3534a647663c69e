"""GeM against numpy, and at the ends of its exponent."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.pooling import GeM, gem


def feature_map(*shape: int, seed: int = 0) -> torch.Tensor:
    """Draw values of both signs, as before a last ReLU."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 7),
    st.integers(1, 7),
    st.floats(1.0, 8.0),
)
def test_gem_equals_numpy_for_any_spatial_size(
    batch: int, channels: int, height: int, width: int, p: float
) -> None:
    features = feature_map(batch, channels, height, width, seed=height * 8 + width)
    values = np.clip(features.numpy().astype(np.float64), 1e-6, None)
    expected = (values**p).mean(axis=(2, 3)) ** (1 / p)
    np.testing.assert_allclose(gem(features, p).numpy(), expected, rtol=2e-4, atol=1e-6)


def test_exponent_1_is_the_mean() -> None:
    features = feature_map(2, 3, 4, 5).abs() + 0.1
    torch.testing.assert_close(gem(features, 1.0), features.mean(dim=(2, 3)))


def test_a_large_exponent_approaches_the_maximum_from_below() -> None:
    features = feature_map(2, 3, 4, 5).abs() + 0.1
    features /= features.max()
    largest = features.amax(dim=(2, 3))
    gaps = [(largest - gem(features, p)).max().item() for p in (2.0, 8.0, 20.0)]
    assert gaps[0] > gaps[1] > gaps[2] > -1e-6
    # The mean of 20 values is at least 1/20 of the largest: 20 ** (-1 / 20) = 0.86.
    assert (gem(features, 20.0) >= 0.86 * largest).all()


def test_one_position_is_returned_as_it_is() -> None:
    features = feature_map(2, 3, 1, 1).abs() + 0.1
    torch.testing.assert_close(gem(features, 3.0), features[:, :, 0, 0])


def test_positions_may_be_permuted() -> None:
    features = feature_map(2, 3, 4, 5)
    torch.testing.assert_close(gem(features.flip(2, 3), 3.0), gem(features, 3.0))


def test_the_exponent_and_the_features_get_the_gradient_of_finite_differences() -> None:
    features = (feature_map(1, 2, 3, 3).abs() + 0.1).requires_grad_()
    pool = GeM(2.5)
    pool(features).sum().backward()
    assert pool.p.grad is not None and features.grad is not None
    with torch.no_grad():
        step = 1e-2
        slope = (gem(features, 2.5 + step).sum() - gem(features, 2.5 - step).sum()) / (2 * step)
    assert pool.p.grad.item() == pytest.approx(slope.item(), rel=1e-2)
    assert torch.isfinite(features.grad).all()


def test_a_dead_channel_has_a_finite_gradient() -> None:
    features = torch.zeros(1, 2, 3, 3, requires_grad=True)
    pool = GeM()
    pool(features).sum().backward()
    assert pool.p.grad is not None and features.grad is not None
    assert torch.isfinite(pool.p.grad) and torch.isfinite(features.grad).all()


def test_the_trained_exponent_never_counts_as_less_than_1() -> None:
    features = feature_map(1, 2, 3, 3)
    torch.testing.assert_close(GeM(0.2)(features), gem(features, 1.0))


def test_bfloat16_keeps_its_type_and_loses_only_its_own_rounding() -> None:
    features = feature_map(4, 8, 7, 7).abs().bfloat16()
    pooled = gem(features, 3.0)
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(pooled.float(), gem(features.float(), 3.0), rtol=2**-8, atol=0)
