"""The course of the learning rate against torch's own schedulers."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, StepLR

from embed.schedule import cosine_factor, count_drops, judged_values, scheduled_factor
from embed.train_settings import TrainSettings


def settings(**changes: object) -> TrainSettings:
    return TrainSettings.model_validate({"warmup": 0.0, **changes})


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 100])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_rate_rises_to_its_full_value_and_never_again(
    schedule: str, steps: int, warmup: float
) -> None:
    chosen = settings(schedule=schedule, warmup=warmup)
    factors = [scheduled_factor(step, 1, steps, chosen) for step in range(steps)]
    top = factors.index(max(factors))
    assert factors[top] == 1 and 0 < min(factors)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_the_cosine_is_that_of_the_steps_of_all_epochs() -> None:
    chosen = settings(warmup=0.2)
    found = [scheduled_factor(step, 5, 2, chosen) for step in range(10)]
    assert found == [cosine_factor(step, 10, 0.2) for step in range(10)]
    # python -c "import math; print([0.5 * (1 + math.cos(math.pi * k / 8)) for k in (1, 4, 7)])"
    assert [found[3], found[6], found[9]] == [0.9619397662556434, 0.5, 0.03806023374435663]


@pytest.mark.parametrize(("step_epochs", "decay"), [(1, 0.5), (3, 0.1), (20, 0.2)])
def test_the_steps_are_those_of_torch(step_epochs: int, decay: float) -> None:
    chosen = settings(schedule="step", step_epochs=step_epochs, decay=decay)
    known = optimizer()
    scheduler: LRScheduler = StepLR(known, step_epochs, decay)
    for epoch in range(10):
        for step in (4 * epoch, 4 * epoch + 3):
            found = scheduled_factor(step, 10, 4, chosen)
            assert found == pytest.approx(known.param_groups[0]["lr"])
        known.step()
        scheduler.step()


@given(
    st.lists(st.one_of(st.integers(0, 4), st.just(math.nan)), max_size=20),
    st.integers(1, 4),
)
def test_the_drops_are_those_of_torch(values: list[float], patience: int) -> None:
    known = optimizer()
    # Torch waits for one bad epoch more than its patience.
    scheduler = ReduceLROnPlateau(
        known, "max", 0.5, patience - 1, threshold=0, threshold_mode="abs", eps=0
    )
    chosen = settings(schedule="plateau", plateau_epochs=patience, decay=0.5)
    for done, value in enumerate(values):
        assert scheduled_factor(done, 20, 1, chosen, values[:done]) == known.param_groups[0]["lr"]
        scheduler.step(value)
    assert 0.5 ** count_drops(values, patience) == known.param_groups[0]["lr"]


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 3))
def test_an_epoch_more_never_takes_a_drop_back(values: list[float], patience: int) -> None:
    counts = [count_drops(values[:done], patience) for done in range(len(values) + 1)]
    assert counts[0] == 0
    assert all(0 <= after - before <= 1 for before, after in itertools.pairwise(counts))


@pytest.mark.parametrize("schedule", ["step", "plateau"])
def test_the_warm_up_rises_to_what_the_schedule_has_left(schedule: str) -> None:
    chosen = settings(
        schedule=schedule, warmup=0.4, decay=0.5, step_epochs=1, plateau_epochs=1, epochs=5
    )
    flat = [0.3] * 5  # a record at first, then none
    found = [scheduled_factor(step, 5, 2, chosen, flat[: step // 2]) for step in range(10)]
    left = [
        0.5 ** (step // 2 if schedule == "step" else max(step // 2 - 1, 0)) for step in range(10)
    ]
    assert found == [share * min((step + 1) / 4, 1) for step, share in enumerate(left)]


def test_epochs_are_judged_by_gap_and_without_one_by_the_loss() -> None:
    chosen = settings(triplet_weight=2.0, head_weight=0.5)
    losses = [{"triplet_loss": 0.5, "head_loss": 4.0}, {"triplet_loss": 0.25, "head_loss": 2.0}]
    judged = [{**row, "gap": gap} for row, gap in zip(losses, (0.1, 0.3), strict=True)]
    assert judged_values(judged, chosen) == [0.1, 0.3]
    unjudged = [{**row, "gap": math.nan} for row in losses]
    assert judged_values(unjudged, chosen) == [-3.0, -1.5]
    assert judged_values([], chosen) == []
