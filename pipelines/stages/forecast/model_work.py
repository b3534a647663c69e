"""Count what each model of a run is trained on: its classes, its epochs, its batches.

The rules are those of training_set, validation and embed.train. Arithmetic alone: reads and times
nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embed.settings import Stage, TrainSettings
from pipelines.runs.recipe import Recipe, member_recipe
from pipelines.stages.training_set import draw_unseen
from pipelines.stages.validation import DATABASE_PER_CLASS, MAX_DISTRACTORS, divide_unseen


@dataclass(frozen=True)
class StageWork:
    """Some epochs of a training that have settings of their own."""

    epochs: int
    image_size: int  # pixels


@dataclass(frozen=True)
class ModelWork:
    """What one model of a run meets while it is trained."""

    name: str  # of the member of an ensemble; empty where there is one model
    classes: int
    stages: tuple[StageWork, ...]  # in their order; none where nothing is trained
    batch: int  # images of a step
    epoch_images: int  # trained on in an epoch
    validated: int  # described after each epoch, from one view

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(stage.epochs for stage in self.stages)


@dataclass(frozen=True, eq=False)
class Division:
    """How the training images of a dataset are divided for one model."""

    classes: int
    held_out: int  # images, if no table says which
    used: NDArray[np.int64]  # [C] images of each class of the dataset that are trained on
    examples: int  # of an epoch, with the variants of small classes
    unseen: int  # images of landmarks that are not trained on, which are searched or asked


def list_models(recipe: Recipe) -> dict[str, Recipe]:
    """Return the recipe of each model by its name, which is empty where there is one model."""
    names = recipe.ensemble.members
    return {name: member_recipe(recipe, name) for name in names} or {"": recipe}


def list_stages(settings: TrainSettings) -> Iterator[Stage]:
    """Yield the stages of a training in their order; one where the settings name none."""
    epoch = 0
    while epoch < settings.epochs:
        stage = settings.stage_at(epoch)
        yield stage
        epoch += stage.epochs


def divide_images(
    class_sizes: NDArray[np.int64], settings: TrainSettings, *, from_table: bool
) -> Division:
    """Leave out small classes, hold landmarks and images out, and balance the rest.

    Args:
        class_sizes: [C] of the training table, by landmark.
        settings: of the model.
        from_table: a table says what is held out, so nothing is taken from the training images.
    """
    balance = settings.balance
    large = class_sizes >= max(balance.min_count, 1)
    unseen = np.zeros_like(large)
    unseen[large] = draw_unseen(class_sizes[large], settings)
    sizes = np.where(large & ~unseen, class_sizes, 0)
    held = np.zeros_like(sizes) if from_table else _hold_out(sizes, settings)
    kept = sizes - held
    used = np.minimum(kept, balance.cap or kept)  # without variants
    examples = np.maximum(used, balance.upsample_to)[sizes > 0]
    judging = int(np.sum(divide_unseen(class_sizes[unseen])))
    return Division(int((sizes > 0).sum()), int(held.sum()), used, int(examples.sum()), judging)


def plan_model(
    name: str, divided: Division, settings: TrainSettings, *, held_out: int, pool: int
) -> ModelWork:
    """Count what one model meets.

    Args:
        name: of the model.
        divided: its images.
        settings: of its training.
        held_out: images that are asked after each epoch.
        pool: images without a landmark, of which some are asked, too.
    """
    asked = held_out + divided.unseen
    if settings.judge == "neighbors":  # else nothing is searched
        asked += int(np.minimum(divided.used, DATABASE_PER_CLASS).sum())
    asked = min(asked, settings.validation_images) + min(pool, MAX_DISTRACTORS)
    stages = tuple(StageWork(stage.epochs, stage.image_size) for stage in list_stages(settings))
    batch = count_batch(settings, divided.classes)
    return ModelWork(
        name=name,
        classes=divided.classes,
        stages=stages,
        batch=batch,
        epoch_images=count_steps(settings, divided.examples, batch) * batch if stages else 0,
        validated=asked if stages and held_out else 0,
    )


def count_batch(settings: TrainSettings, classes: int) -> int:
    """Return the images of a step, of so many classes that there are."""
    if settings.group == 1 and settings.batch_size:
        return settings.batch_size
    return min(settings.classes_per_batch, max(classes, 1)) * settings.images_per_class


def count_steps(settings: TrainSettings, examples: int, batch: int) -> int:
    """Return the batches of an epoch on one device."""
    if settings.epoch_steps:
        return settings.epoch_steps
    return max(1, round(max(examples // batch, 1) * settings.epoch_share))


def count_moments(settings: TrainSettings) -> int:
    """Return how many numbers the optimizer keeps for each that is trained."""
    if settings.optimizer == "sgd":
        return 1 if settings.momentum else 0
    return 2


def _hold_out(sizes: NDArray[np.int64], settings: TrainSettings) -> NDArray[np.int64]:
    """Return how many images of each class [C] embed.sampling.split_validation holds out."""
    wanted = (sizes * settings.validation_share + 0.5).astype(np.int64)
    return np.minimum(wanted, np.maximum(sizes - 2, 0))
