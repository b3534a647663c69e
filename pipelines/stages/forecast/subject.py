"""What is timed: some images of a dataset, and a model that a recipe would train."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from classify_head.heads import Head, build_head
from embed.backbone import BackboneSpec, build_backbone
from embed.extract import describe, pick_device
from embed.image_file import ImageFile
from embed.model import DescriptorModel, ModelSpec
from embed.views import Views
from pipelines.runs.recipe import Recipe

from .laps import LAPS
from .model_work import ModelWork

MANY = 20_000  # images, repeated ones: no part ends before it was watched
QUICK = 0.2  # seconds an image: a model that can be asked more than once
LARGEST_HEAD = 2**27  # numbers: half a gigabyte, and two while it is trained


@dataclass(frozen=True)
class Trial:
    """What the stages are timed on, and for how long."""

    files: Sequence[ImageFile]  # that can be read; a hundred or more are better than few
    weights: Path | None  # local ones of the backbone; None: random ones
    workers: int  # processes that decode
    scratch: Path  # a folder on the disk that runs are written to
    seconds: float = 6.0  # that each part of the stages is watched

    @property
    def many(self) -> list[ImageFile]:
        """The files, again and again."""
        return list(islice(cycle(self.files), MANY))


@dataclass(frozen=True)
class Subject:
    """A model of a recipe, with what it is timed on."""

    trial: Trial
    recipe: Recipe
    work: ModelWork
    model: DescriptorModel
    head: Head  # of as many classes as LARGEST_HEAD allows
    forward_seconds: float  # of one image at the model's size

    @property
    def views(self) -> Views:
        """What the recipe describes of an image."""
        return Views.of(self.recipe.embed)

    @property
    def head_values(self) -> int:
        """Numbers in the head, with all classes that it will have."""
        values: int = sum(tensor.numel() for tensor in self.head.state_dict().values())
        return round(values * self.work.classes / self.head.classes)

    def fit_batch(self, wanted: int, cost: float, seconds: float) -> int:
        """Return how many images a batch can have so that LAPS of them are seen in time.

        Args:
            wanted: by the recipe.
            cost: of an image, in forward passes at the model's size.
            seconds: that are watched.
        """
        affordable = int(seconds / LAPS / max(cost * self.forward_seconds, 1e-9))
        return max(min(wanted, affordable), 2)


def make_subject(trial: Trial, recipe: Recipe, work: ModelWork) -> Subject:
    """Build the recipe's model, of random weights where no file has them, and time a pass.

    Random weights are as fast as trained ones, and nothing is fetched.

    Raises:
        ValueError: timm does not know the backbone, or the weights do not fit it.
    """
    settings = recipe.train
    backbone, spec = build_backbone(BackboneSpec(settings.backbone), weights=trial.weights)
    model = DescriptorModel(ModelSpec.of(spec, settings), backbone)
    # All classes of one size: how large they are changes the margins, and not the time.
    classes = min(work.classes, max(LARGEST_HEAD // model.head_dim, 2))
    sizes = np.ones(classes, dtype=np.int64)
    head = build_head(settings.head, model.head_dim, sizes, settings.head_scale)
    device = pick_device()
    model, head = model.eval().to(device), head.eval().to(device)
    return Subject(trial, recipe, work, model, head, _time_forward(model))


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
