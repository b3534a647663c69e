"""Time training and description by the real trainer, loader and model."""

import logging

import numpy as np
import torch
from lightning_fabric import Fabric

from classify_head.heads import CosineHead
from embed.extract import extract_all
from embed.precision import pick_precision
from embed.settings import TrainSettings
from embed.train import Trainer, TrainingImages
from embed.views import Views
from rerank.delf.training import train_delf

from .laps import Note, Rate, time_laps
from .subject import Subject

TRAINING_COST = 3.5  # forward passes that the training step of an image takes, about


def time_describing(subject: Subject, views: Views, seconds: float) -> tuple[Rate, float]:
    """Time the description of an image; return also how much smaller than asked a batch was."""
    wanted = subject.recipe.embed.batch_size
    size = subject.model.spec.image_size
    cost = sum((side / size) ** 2 for side in views.view_sides(subject.model))
    batch = subject.fit_batch(wanted, cost, seconds)

    def run(note: Note) -> None:
        extract_all(
            subject.model,
            subject.many,
            batch_size=batch,
            max_pixels=subject.recipe.decode.max_pixels,
            workers=subject.workers,
            views=views,
            advance=note,
        )

    return time_laps(run, seconds), wanted / batch


def time_training(subject: Subject, seconds: float) -> tuple[Rate, float]:
    """Time a step of training, by the image; return also how much smaller a batch was.

    The subject's model is changed.
    """
    recipe = subject.recipe
    wanted = min(recipe.train.classes_per_batch, subject.classes) * recipe.train.images_per_class
    settings = _shrink(recipe.train, subject.fit_batch(wanted, TRAINING_COST, seconds))
    files = subject.many
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it sets its own on import
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=1,
        precision=pick_precision(subject.model, settings, subject.scratch / "precision.json"),
    )
    fabric.launch()

    def run(note: Note) -> None:
        trainer = Trainer(
            subject.model,
            CosineHead(settings.dim, subject.classes, settings.head_scale),
            # Labels of no meaning: a step takes as long for wrong ones.
            TrainingImages(files, np.arange(len(files)) % subject.classes),
            settings,
            decode=recipe.decode,
            fabric=fabric,
            checkpoint=subject.scratch / "checkpoint.pt",
            workers=subject.workers,
            report=lambda done, steps: note(trainer.batch_size),
        )
        next(trainer.run(lambda model: {"gap": 0.0}))

    rate = time_laps(run, seconds)
    return rate, wanted / (settings.classes_per_batch * settings.images_per_class)


def _shrink(settings: TrainSettings, batch: int) -> TrainSettings:
    """Return settings of one epoch with at most so many images a batch, of two classes at least."""
    classes = min(settings.classes_per_batch, max(batch // settings.images_per_class, 2))
    return settings.model_copy(update={"classes_per_batch": classes, "epochs": 1})


def time_delf(subject: Subject, seconds: float) -> Rate:
    """Time a step of DELF's training, by the image."""
    settings, files = subject.recipe.rerank.delf, subject.many

    def run(note: Note) -> None:
        train_delf(
            subject.model,
            files,
            np.arange(len(files)) % subject.classes,
            settings,
            decode=subject.recipe.decode,
            augment=subject.recipe.train.augment,
            workers=subject.workers,
            report=lambda done, steps: note(settings.batch_size),
        )

    return time_laps(run, seconds)
