"""Poolings against slow numpy, against each other, and at the ends of their settings."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from embed.pooling import (
    ClsGeM,
    GeM,
    Pooling,
    build_pooling,
    flatten_grid,
    gem,
    mac,
    rmac,
    rmac_regions,
    spoc,
    superglobal,
)
from embed.train_settings import TrainSettings

Map = NDArray[np.float64]  # [B, C, H, W]
KINDS = ["gem", "spoc", "mac", "rmac", "flatten", "bilinear", "superglobal"]


def feature_map(*shape: int, seed: int = 0) -> torch.Tensor:
    """Draw values of both signs, as before a last ReLU."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(kind: str, channels: int, **options: float) -> Pooling:
    """Build a pooling; bilinear_dim is for that kind alone."""
    options = {key: n for key, n in options.items() if key != "bilinear_dim" or kind == "bilinear"}
    train = TrainSettings.model_validate({"pooling": {"kind": kind, **options}})
    return build_pooling(train.pooling, channels)


def slow_gem(values: Map, p: float) -> Map:
    return np.asarray((np.clip(values, 1e-6, None) ** p).mean(axis=(2, 3)) ** (1 / p))


def paper_regions(height: int, width: int, levels: int) -> Iterator[tuple[int, int, int]]:
    """Yield (side, top, left), as the authors' Matlab code does but for its centres."""
    short, steps = min(height, width), np.arange(2, 8)
    strides = (max(height, width) - short) / (steps - 1)
    index = int(np.argmin(np.abs((short**2 - short * strides) / short**2 - 0.4))) + 1
    for level in range(1, levels + 1):
        side = int(np.floor(2 * short / (level + 1)))
        rows = level + index if height > width else level
        columns = level + index if width > height else level
        # The small number makes up for the division where the start is a whole number.
        for top in np.floor(np.linspace(0, height - side, rows) + 1e-9).astype(int):
            for left in np.floor(np.linspace(0, width - side, columns) + 1e-9).astype(int):
                yield side, int(top), int(left)


def slow_rmac(values: Map, levels: int) -> Map:
    pooled = np.zeros(values.shape[:2])
    for side, top, left in paper_regions(values.shape[2], values.shape[3], levels):
        region = values[:, :, top : top + side, left : left + side].max(axis=(2, 3))
        pooled += region / np.linalg.norm(region, axis=1, keepdims=True)
    return pooled


def slow_flatten(values: Map, grid: int) -> Map:
    """Average cell by cell: from the floor of its start to the ceiling of its end."""
    height, width = values.shape[2:]
    columns = []
    for channel in range(values.shape[1]):
        for row in range(grid):
            for column in range(grid):
                cell = values[
                    :,
                    channel,
                    row * height // grid : math.ceil((row + 1) * height / grid),
                    column * width // grid : math.ceil((column + 1) * width / grid),
                ]
                columns.append(cell.mean(axis=(1, 2)))
    return np.stack(columns, axis=1)


def slow_superglobal(
    values: Map, p: float, region: int, region_p: float, region_share: float, least: float
) -> Map:
    """Go from position to position."""
    raised = np.maximum(values, least)
    height, width = values.shape[2:]
    reach, mixed = region // 2, np.empty_like(raised)
    for row in range(height):
        for column in range(width):
            near = raised[
                :,
                :,
                max(0, row - reach) : row + reach + 1,
                max(0, column - reach) : column + reach + 1,
            ]
            mean = (near**region_p).mean(axis=(2, 3)) ** (1 / region_p)
            here = raised[:, :, row, column]
            mixed[:, :, row, column] = (1 - region_share) * here + region_share * mean
    return np.asarray((mixed**p).mean(axis=(2, 3)) ** (1 / p))


SHAPES = (st.integers(1, 3), st.integers(1, 5), st.integers(1, 7), st.integers(1, 7))


