"""The Walsh-Hadamard transform against scipy's matrix, and the head that stands on it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import hadamard
from torch import Tensor

from classify_head.hadamard import HadamardHead, next_power_of_two, pick_columns, walsh_hadamard


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def directions(dim: int, classes: int) -> NDArray[np.float64]:
    """Rows of scipy's matrix that the classes stand for [C, dim], 1 and -1."""
    order = next_power_of_two(max(dim, classes + 1))
    rows = hadamard(order)[1 : classes + 1]
    picked: NDArray[np.float64] = rows[:, pick_columns(dim, order).numpy()].astype(np.float64)
    return picked


@pytest.mark.parametrize("order", [2**bits for bits in range(12)])
def test_the_transform_is_the_product_with_the_matrix(order: int) -> None:
    rows = random(3, order)
    expected = rows.numpy() @ hadamard(order)
    np.testing.assert_allclose(walsh_hadamard(rows).numpy(), expected, atol=1e-10)


def test_twice_the_transform_is_n_times_the_rows_at_the_order_of_gldv2() -> None:
    rows = random(1, next_power_of_two(203_094))
    torch.testing.assert_close(walsh_hadamard(walsh_hadamard(rows)), rows.shape[1] * rows)


@pytest.mark.parametrize("order", [1, 2, 8, 128])
def test_the_gradient_is_that_of_finite_differences(order: int) -> None:
    rows = random(2, order).requires_grad_()
    assert torch.autograd.gradcheck(walsh_hadamard, (rows,), fast_mode=True)
    assert torch.autograd.gradgradcheck(walsh_hadamard, (rows,), fast_mode=True)


@pytest.mark.parametrize("shape", [(2, 3), (2, 0), (4,)])
def test_rows_of_no_power_of_two_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pad them with zeros"):
        walsh_hadamard(torch.zeros(shape))


@given(dim=st.integers(1, 40), classes=st.integers(1, 200))
def test_logits_are_those_of_the_whole_matrix(dim: int, classes: int) -> None:
    head = HadamardHead(dim, classes, scale=5.0)
    with torch.no_grad():
        head.bias.copy_(torch.linspace(-1, 1, classes))
    features = 3 * random(2, dim).float()
    unit = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    cosines = unit @ directions(dim, classes).T / np.sqrt(dim)
    expected = 5 * cosines + head.bias.detach().numpy()
    np.testing.assert_allclose(head(features).detach().numpy(), expected, atol=1e-4)


def test_as_many_features_as_columns_are_the_columns() -> None:
    assert pick_columns(2048, 2048).tolist() == list(range(2048))


@pytest.mark.parametrize(("dim", "classes"), [(32, 32), (32, 500), (40, 50), (50, 300), (80, 127)])
def test_all_classes_have_directions_of_their_own(dim: int, classes: int) -> None:
    rows = directions(dim, classes)
    cosines = (rows @ rows.T / dim)[~np.eye(classes, dtype=np.bool_)]
    assert np.abs(cosines).max() < 0.9
    assert np.sqrt(np.mean(cosines**2)) < 1.05 * dim**-0.5


@given(dim=st.integers(64, 200), classes=st.integers(2, 200))
def test_no_class_is_ahead_of_the_others_for_features_after_a_relu(dim: int, classes: int) -> None:
    logits = HadamardHead(dim, classes, scale=1.0)(torch.ones(1, dim))
    assert float(logits.detach().abs().max()) < 0.5  # 1 for the row of ones


def test_the_head_of_the_challenge_has_14952_parameters() -> None:
    head = HadamardHead(2048, 14951)
    assert sum(parameter.numel() for parameter in head.parameters()) == 14952


def test_scale_bias_and_features_get_the_gradients_of_the_dense_product() -> None:
    head, features = HadamardHead(6, 20), random(4, 6).float().requires_grad_()
    labels = torch.tensor([0, 19, 7, 7])
    inputs = (features, head.scale, head.bias)
    ours = torch.autograd.grad(torch.nn.functional.cross_entropy(head(features), labels), inputs)
    matrix = torch.from_numpy(directions(6, 20)).float() / 6**0.5
    dense = head.scale * torch.nn.functional.normalize(features, dim=1) @ matrix.T + head.bias
    theirs = torch.autograd.grad(torch.nn.functional.cross_entropy(dense, labels), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
