"""Compact bilinear pooling against the products themselves, and against scikit-learn's sketch."""

import copy
import itertools

import numpy as np
import pytest
import torch
from sklearn.kernel_approximation import PolynomialCountSketch

from embed.bilinear import CompactBilinear, signed_sqrt, sketch_products


def feature_map(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sketch(pool: CompactBilinear, features: torch.Tensor) -> torch.Tensor:
    return sketch_products(features, pool.places, pool.signs, pool.out_features)


def products(features: torch.Tensor) -> torch.Tensor:
    """Sum the outer product of each location with itself: [B, C, C]."""
    rows = features.double().flatten(2)
    return rows @ rows.transpose(1, 2)


@pytest.mark.parametrize("dim", [2, 7, 64, 65])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
def test_each_product_lands_on_the_sum_of_its_places(dim: int, shape: tuple[int, int]) -> None:
    pool = CompactBilinear(6, dim)
    features = feature_map(2, 6, *shape)
    expected = np.zeros((2, dim))
    for image, outer in enumerate(products(features)):
        for i in range(6):
            for j in range(6):
                place = int(pool.places[0, i] + pool.places[1, j]) % dim
                expected[image, place] += float(pool.signs[0, i] * pool.signs[1, j] * outer[i, j])
    np.testing.assert_allclose(sketch(pool, features).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_location_gets_the_polynomial_count_sketch_of_scikit_learn() -> None:
    pool = CompactBilinear(12, 40)
    features = feature_map(1, 12, 4, 3)
    rows = features.flatten(2)[0].T.double().numpy()
    oracle = PolynomialCountSketch(degree=2, n_components=40).fit(rows)
    oracle.indexHash_, oracle.bitHash_ = pool.places.numpy(), pool.signs.numpy()
    expected = oracle.transform(rows).sum(axis=0)
    np.testing.assert_allclose(sketch(pool, features)[0].numpy(), expected, rtol=1e-4, atol=1e-4)


def estimates(dim: int, seeds: int) -> tuple[torch.Tensor, float]:
    """Return inner products [seeds] of two maps' sketches, and that of all their products."""
    maps = feature_map(2, 16, 3, 3)
    first, second = products(maps)
    found = []
    for seed in range(seeds):
        one, other = sketch(CompactBilinear(16, dim, seed), maps)
        found.append(one @ other)
    return torch.stack(found).double(), float((first * second).sum())


@pytest.mark.parametrize("dim", [32, 512])
def test_inner_products_of_sketches_are_on_average_those_of_the_products(dim: int) -> None:
    found, exact = estimates(dim, seeds=400)
    error = float(found.std()) / 400**0.5
    assert abs(float(found.mean()) - exact) < 4 * error


def test_the_variance_of_the_estimate_falls_as_the_length_rises() -> None:
    spreads = [float(estimates(dim, seeds=400)[0].var()) for dim in (32, 128, 512)]
    # It is proportional to 1 / dim; the variance of 400 draws is known to some 10 to 20 %.
    for larger, smaller in itertools.pairwise(spreads):
        assert 2.5 < larger / smaller < 6.5


def test_the_root_keeps_the_sign_and_has_a_slope_at_0() -> None:
    values = torch.tensor([-4.0, -1e-3, 0.0, 1e-3, 9.0], requires_grad=True)
    roots = signed_sqrt(values)
    expected = np.sign(values.detach().numpy()) * np.sqrt(np.abs(values.detach().numpy()))
    np.testing.assert_allclose(roots.detach().numpy(), expected, rtol=1e-4)
    roots.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None and torch.isfinite(values.grad).all()


def test_the_gradient_is_that_of_finite_differences() -> None:
    pool = CompactBilinear(4, 16)
    features = feature_map(1, 4, 2, 2).requires_grad_()
    sketch(pool, features)[0, 3].backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    with torch.no_grad():
        for row in range(2):
            step = torch.zeros_like(features)
            step[0, 1, row, 0] = 1e-2
            # A sketch is a sum of squares and products: the central difference is exact.
            difference = sketch(pool, features + step) - sketch(pool, features - step)
            slope = float(difference[0, 3]) / 2e-2
            assert float(features.grad[0, 1, row, 0]) == pytest.approx(slope, rel=1e-2, abs=1e-3)


def test_positions_may_be_permuted() -> None:
    pool, features = CompactBilinear(6, 64), feature_map(2, 6, 4, 5)
    expected = sketch(pool, features)
    # Before the root, which makes rounding of 1e-6 at an empty place one of 1e-3.
    torch.testing.assert_close(sketch(pool, features.flip(2, 3)), expected, rtol=1e-4, atol=1e-4)


def test_a_rebuilt_module_sketches_alike_and_another_seed_does_not() -> None:
    features = feature_map(2, 6, 3, 3)
    pool = CompactBilinear(6, 64)
    torch.manual_seed(1)  # the global generator has no say
    assert torch.equal(CompactBilinear(6, 64)(features), pool(features))
    assert not torch.equal(CompactBilinear(6, 64, seed=1)(features), pool(features))


def test_a_saved_sketch_wins_over_a_drawn_one() -> None:
    features = feature_map(2, 6, 3, 3)
    saved, drawn = CompactBilinear(6, 64, seed=1), CompactBilinear(6, 64)
    drawn.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert torch.equal(drawn(features), saved(features))


def test_the_drawn_numbers_stay_those_of_this_snippet() -> None:
    # pool = CompactBilinear(2048); print(pool.places[:, :4].tolist(), pool.signs[:, :4].tolist())
    pool = CompactBilinear(2048)
    assert pool.places[:, :4].tolist() == [[2732, 2607, 1653, 3264], [7000, 2321, 1988, 2360]]
    assert pool.signs[:, :4].tolist() == [[-1, 1, 1, 1], [-1, 1, -1, 1]]
    assert int(pool.places.min()) >= 0 and int(pool.places.max()) < 8192


def test_autocast_and_half_maps_are_sketched_in_float32() -> None:
    pool = CompactBilinear(8, 32)
    features = feature_map(2, 8, 3, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pool(features)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, pool(features.float()), rtol=0, atol=0)


def test_the_roots_are_brought_to_length_1() -> None:
    pool, features = CompactBilinear(8, 64), feature_map(2, 8, 3, 3)
    roots = signed_sqrt(sketch(pool, features))
    expected = roots / roots.square().sum(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(pool(features), expected)
    torch.testing.assert_close(pool(30 * features), expected, rtol=1e-3, atol=1e-3)


def test_an_empty_map_is_pooled_to_zeros_with_a_slope() -> None:
    features = torch.zeros(1, 8, 2, 2, requires_grad=True)
    pooled = CompactBilinear(8, 64)(features)
    assert not pooled.any()
    pooled.sum().backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sketches_as_the_cpu_does() -> None:
    pool, features = CompactBilinear(64, 1024), feature_map(2, 64, 7, 7)
    expected = sketch(pool, features)
    found = sketch(pool.cuda(), features.cuda()).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