@settings(max_examples=30)
@given(*SHAPES, st.floats(1.0, 8.0))
def test_gem_equals_numpy_for_any_spatial_size(
    batch: int, channels: int, height: int, width: int, p: float
) -> None:
    features = feature_map(batch, channels, height, width, seed=height * 8 + width)
    expected = slow_gem(features.double().numpy(), p)
    np.testing.assert_allclose(gem(features, p).numpy(), expected, rtol=2e-4, atol=1e-6)


@settings(max_examples=30)
@given(*SHAPES, st.integers(1, 9))
def test_mean_maximum_and_grid_equal_numpy_for_any_spatial_size(
    batch: int, channels: int, height: int, width: int, grid: int
) -> None:
    features = feature_map(batch, channels, height, width, seed=height * 8 + width)
    values = features.double().numpy()
    for pooled, expected in [
        (spoc(features), values.mean(axis=(2, 3))),
        (mac(features), values.max(axis=(2, 3))),
        (flatten_grid(features, grid), slow_flatten(values, grid)),
    ]:
        np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-5, atol=1e-6)


NUMBERS = st.fixed_dictionaries(
    {
        "p": st.floats(1.0, 8.0),
        "region": st.sampled_from([1, 3, 5, 9]),
        "region_p": st.floats(1.0, 8.0),
        "region_share": st.floats(0.0, 1.0),
        "least": st.floats(0.001, 0.5),
    }
)


@settings(max_examples=30)
@given(*SHAPES, NUMBERS)
def test_superglobal_equals_numpy_for_any_spatial_size(
    batch: int, channels: int, height: int, width: int, numbers: dict[str, Any]
) -> None:
    features = feature_map(batch, channels, height, width, seed=height * 8 + width)
    expected = slow_superglobal(features.double().numpy(), **numbers)
    found = superglobal(features, **numbers).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)


def test_superglobal_is_the_value_of_its_formula() -> None:
    features = torch.tensor([[[[0.0, 0.2, 0.5], [1.0, 0.1, 0.3]]]])
    # With p 4.6, region 3, region_p 2.5, region_share .5 and least .014, by hand:
    # v = max(map, .014); r = (mean of v^2.5 over the 3 x 3 around)^.4; mean((v + r) / 2)^4.6)^1/4.6
    assert superglobal(features, region=3).item() == pytest.approx(0.5483230039, rel=1e-5)


def test_superglobal_without_regions_is_gem_of_the_raised_map() -> None:
    features = feature_map(2, 3, 4, 5)
    raised = gem(features.clamp(min=0.1), 4.6)
    torch.testing.assert_close(superglobal(features, region=1, least=0.1), raised)
    torch.testing.assert_close(superglobal(features, region_share=0.0, least=0.1), raised)
    mean = superglobal(features, p=1.0, region_share=0.0, least=0.1)
    torch.testing.assert_close(mean, spoc(features.clamp(min=0.1)))


def test_superglobal_of_one_value_everywhere_is_that_value() -> None:
    features = torch.tensor([0.3, 2.0])[None, :, None, None].expand(1, 2, 4, 6)
    torch.testing.assert_close(superglobal(features), torch.tensor([[0.3, 2.0]]))


def test_a_map_may_be_mirrored_or_turned_but_its_regions_tell_positions_apart() -> None:
    features = feature_map(2, 3, 6, 7)
    pooled = superglobal(features)
    torch.testing.assert_close(superglobal(features.flip(3)), pooled)
    torch.testing.assert_close(superglobal(features.transpose(2, 3)), pooled)
    places = torch.randperm(42, generator=torch.Generator().manual_seed(0))
    moved = features.flatten(2)[:, :, places].reshape(features.shape)
    assert not torch.allclose(superglobal(moved), pooled, rtol=1e-3)
    torch.testing.assert_close(superglobal(moved, region=1), superglobal(features, region=1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": 4},
        {"region": 0},
        {"least": 0.0},
        {"p": 0.5},
        {"region_share": 1.5},
        {"levels": 2},
    ],
)
def test_senseless_numbers_of_superglobal_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        build("superglobal", 3, **wrong)


