"""Plan the stages that each model of a run goes through by itself: train and embed.

Arithmetic alone: measures nothing, reads and writes no files.
"""

from collections.abc import Iterator

from embed.head_scores import MOST_CLASSES
from embed.settings import EmbedSettings
from pipelines.runs.recipe import Recipe

from .model_work import ModelWork, count_moments, list_models
from .rates import ModelRates, Rates
from .stage_plan import HEAD_CLASS, ID, NUMBER, ROW, Part, StagePlan, make_part
from .workload import Workload

Model = tuple[ModelWork, ModelRates, Recipe]


def plan_training(work: Workload, rates: Rates, recipe: Recipe, workers: int) -> StagePlan:
    """Plan the stage `train`: one model after the other, then DELF."""
    models = _list_models(work, rates, recipe)
    parts = [part for model, measured, _ in models for part in _train_model(model, measured)]
    if recipe.rerank.method == "delf":
        parts.append(_plan_delf(work, rates, models[0][2]))
    # While one model is trained, nothing of the others is in memory.
    most = max((_hold_model(*model) for model in models), key=lambda memory: sum(memory.values()))
    memory = {
        "libraries": rates.libraries,
        **most,
        # Each process that decodes touches all of them, and so gets a copy of its own.
        "ids": work.training * ID * (1 + workers),
    }
    scratch = max(_weigh_checkpoint(*model) for model in models)
    return StagePlan("train", tuple(parts), memory, scratch)


def plan_embedding(work: Workload, rates: Rates, recipe: Recipe) -> StagePlan:
    """Plan the stage `embed`: all images by each model, then put together."""
    models, largest = _list_models(work, rates, recipe), max(work.database, work.pool, work.test)
    parts = [_describe(work.embedded, *model) for model in models]
    dims = [measured.dim for measured in rates.models]
    memory = {
        "libraries": rates.libraries,
        "batches": max(measured.describing_memory for measured in rates.models),
        # The descriptors of a part one by one, in one array, and as they are written.
        "shards": 3 * NUMBER * min(recipe.embed.shard_size, largest) * max(dims),
        "ids": largest * ID,
    }
    if len(models) > 1:
        classes = min(sum(_count_stored(model) for model in work.models), MOST_CLASSES)
        disk = _weigh_row(sum(dims), classes, recipe.embed)
        what = f"the descriptors of {len(models)} models side by side, {sum(dims)} numbers"
        parts.append(Part("describe", what, disk=work.embedded * disk))
        # As read, those of the images that all could read, and side by side.
        memory["descriptors"] = 3 * NUMBER * largest * sum(dims)
    return StagePlan("embed", tuple(parts), memory)


def _list_models(work: Workload, rates: Rates, recipe: Recipe) -> list[Model]:
    recipes = list_models(recipe).values()
    return list(zip(work.models, rates.models, recipes, strict=True))


def _train_model(model: ModelWork, rates: ModelRates) -> Iterator[Part]:
    """Yield the parts of a model's training."""
    name = _name(model)
    what = f"{name}model, and a head of {model.classes:,} classes"
    yield Part("model", what, disk=_weigh(rates))
    for stage, rate in zip(model.stages, rates.train, strict=True):
        size = f" at {stage.image_size} pixels" if len(model.stages) > 1 else ""
        epochs = "epoch" if stage.epochs == 1 else "epochs"
        what = f"{name}{stage.epochs} {epochs} of {model.epoch_images:,} images{size}"
        yield make_part("train", what, rate, stage.epochs * model.epoch_images)
    if model.stages:
        what = f"{name}after each, {model.validated:,} described to validate"
        yield make_part("validate", what, rates.validate, model.epochs * model.validated)


def _name(model: ModelWork) -> str:
    return f"{model.name}: " if model.name else ""


def _weigh(rates: ModelRates) -> float:
    """Return the bytes of a model and its head."""
    return NUMBER * (rates.values + rates.head_values)


def _plan_delf(work: Workload, rates: Rates, first: Recipe) -> Part:
    """Plan DELF's own training, on the first model; what was trained along is only finished."""
    passes = first.rerank.delf.epochs + 1  # once more for the scores and the reduction
    what = f"DELF: {passes} times {work.training:,} images"
    if first.train.local_weight:
        passes, what = 1, f"DELF, trained along: {work.training:,} images once more"
    return make_part("train", what, rates.models[0].delf, passes * work.training)


def _hold_model(model: ModelWork, rates: ModelRates, recipe: Recipe) -> dict[str, float]:
    """Return the bytes of memory that a model takes while it is trained."""
    # Weights, gradients, what the optimizer keeps, and the copy of the best epoch.
    copies = 3 + count_moments(recipe.train) if model.stages else 1
    return {"batches": rates.training_memory, "model and head": copies * _weigh(rates)}


def _weigh_checkpoint(model: ModelWork, rates: ModelRates, recipe: Recipe) -> float:
    """Return the bytes of checkpoints: the old file is replaced by a whole new one."""
    copies = 2 + count_moments(recipe.train)  # weights, and those of the best epoch
    return 2 * copies * _weigh(rates) if model.stages else 0


def _describe(count: int, model: ModelWork, rates: ModelRates, recipe: Recipe) -> Part:
    seen = "1 view each" if rates.views == 1 else f"{rates.views} views each"
    what = f"{_name(model)}{count:,} images to {rates.dim} numbers, {seen}"
    row = _weigh_row(rates.dim, _count_stored(model), recipe.embed)
    return make_part("describe", what, rates.describe, count, count * row)


def _count_stored(model: ModelWork) -> int:
    """Return how many classes are stored beside a descriptor."""
    return min(model.classes, MOST_CLASSES)


def _weigh_row(dim: int, classes: int, settings: EmbedSettings) -> int:
    """Return the bytes of a descriptor on disk."""
    width = 2 if settings.dtype == "float16" else NUMBER
    return dim * width + ROW + HEAD_CLASS * classes
