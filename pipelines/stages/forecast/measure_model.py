"""Time one model of a run, and see what memory it takes: describing, then training."""

from collections.abc import Callable
from functools import partial

from embed.allocator import give_back_memory
from embed.views import Views
from pipelines.progress import Advance

from .laps import Rate
from .measure_network import time_delf, time_describing, time_training
from .model_work import count_moments, list_stages
from .processes import read_memory, watch_memory
from .rates import NOTHING, ModelRates
from .stage_plan import NUMBER
from .subject import Subject

STEPS = 3  # that measure_model moves a bar on by


def measure_model(subject: Subject, advance: Advance, *, with_delf: bool) -> ModelRates:
    """Time the parts of a model, that of the least memory first: some of it is not given back.

    Args:
        subject: the model, which training changes.
        advance: moves a bar on.
        with_delf: local features are trained on this model.
    """
    seconds, train = subject.trial.seconds, subject.recipe.train
    describe, describing = _watch(partial(time_describing, subject, subject.views, seconds))
    advance(1)
    one_view, validate = Views(square=subject.recipe.embed.square), describe
    if train.epochs and subject.views != one_view:
        validate, _ = time_describing(subject, one_view, seconds * 0.7)
    delf = time_delf(subject, seconds) if with_delf else NOTHING
    advance(1)
    rates, training = _time_stages(subject, 2 * seconds)
    advance(1)
    return ModelRates(
        dim=subject.model.dim,
        views=len(subject.views.view_sides(subject.model)),
        values=_count_values(subject),
        head_values=subject.head_values,
        timed_classes=subject.head.classes,
        train=rates,
        validate=validate,
        describe=describe,
        delf=delf,
        training_memory=training,
        describing_memory=describing,
    )


def _time_stages(subject: Subject, seconds: float) -> tuple[tuple[Rate, ...], float]:
    """Time each stage of the training, equal ones once; return also the most memory of batches."""
    stages = list(list_stages(subject.recipe.train))
    distinct = {(stage.image_size, stage.freeze): stage for stage in stages}
    # Gradients and what the optimizer keeps are the same for a batch of any size.
    values = _count_values(subject)
    values += sum(parameter.numel() for parameter in subject.head.parameters())
    fixed = NUMBER * values * (1 + count_moments(subject.recipe.train))
    timed, memory = {}, 0.0
    for key, stage in distinct.items():
        run = partial(time_training, subject, stage, seconds / len(distinct))
        timed[key], taken = _watch(run, fixed)
        memory = max(memory, taken)
    return tuple(timed[stage.image_size, stage.freeze] for stage in stages), memory


def _count_values(subject: Subject) -> int:
    return sum(tensor.numel() for tensor in subject.model.state_dict().values())


def _watch(run: Callable[[], tuple[Rate, float]], fixed: float = 0.0) -> tuple[Rate, float]:
    """Return the rate of a run, and the memory it would have taken with batches as asked for.

    Args:
        run: returns also how many times smaller its batches were.
        fixed: bytes that a run takes whatever its batches are; they are left out.
    """
    give_back_memory()  # lest a run finds free what it would have to ask for
    before = read_memory()
    with watch_memory() as peak:
        rate, smaller = run()
    return rate, max(peak.bytes - before - fixed, 0.0) * smaller