@pytest.mark.parametrize("shape", [(7, 7), (8, 8), (10, 14), (16, 12), (9, 30), (21, 20)])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_rmac_equals_the_papers_regions_in_numpy(shape: tuple[int, int], levels: int) -> None:
    features = feature_map(2, 5, *shape)
    expected = slow_rmac(features.double().numpy(), levels)
    np.testing.assert_allclose(rmac(features, levels).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_square_map_has_1_and_4_and_9_regions() -> None:
    counts = [len(level.tops) * len(level.lefts) for level in rmac_regions(7, 7, 3)]
    assert counts == [1, 4, 9]


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8))
def test_regions_lie_on_the_map_once_and_the_first_level_covers_it(
    height: int, width: int, levels: int
) -> None:
    regions = rmac_regions(height, width, levels)
    assert len(regions) == levels
    for level in regions:
        for starts, length in [(level.tops, height), (level.lefts, width)]:
            assert starts == sorted(set(starts))
            assert starts[0] == 0 and starts[-1] + level.side == length
    first = regions[0]
    assert first.side == min(height, width)
    for starts, length in [(first.tops, height), (first.lefts, width)]:
        assert {s + i for s in starts for i in range(first.side)} == set(range(length))


def test_turning_a_map_on_its_side_changes_no_rmac() -> None:
    features = feature_map(2, 5, 6, 11)
    torch.testing.assert_close(rmac(features.transpose(2, 3)), rmac(features))


def test_the_strength_of_a_map_changes_no_rmac() -> None:
    features = feature_map(2, 5, 7, 7)
    torch.testing.assert_close(rmac(100 * features), rmac(features))


def test_exponent_1_is_the_mean() -> None:
    features = feature_map(2, 3, 4, 5).abs() + 0.1
    torch.testing.assert_close(gem(features, 1.0), spoc(features))


@settings(max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), st.floats(1.0, 30.0))
def test_a_large_exponent_approaches_the_maximum_from_below(
    height: int, width: int, p: float
) -> None:
    generator = torch.Generator().manual_seed(height * 8 + width)
    # A power of 30 of much smaller or larger values is beyond float32.
    features = 0.1 + 0.9 * torch.rand(2, 3, height, width, generator=generator)
    largest = mac(features)
    # The mean of n powers is at least 1 / n of the largest: the bound rises to 1 with p.
    bound = (height * width) ** (-1 / p)
    pooled = gem(features, p)
    assert (pooled <= largest * (1 + 1e-4)).all()
    assert (pooled >= largest * bound * (1 - 1e-4)).all()


def test_one_position_is_returned_as_it_is() -> None:
    features = feature_map(2, 3, 1, 1).abs() + 0.1
    vectors = features[:, :, 0, 0]
    for pooled in (gem(features, 3.0), spoc(features), mac(features), flatten_grid(features, 1)):
        torch.testing.assert_close(pooled, vectors)
    directions = torch.nn.functional.normalize(vectors, dim=1)
    torch.testing.assert_close(rmac(features, 3), 3 * directions)  # one region a level
    repeated = flatten_grid(features, 2).reshape(2, 3, 4)
    torch.testing.assert_close(repeated, vectors[:, :, None].expand(2, 3, 4))


@pytest.mark.parametrize("kind", ["gem", "spoc", "mac"])
def test_positions_may_be_permuted(kind: str) -> None:
    features = feature_map(2, 3, 4, 5)
    pool = build(kind, 3)
    torch.testing.assert_close(pool(features.flip(2, 3)), pool(features))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (7, 7)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_every_kind_takes_any_batch_and_map(kind: str, shape: tuple[int, int], batch: int) -> None:
    pool = build(kind, 6, bilinear_dim=4)
    features = feature_map(batch, 6, *shape)
    pooled = pool(features)
    assert pooled.shape == (batch, pool.out_features)
    assert torch.isfinite(pooled).all()
    # An image's vector does not depend on the others of its batch.
    if batch == 3:
        torch.testing.assert_close(pooled[1:2], pool(features[1:2]))


