"""The metric losses against loops over all pairs and triplets, and the alarm for a collapse."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.distances import LpDistance

from embed.losses import (
    CrossBatchMemoryLoss,
    MinedTripletLoss,
    RowwiseDistanceWeightedMiner,
    build_metric_loss,
    check_collapse,
    mean_cosine,
)
from embed.train_settings import TrainSettings

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


LABELS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]


def build(metric_loss: str, dim: int = 3, **changes: object) -> torch.nn.Module:
    values = {"margin": MARGIN, "metric_loss": metric_loss, **changes}
    return build_metric_loss(TrainSettings.model_validate(values), dim)


def pairs_of(
    rows: torch.Tensor, labels: list[int], earlier: torch.Tensor, known: list[int]
) -> list[tuple[int, int, bool]]:
    """List (anchor, row of the last batch and those before it, same class), no row with itself."""
    own = len(earlier) - len(rows)
    return [
        (a, b, labels[a] == known[b])
        for a, b in itertools.product(range(len(rows)), range(len(earlier)))
        if b != own + a
    ]


def slow_contrastive(
    rows: torch.Tensor, labels: list[int], earlier: torch.Tensor, known: list[int]
) -> float:
    d = np.linalg.norm(rows.numpy()[:, None] - earlier.numpy()[None], axis=2)
    pairs = pairs_of(rows, labels, earlier, known)
    near = mean_of_active([d[a, b] for a, b, same in pairs if same])
    return near + mean_of_active([MARGIN - d[a, b] for a, b, same in pairs if not same])


def slow_multi_similarity(
    rows: torch.Tensor, labels: list[int], earlier: torch.Tensor, known: list[int]
) -> float:
    s = (rows @ earlier.T).double().numpy()
    pairs = pairs_of(rows, labels, earlier, known)
    total = 0.0
    for anchor in range(len(rows)):
        positives = [s[a, b] for a, b, same in pairs if a == anchor and same]
        negatives = [s[a, b] for a, b, same in pairs if a == anchor and not same]
        if not positives or not negatives:
            continue
        hard = [x for x in positives if x - 0.1 < max(negatives)]
        close = [x for x in negatives if x + 0.1 > min(positives)]
        total += math.log1p(sum(math.exp(-2 * (x - 0.5)) for x in hard)) / 2
        total += math.log1p(sum(math.exp(50 * (x - 0.5)) for x in close)) / 50
    return total / len(rows)


def slow_batch_hard(
    rows: torch.Tensor, labels: list[int], earlier: torch.Tensor, known: list[int]
) -> float:
    d = np.linalg.norm(rows.numpy()[:, None] - earlier.numpy()[None], axis=2)
    losses = []
    for anchor in range(len(rows)):
        mine = [
            (d[a, b], same) for a, b, same in pairs_of(rows, labels, earlier, known) if a == anchor
        ]
        positives, negatives = ([x for x, same in mine if same is kind] for kind in (True, False))
        if positives and negatives:
            losses.append(max(positives) - min(negatives) + MARGIN)
    return mean_of_active(losses)


SLOW = {
    "triplet": slow_batch_hard,
    "contrastive": slow_contrastive,
    "multi-similarity": slow_multi_similarity,
}


@pytest.mark.parametrize("metric_loss", SLOW)
@pytest.mark.parametrize("seed", range(4))
def test_every_loss_is_that_of_all_pairs_one_by_one(metric_loss: str, seed: int) -> None:
    rows = unit_rows(11, 3, seed)
    loss = build(metric_loss)(rows, torch.tensor(LABELS))
    expected = SLOW[metric_loss](rows, LABELS, rows, LABELS)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("metric_loss", SLOW)
def test_a_memory_compares_with_the_newest_descriptors_and_no_row_with_itself(
    metric_loss: str,
) -> None:
    loss = build(metric_loss, memory=16)
    seen = torch.zeros(0, 3)
    known: list[int] = []
    for batch, count in enumerate((5, 4, 6, 5, 4, 11)):  # wraps around at 16 twice
        rows, labels = unit_rows(count, 3, batch), [(batch + i) % 3 for i in range(count)]
        seen, known = torch.cat([seen, rows])[-16:], [*known, *labels][-16:]
        found = loss(rows, torch.tensor(labels)).item()
        assert found == pytest.approx(SLOW[metric_loss](rows, labels, seen, known), abs=1e-3)


@pytest.mark.parametrize("metric_loss", SLOW)
def test_equal_descriptors_have_a_finite_gradient_in_every_loss(metric_loss: str) -> None:
    for memory in (0, 12):
        rows = unit_rows(1, 4).repeat(6, 1).requires_grad_()
        loss = build(metric_loss, dim=4, memory=memory)(rows, torch.tensor([0, 0, 0, 1, 1, 1]))
        loss.backward()
        assert rows.grad is not None and torch.isfinite(rows.grad).all()


def draw(rows: torch.Tensor, labels: list[int], seed: int = 0) -> NDArray[np.int64]:
    torch.manual_seed(seed)
    miner = RowwiseDistanceWeightedMiner(distance=LpDistance())
    return np.stack([found.numpy() for found in miner(rows, torch.tensor(labels))], axis=1)


@pytest.mark.parametrize("dim", [3, 8, 256, 2048])
def test_every_anchor_draws_negatives_within_reach_however_long_descriptors_are(dim: int) -> None:
    labels = np.repeat(np.arange(16), 4)
    rows = torch.nn.functional.normalize(unit_rows(64, dim) + unit_rows(1, dim, 1), dim=1)
    rows[4] = torch.nn.functional.normalize(rows[0] + 0.1 * rows[4], dim=0)  # one near pair
    anchors, positives, negatives = draw(rows, labels.tolist()).T
    reach = (distances(rows) < 1.4) & (labels[:, None] != labels)
    assert set(anchors) == set(np.flatnonzero(reach.any(axis=1)))
    assert reach[anchors, negatives].all()
    assert (labels[anchors] == labels[positives]).all() and (anchors != positives).all()


def test_negatives_are_drawn_as_often_as_the_density_of_distances_says() -> None:
    # One anchor with many twins as positives, so many draws; four negatives at known distances.
    dim, count = 4, 1500
    d = np.array([0.3, 0.6, 0.9, 1.3, 1.5])  # the first counts as .5, the last is out of reach
    cosines = torch.from_numpy(1 - d**2 / 2).float()
    negatives = torch.zeros(5, dim)
    negatives[:, 0], negatives[:, 1] = cosines, (1 - cosines**2).sqrt()
    rows = torch.cat([torch.eye(dim)[:1].repeat(40, 1), negatives])
    labels = [0] * 40 + [1, 2, 3, 4, 5]
    drawn = draw(rows, labels)[:, 2] - 40
    assert len(drawn) == 40 * 40 > count
    near = np.maximum(d[:4], 0.5)
    weights = near ** (2 - dim) * (1 - near**2 / 4) ** ((3 - dim) / 2)  # 1 / q(d) of the paper
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    assert shares[4] == 0
    assert shares[:4] == pytest.approx(weights / weights.sum(), abs=0.04)


def test_draws_follow_the_seed() -> None:
    rows = unit_rows(11, 3)
    assert np.array_equal(draw(rows, LABELS, 1), draw(rows, LABELS, 1))
    assert not np.array_equal(draw(rows, LABELS, 1), draw(rows, LABELS, 2))


def test_the_distance_weighted_loss_is_the_mean_over_what_was_drawn() -> None:
    rows = unit_rows(11, 3)
    d = distances(rows)
    losses = [d[a, p] - d[a, n] + MARGIN for a, p, n in draw(rows, LABELS)]
    torch.manual_seed(0)
    loss = build("triplet", miner="distance-weighted")(rows, torch.tensor(LABELS))
    assert loss.item() == pytest.approx(mean_of_active(losses), abs=1e-5)


@pytest.mark.parametrize("labels", [[0] * 6, [0, 1, 2, 3, 4, 5]])
def test_the_distance_weighted_loss_of_a_batch_without_triplets_is_nothing(
    labels: list[int],
) -> None:
    loss = build("triplet", miner="distance-weighted")(unit_rows(6, 3), torch.tensor(labels))
    assert loss.item() == 0


@pytest.mark.parametrize("done", [1, 3, 5])
@pytest.mark.parametrize(
    ("metric_loss", "miner"),
    [
        *(("triplet", miner) for miner in ("hard", "semihard", "all", "distance-weighted")),
        *(("contrastive", "hard"), ("multi-similarity", "hard")),
    ],
)
def test_a_resumed_memory_is_the_same(
    metric_loss: str, miner: str, done: int, tmp_path: Path
) -> None:
    batches = [unit_rows(6, 3, seed) for seed in range(7)]
    labels = torch.tensor([0, 0, 1, 1, 2, 2])

    def losses(loss: torch.nn.Module, part: list[torch.Tensor]) -> list[float]:
        torch.manual_seed(len(part))
        return [loss(rows, labels).item() for rows in part]

    loss, resumed = (build(metric_loss, miner=miner, memory=20) for _ in range(2))
    losses(loss, batches[:done])
    torch.save(loss.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert losses(resumed, batches[done:]) == losses(loss, batches[done:])


def test_a_batch_that_does_not_fit_the_memory_says_what_to_raise() -> None:
    loss = build("triplet", memory=8)
    assert isinstance(loss, CrossBatchMemoryLoss)
    with pytest.raises(ValueError, match=r"\(9, 3\) .* memory of 8 of length 3; raise memory"):
        loss(unit_rows(9, 3), torch.zeros(9, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(4, 5\) descriptors"):
        loss(unit_rows(4, 5), torch.zeros(4, dtype=torch.int64))


def test_a_loss_without_a_memory_has_no_state() -> None:
    assert not any(build(kind).state_dict() for kind in SLOW)


SETTINGS = TrainSettings(margin=0.2, learning_rate=0.01, head_weight=0.5)


def alike(spread: float) -> torch.Tensor:
    rows = unit_rows(1, 8).repeat(16, 1) + spread * unit_rows(16, 8, seed=1)
    return torch.nn.functional.normalize(rows, dim=1)


@pytest.mark.parametrize("rows", [1, 16])
def test_spread_descriptors_raise_no_alarm(rows: int) -> None:
    assert check_collapse(unit_rows(rows, 8), 0.2, SETTINGS) == ""


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


def test_a_classifier_alone_is_not_told_of_a_metric_loss_that_it_does_not_have() -> None:
    changed = SETTINGS.model_copy(update={"triplet_weight": 0.0, "warmup": 0.0})
    said = check_collapse(alike(0.01), 0.0, changed)
    assert said.endswith("lower learning_rate (now 0.01) or raise warmup (now 0)")
    assert "loss" not in said and "miner" not in said
    assert not check_collapse(alike(0.25), 0.2, changed)


def test_fairly_alike_descriptors_are_an_alarm_only_while_the_loss_is_stuck_at_the_margin() -> None:
    rows = alike(0.25)
    assert 0.9 < mean_cosine(rows) < 0.98
    assert check_collapse(rows, 0.201, SETTINGS)
    assert not check_collapse(rows, 0.15, SETTINGS)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("contrastive", "contrastive loss 0.200 at margin 0.2); set"),
        ("multi-similarity", "multi-similarity loss 0.200); set"),
    ],
)
def test_the_margin_is_where_the_triplet_loss_alone_is_stuck(kind: str, named: str) -> None:
    changed = SETTINGS.model_copy(update={"metric_loss": kind})
    assert check_collapse(alike(0.25), 0.2, SETTINGS)
    assert not check_collapse(alike(0.25), 0.2, changed)
    said = check_collapse(alike(0.01), 0.2, changed)
    assert named in said and "miner" not in said


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_an_alarm(bad: float) -> None:
    rows = unit_rows(4, 8)
    assert "not finite; lower learning_rate (now 0.01)" in check_collapse(rows, bad, SETTINGS)
    rows[2, 3] = bad
    assert "set precision to float32" in check_collapse(rows, 0.1, SETTINGS)
