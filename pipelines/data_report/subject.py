"""What is timed: some images of a dataset, and the model that a recipe would train."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch

from embed.backbone import BackboneSpec, build_backbone
from embed.extract import describe, pick_device
from embed.image_file import ImageFile
from embed.model import DescriptorModel, ModelSpec
from embed.views import Views

from ..recipe import Recipe
from .laps import LAPS

MANY = 20_000  # images, repeated ones: no part ends before it was watched
QUICK = 0.2  # seconds an image: a model that can be asked more than once


@dataclass(frozen=True)
class Subject:
    """Images and model, and how long each part of the stages is watched."""

    files: Sequence[ImageFile]  # that can be read
    classes: int  # of the training set; the head has one direction for each
    recipe: Recipe
    model: DescriptorModel
    workers: int  # processes that decode
    scratch: Path  # an empty folder on the disk that runs are written to
    seconds: float  # that a part is watched
    forward_seconds: float  # of one image at the model's size

    @property
    def views(self) -> Views:
        """What the recipe describes of an image."""
        return Views.of(self.recipe.embed)

    @property
    def many(self) -> list[ImageFile]:
        """The files, again and again."""
        return list(islice(cycle(self.files), MANY))

    def fit_batch(self, wanted: int, cost: float, seconds: float) -> int:
        """Return how many images a batch can have so that LAPS of them are seen in time.

        Args:
            wanted: by the recipe.
            cost: of an image, in forward passes at the model's size.
            seconds: that are watched.
        """
        affordable = int(seconds / LAPS / max(cost * self.forward_seconds, 1e-9))
        return max(min(wanted, affordable), 2)


def make_subject(
    files: Sequence[ImageFile],
    classes: int,
    recipe: Recipe,
    *,
    weights: Path | None,
    workers: int,
    scratch: Path,
    seconds: float,
) -> Subject:
    """Build the recipe's model, of random weights where no file has them, and time a pass.

    Random weights are as fast as trained ones, and nothing is fetched.

    Raises:
        ValueError: timm does not know the backbone, or the weights do not fit it.
    """
    settings = recipe.train
    backbone, spec = build_backbone(BackboneSpec(settings.backbone), weights=weights)
    model = DescriptorModel(ModelSpec.of(spec, settings), backbone)
    model = model.eval().to(pick_device())
    forward = _time_forward(model)
    return Subject(files, classes, recipe, model, workers, scratch, seconds, forward)


def _time_forward(model: DescriptorModel) -> float:
    """Return the seconds that an image of noise takes in a batch; of a large model in one of two.

    The least of some passes: other programs only ever add to it.
    """
    least = _time_pass(model, 2)
    if least < QUICK:
        least = min(least, *(_time_pass(model, 8) for _ in range(4)))
    return least


def _time_pass(model: DescriptorModel, count: int) -> float:
    side = model.spec.image_size
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
    describe(model, images)  # the first of a size is slower
    started = time.perf_counter()
    describe(model, images)
    return (time.perf_counter() - started) / count