@pytest.mark.parametrize(
    ("kind", "options", "length"),
    [
        ("gem", {"p": 2.0}, 6),
        ("spoc", {}, 6),
        ("mac", {}, 6),
        ("rmac", {"levels": 8}, 6),
        ("flatten", {}, 96),
        ("flatten", {"grid": 3}, 54),
        ("superglobal", {}, 6),
        ("bilinear", {}, 8192),
        ("bilinear", {"bilinear_dim": 33}, 33),
    ],
)
def test_the_length_is_that_of_the_settings(
    kind: str, options: dict[str, float], length: int
) -> None:
    pool = build(kind, 6, **options)
    assert pool.out_features == length
    assert pool(feature_map(2, 6, 5, 5)).shape == (2, length)


def test_settings_reach_the_pooling() -> None:
    features = feature_map(2, 6, 7, 7)
    torch.testing.assert_close(build("gem", 6, p=2.0)(features), gem(features, 2.0))
    torch.testing.assert_close(build("rmac", 6, levels=2)(features), rmac(features, 2))
    numbers: dict[str, Any] = {"p": 2.0, "region": 3, "region_p": 4.0, "region_share": 0.2}
    pool = build("superglobal", 6, **numbers, least=0.3)
    torch.testing.assert_close(pool(features), superglobal(features, **numbers, least=0.3))
    torch.testing.assert_close(build("flatten", 6, grid=2)(features), flatten_grid(features, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_only_gem_has_something_to_train(kind: str) -> None:
    names = [name for name, _ in build(kind, 6).named_parameters()]
    assert names == (["p"] if kind == "gem" else [])  # saved models have it by this name


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_map_has_a_finite_gradient(kind: str) -> None:
    features = torch.zeros(1, 6, 3, 3, requires_grad=True)
    pool = build(kind, 6, bilinear_dim=32)
    pool(features).sum().backward()
    gradients = [features.grad, *(parameter.grad for parameter in pool.parameters())]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in gradients)


def test_the_exponent_and_the_features_get_the_gradient_of_finite_differences() -> None:
    features = (feature_map(1, 2, 3, 3).abs() + 0.1).requires_grad_()
    pool = GeM(2, 2.5)
    pool(features).sum().backward()
    assert pool.p.grad is not None and features.grad is not None
    with torch.no_grad():
        step = 1e-2
        slope = (gem(features, 2.5 + step).sum() - gem(features, 2.5 - step).sum()) / (2 * step)
    assert pool.p.grad.item() == pytest.approx(slope.item(), rel=1e-2)
    assert torch.isfinite(features.grad).all()


def test_the_trained_exponent_never_counts_as_less_than_1() -> None:
    features = feature_map(1, 2, 3, 3)
    torch.testing.assert_close(GeM(2, 0.2)(features), gem(features, 1.0))


@pytest.mark.parametrize("kind", ["gem", "spoc", "mac", "rmac", "flatten", "superglobal"])
def test_bfloat16_keeps_its_type_and_loses_only_its_own_rounding(kind: str) -> None:
    features = feature_map(4, 8, 7, 7).abs().bfloat16()
    pool = build(kind, 8)
    pooled = pool(features)
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(pooled.float(), pool(features.float()), rtol=2**-8, atol=0)


def test_token_and_patches_lie_side_by_side_and_a_cosine_is_the_mean_of_both() -> None:
    maps, tokens = feature_map(5, 6, 3, 4), feature_map(5, 6, seed=1)
    described = ClsGeM(6, p=3.0, token_share=0.3)(maps, 7 * tokens).detach()
    patches = torch.from_numpy(slow_gem(maps.double().numpy(), 3.0)).float()
    expected = torch.zeros(5, 5)
    for share, part in ((0.7, patches), (0.3, tokens)):
        unit = part / part.norm(dim=1, keepdim=True)
        expected += share * unit @ unit.T
    torch.testing.assert_close(described @ described.T, expected)
    torch.testing.assert_close(described.norm(dim=1), torch.ones(5))


def test_token_and_patches_are_pooled_in_float32_whatever_their_precision() -> None:
    maps, tokens = feature_map(2, 4, 3, 3).bfloat16(), feature_map(2, 4).bfloat16()
    assert ClsGeM(4)(maps, tokens).dtype == torch.float32
