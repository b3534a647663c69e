"""The triplet loss against loops over all triplets, and the alarm for collapsed descriptors."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embed.losses import MinedTripletLoss, check_collapse, mean_cosine
from embed.settings import TrainSettings

MARGIN = 0.3


def unit_rows(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


def distances(rows: torch.Tensor) -> NDArray[np.float64]:
    xs = rows.numpy().astype(np.float64)
    return np.asarray(np.linalg.norm(xs[:, None] - xs[None], axis=2))


def mean_of_active(losses: list[float]) -> float:
    active = [loss for loss in losses if loss > 0]
    return sum(active) / len(active) if active else 0.0


def slow_triplet_loss(rows: torch.Tensor, labels: list[int], miner: str) -> float:
    d, losses = distances(rows), []
    for anchor in range(len(labels)):
        others = [j for j in range(len(labels)) if j != anchor]
        positives = [d[anchor, j] for j in others if labels[j] == labels[anchor]]
        negatives = [d[anchor, j] for j in others if labels[j] != labels[anchor]]
        if miner == "hard":
            if positives and negatives:
                losses.append(max(positives) - min(negatives) + MARGIN)
            continue
        for positive, negative in itertools.product(positives, negatives):
            if miner == "all" or positive < negative <= positive + MARGIN:
                losses.append(positive - negative + MARGIN)
    return mean_of_active(losses)


@pytest.mark.parametrize("miner", ["hard", "semihard", "all"])
@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_that_of_all_triplets_one_by_one(miner: str, seed: int) -> None:
    rows, labels = unit_rows(11, 3, seed), [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    loss = MinedTripletLoss(MARGIN, miner)(rows, torch.tensor(labels))
    assert loss.item() == pytest.approx(slow_triplet_loss(rows, labels, miner), abs=1e-5)


@pytest.mark.parametrize("miner", ["hard", "semihard", "all"])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_a_batch_without_triplets_costs_nothing(miner: str, labels: list[int]) -> None:
    rows = unit_rows(3, 4).requires_grad_()
    loss = MinedTripletLoss(MARGIN, miner)(rows, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0 and rows.grad is not None and not rows.grad.any()


def test_the_gradient_is_finite_where_descriptors_coincide() -> None:
    rows = unit_rows(1, 4).repeat(6, 1).requires_grad_()
    loss = MinedTripletLoss(MARGIN, "hard")(rows, torch.tensor([0, 0, 0, 1, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(MARGIN, abs=1e-3)
    assert rows.grad is not None and torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("count", [2, 3, 17])
def test_the_mean_cosine_is_that_of_all_pairs_one_by_one(count: int) -> None:
    rows = unit_rows(count, 5)
    pairs = [float(a @ b) for a, b in itertools.combinations(rows, 2)]
    assert mean_cosine(rows) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_the_mean_cosine_at_its_ends() -> None:
    assert mean_cosine(unit_rows(1, 4).repeat(5, 1)) == pytest.approx(1)
    assert mean_cosine(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-1)
    assert math.isnan(mean_cosine(unit_rows(1, 4)))


SETTINGS = TrainSettings(margin=0.2, learning_rate=0.01, head_weight=0.5)


def alike(spread: float) -> torch.Tensor:
    rows = unit_rows(1, 8).repeat(16, 1) + spread * unit_rows(16, 8, seed=1)
    return torch.nn.functional.normalize(rows, dim=1)


def test_spread_descriptors_raise_no_alarm() -> None:
    assert check_collapse(unit_rows(16, 8), 0.2, SETTINGS) == ""


def test_equal_descriptors_name_the_figures_and_what_to_change() -> None:
    said = check_collapse(alike(0.01), 0.2, SETTINGS)
    for part in (
        *("mean cosine 1.000", "triplet loss 0.200 at margin 0.2", "freeze_batch_norm = true"),
        *('miner = "semihard"', "lower learning_rate (now 0.01)", "head_weight (now 0.5)"),
    ):
        assert part in said


def test_what_is_set_already_is_not_advised() -> None:
    changed = SETTINGS.model_copy(update={"freeze_batch_norm": True, "miner": "semihard"})
    said = check_collapse(alike(0.01), 0.2, changed)
    assert said and "freeze_batch_norm" not in said and "miner" not in said


def test_fairly_alike_descriptors_are_an_alarm_only_while_the_loss_is_stuck_at_the_margin() -> None:
    rows = alike(0.25)
    assert 0.9 < mean_cosine(rows) < 0.98
    assert check_collapse(rows, 0.201, SETTINGS)
    assert not check_collapse(rows, 0.15, SETTINGS)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_an_alarm(bad: float) -> None:
    rows = unit_rows(4, 8)
    assert "not finite; lower learning_rate (now 0.01)" in check_collapse(rows, bad, SETTINGS)
    rows[2, 3] = bad
    assert "set precision to float32" in check_collapse(rows, 0.1, SETTINGS)
