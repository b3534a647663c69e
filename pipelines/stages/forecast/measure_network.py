"""Time training and description by the real trainer, loader and model."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from classify_head.trained_head import TrainedHead
from embed.extract import extract_all, fit_batch
from embed.precision import pick_precision
from embed.settings import Stage, TrainSettings
from embed.train import Trainer, TrainingImages
from embed.views import Views
from rerank.delf.joint import build_joint_objective
from rerank.delf.objective import MapObjective
from rerank.delf.training import train_delf

from .laps import Note, Rate, time_laps
from .model_work import count_batch
from .subject import Subject

TRAINING_COST = 3.5  # forward passes that the training step of an image takes, about


def time_describing(subject: Subject, views: Views, seconds: float) -> tuple[Rate, float]:
    """Time description and classification; return also how much smaller than asked a batch was."""
    device = next(subject.model.parameters()).device
    wanted = fit_batch(subject.recipe.embed.batch_size, device)
    size = subject.model.spec.image_size
    cost = sum((side / size) ** 2 for side in views.view_sides(subject.model))
    batch = subject.fit_batch(wanted, cost, seconds)
    classifier = TrainedHead(subject.head, np.arange(subject.head.classes))

    def run(note: Note) -> None:
        extract_all(
            subject.model,
            subject.trial.many,
            batch_size=batch,
            max_pixels=subject.recipe.decode.max_pixels,
            workers=subject.trial.workers,
            views=views,
            classifier=classifier,
            advance=note,
        )

    return time_laps(run, seconds), wanted / batch


def time_training(subject: Subject, stage: Stage, seconds: float) -> tuple[Rate, float]:
    """Time a step of a stage of training, by the image; return also how much smaller a batch was.

    The subject's model and head are changed. What the stage freezes is not trained here, either.
    """
    trial, wanted = subject.trial, subject.work.batch
    cost = TRAINING_COST * (stage.image_size / subject.model.spec.image_size) ** 2
    batch = subject.fit_batch(wanted, cost, seconds)
    settings = _shorten(subject.recipe.train, stage, batch)
    # A folder for each: another training would go on from the checkpoint of this one.
    with tempfile.TemporaryDirectory(dir=trial.scratch) as folder:
        fabric = _make_fabric(subject, settings, Path(folder))
        rate = time_laps(lambda note: _train(subject, settings, fabric, folder, note), seconds)
    return rate, wanted / count_batch(settings, subject.head.classes)


def _train(
    subject: Subject, settings: TrainSettings, fabric: Fabric, folder: str, note: Note
) -> None:
    files, classes = subject.trial.many, subject.head.classes
    trainer = Trainer(
        subject.model,
        subject.head,
        # Labels of no meaning: a step takes as long for wrong ones.
        TrainingImages(files, np.arange(len(files)) % classes),
        settings,
        decode=subject.recipe.decode,
        fabric=fabric,
        checkpoint=Path(folder) / "checkpoint.pt",
        workers=subject.trial.workers,
        local=_make_local(subject),
        report=lambda done, steps: note(trainer.batch_size),
    )
    next(trainer.run(lambda model: {"gap": 0.0}))


def _make_fabric(subject: Subject, settings: TrainSettings, folder: Path) -> Fabric:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it sets its own on import
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=1,
        precision=pick_precision(subject.model, settings, folder / "precision.json"),
    )
    fabric.launch()
    return fabric


def _make_local(subject: Subject) -> MapObjective | None:
    """Return what is trained along of DELF, if anything."""
    if not subject.recipe.train.local_weight:
        return None
    backbone, delf = subject.model.backbone, subject.recipe.rerank.delf
    return build_joint_objective(backbone, delf, subject.head.classes)


def _shorten(settings: TrainSettings, stage: Stage, batch: int) -> TrainSettings:
    """Return settings of one epoch of a stage, with at most so many images a batch.

    Where images come by class there are two classes at least.
    """
    changes = {
        "epochs": 1,
        "stages": (),
        "image_size": stage.image_size,
        "freeze": stage.freeze,
        "epoch_share": 1.0,
        "epoch_steps": 0,
        "classes_per_batch": min(
            settings.classes_per_batch, max(batch // settings.images_per_class, 2)
        ),
        "batch_size": min(settings.batch_size, batch),
    }
    return settings.model_copy(update=changes)


def time_delf(subject: Subject, seconds: float) -> Rate:
    """Time a step of DELF's training, by the image."""
    settings, files = subject.recipe.rerank.delf, subject.trial.many

    def run(note: Note) -> None:
        train_delf(
            subject.model,
            files,
            np.arange(len(files)) % subject.head.classes,
            settings,
            decode=subject.recipe.decode,
            augment=subject.recipe.train.augment,
            workers=subject.trial.workers,
            report=lambda done, steps: note(settings.batch_size),
        )

    return time_laps(run, seconds)
