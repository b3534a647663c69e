"""The learning rate of each step, as a share of the full one: warm-up, then one of four courses.

All of it follows from the step and the history, so a resumed training has the same rates.
"""

import math
from collections.abc import Mapping, Sequence

from .train_settings import TrainSettings


def scheduled_factor(
    step: int,
    epochs: int,
    steps_per_epoch: int,
    settings: TrainSettings,
    judged: Sequence[float] = (),
) -> float:
    """Return the share of the full learning rate at a step.

    Args:
        step: 0 to epochs * steps_per_epoch - 1.
        epochs: of the training, or of the phase of it that the steps are counted from.
        steps_per_epoch: at least 1.
        settings: schedule, warmup, decay, step_epochs and plateau_epochs.
        judged: for the plateau schedule, judged_values of the epochs done so far.
    """
    steps = epochs * steps_per_epoch
    if settings.schedule == "cosine":
        return cosine_factor(step, steps, settings.warmup)
    drops = 0
    if settings.schedule == "step":
        drops = step // (steps_per_epoch * settings.step_epochs)
    elif settings.schedule == "plateau":
        drops = count_drops(judged, settings.plateau_epochs)
    return settings.decay**drops * _warmup_factor(step, math.ceil(steps * settings.warmup))


def cosine_factor(step: int, steps: int, warmup: float) -> float:
    """Return the share of the full rate at a step: linear warm-up, then a cosine to 0.

    >>> [round(cosine_factor(s, 10, 0.2), 2) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    first = math.ceil(steps * warmup)
    if step < first:
        return _warmup_factor(step, first)
    return 0.5 * (1 + math.cos(math.pi * (step - first) / max(steps - first, 1)))


def judged_values(
    history: Sequence[Mapping[str, float]], settings: TrainSettings
) -> Sequence[float]:
    """Return what tells whether an epoch was better than others, higher is better.

    The GAP of the held-out images; without any it is nan, and the negative training loss stands
    in for it.

    Args:
        history: rows with gap, triplet_loss and head_loss.
        settings: triplet_weight and head_weight.
    """
    gaps = [row["gap"] for row in history]
    if not any(math.isnan(gap) for gap in gaps):
        return gaps
    weights = {"triplet_loss": settings.triplet_weight, "head_loss": settings.head_weight}
    used = {name: weight for name, weight in weights.items() if weight}
    return [-sum(weight * row[name] for name, weight in used.items()) for row in history]


def count_drops(values: Sequence[float], patience: int) -> int:
    """Count how often a plateau has lowered the rate: after `patience` epochs without a record.

    The count of epochs starts anew after each drop; an equal value is no record, nor is nan.

    Args:
        values: of the epochs done so far, higher is better.
        patience: in epochs, at least 1.

    >>> [count_drops([0.1, 0.3, 0.2, 0.3, 0.2, 0.1, 0.4][:done], 2) for done in range(8)]
    [0, 0, 0, 0, 1, 1, 2, 2]
    """
    drops, waited, best = 0, 0, -math.inf
    for value in values:
        waited = 0 if value > best else waited + 1
        best = value if value > best else best
        if waited == patience:
            drops, waited = drops + 1, 0
    return drops


def _warmup_factor(step: int, first: int) -> float:
    return (step + 1) / first if step < first else 1.0
