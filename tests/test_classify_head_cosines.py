"""Lean cosines against autograd through the normalised directions."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from classify_head.cosines import direction_cosines


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gradients(cosines: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 2, cosines.numel(), dtype=torch.float64).view_as(cosines)
    return torch.autograd.grad((cosines * weights).sum(), inputs)


def test_values_and_gradients_are_those_of_normalised_directions() -> None:
    features, directions = 3 * random(4, 5).requires_grad_(), random(7, 5).requires_grad_()
    ours = direction_cosines(features, directions)
    theirs = normalize(features, dim=1) @ normalize(directions, dim=1).T
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(
        gradients(ours, features, directions), gradients(theirs, features, directions), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_the_gradient_is_that_of_finite_differences() -> None:
    features, directions = random(3, 4).requires_grad_(), random(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(direction_cosines, (features, directions))


def test_columns_as_directions_get_a_gradient_in_their_own_layout() -> None:
    columns = random(5, 7).requires_grad_()
    direction_cosines(random(4, 5), columns.T).square().sum().backward()  # type: ignore[no-untyped-call]
    rows = columns.detach().T.contiguous().requires_grad_()
    direction_cosines(random(4, 5), rows).square().sum().backward()  # type: ignore[no-untyped-call]
    assert columns.grad is not None and rows.grad is not None
    assert columns.grad.stride() == columns.stride()
    torch.testing.assert_close(columns.grad, rows.grad.T)


def test_frozen_directions_get_no_gradient_and_features_still_do() -> None:
    features, directions = random(4, 5).requires_grad_(), random(7, 5)
    direction_cosines(features, directions).sum().backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None and directions.grad is None


def test_directions_and_features_of_zeros_are_no_nan() -> None:
    features, directions = torch.zeros(1, 3, requires_grad=True), torch.zeros(2, 3)
    directions[1, 0] = 1
    directions.requires_grad_()
    cosines = direction_cosines(features, directions)
    cosines.sum().backward()  # type: ignore[no-untyped-call]
    assert cosines.tolist() == [[0, 0]]
    assert features.grad is not None and features.grad.isfinite().all()
    assert directions.grad is not None and directions.grad.isfinite().all()


def test_no_images_have_no_cosines() -> None:
    assert direction_cosines(torch.zeros(0, 3), torch.ones(2, 3)).shape == (0, 2)
