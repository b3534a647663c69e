"""The focal loss against numpy in double precision, and where it would lose its digits."""

import numpy as np
import pytest
import torch

from embed.head_losses import focal_loss, head_loss
from embed.train_settings import TrainSettings

LABELS = torch.tensor([0, 2, 1, 2, 2])


def logits(seed: int, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))


def slow_focal_loss(values: torch.Tensor, gamma: float) -> float:
    losses = []
    for row, label in zip(values.double().numpy(), LABELS.tolist(), strict=True):
        p = np.exp(row)[label] / np.exp(row).sum()
        losses.append(-((1 - p) ** gamma) * np.log(p))
    return float(np.mean(losses))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_the_formula(gamma: float, seed: int) -> None:
    loss = focal_loss(logits(seed), LABELS, gamma).item()
    assert loss == pytest.approx(slow_focal_loss(logits(seed), gamma), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_gradient_is_that_of_differences(gamma: float) -> None:
    values = logits(0).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: focal_loss(rows, LABELS, gamma), (values,))


def test_gamma_zero_is_the_cross_entropy_with_its_gradient() -> None:
    ours, known = logits(1).requires_grad_(), logits(1).requires_grad_()
    loss = focal_loss(ours, LABELS, 0.0)
    expected = torch.nn.functional.cross_entropy(known, LABELS)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, ours), torch.autograd.grad(expected, known)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("size", [15.0, 100.0, 1e4])
@pytest.mark.parametrize("correct", [True, False])
def test_loss_and_gradient_are_finite_however_sure_the_head_is(
    gamma: float, size: float, correct: bool
) -> None:
    right = torch.nn.functional.one_hot(LABELS, 3).float()
    values = (size * (2 * right - 1) * (1 if correct else -1)).requires_grad_()
    loss = focal_loss(values, LABELS, gamma)
    (gradient,) = torch.autograd.grad(loss, values)
    assert torch.isfinite(gradient).all()
    # Wrong by 2 * size, and two classes share what the right one lacks.
    expected = 0.0 if correct else 2 * size + np.log(2)
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_single_class_costs_nothing(gamma: float) -> None:
    values = torch.tensor([[3.0], [-2.0]]).requires_grad_()
    loss = focal_loss(values, torch.tensor([0, 0]), gamma)
    (gradient,) = torch.autograd.grad(loss, values)
    assert loss.item() == 0 and not gradient.any()


def test_the_settings_choose_the_loss() -> None:
    plain = head_loss(logits(2), LABELS, TrainSettings())
    assert torch.equal(plain, torch.nn.functional.cross_entropy(logits(2), LABELS))
    settings = TrainSettings(head_loss="focal", focal_gamma=0.5)
    assert torch.equal(head_loss(logits(2), LABELS, settings), focal_loss(logits(2), LABELS, 0.5))


@pytest.mark.parametrize("kind", ["cross-entropy", "focal"])
def test_a_label_too_few_is_an_error(kind: str) -> None:
    settings = TrainSettings.model_validate({"head_loss": kind})
    with pytest.raises(ValueError, match="batch_size"):
        head_loss(logits(0), LABELS[:-1], settings)
