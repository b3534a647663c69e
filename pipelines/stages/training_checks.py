"""Say before a training what is left out of it, and refuse what it cannot learn from.

Reads nothing.
"""

import logging

import numpy as np
import torch

from embed.errors import InputError
from embed.train_settings import TrainSettings
from pipelines.runs.job import Job

from .training_set import TrainingSet

logger = logging.getLogger(__name__)


def check_training(training: TrainingSet, job: Job) -> None:
    """Say what is left out, and raise InputError if nothing can be learned from the rest."""
    settings, path = job.recipe.train, training.table.path
    if training.unknown:
        logger.warning(
            "%d of %d images of %s are of landmarks that are not trained on; they are not queried",
            *(training.unknown, training.unknown + len(training.held_out.ids)),
            training.held_out.path,
        )
    if job.dataset.find_table("validation"):
        if settings.validation_share != TrainSettings().validation_share:
            logger.warning(
                "train.validation_share = %g changes nothing: %s is held out",
                *(settings.validation_share, training.held_out.path),
            )
    count = len(training.landmarks)
    if settings.epochs and settings.group > 1 and count < settings.classes_per_batch:
        logger.info(
            "a batch has all %d landmarks: train.classes_per_batch = %d asks for more",
            *(count, settings.classes_per_batch),
        )
    every, unseen = (np.unique(of.landmark_ids) for of in (training.table, training.unseen))
    dropped = len(every) - len(unseen) - count
    if dropped:
        logger.info(
            "%d of %d landmarks have fewer than %d photos and are not trained on",
            *(dropped, len(every), settings.balance.min_count),
        )
    if len(unseen):
        logger.info(
            "%d of %d landmarks are not trained on, to judge it by them; they are known all the "
            "same",
            *(len(unseen), len(every)),
        )
    if count < 2 and settings.epochs:
        fewer = f" of {settings.balance.min_count} photos and more" if dropped else ""
        raise InputError(
            f"{path} has {count} landmark{fewer}; training tells landmarks apart and "
            "needs two: add some, or set train.epochs = 0 for features without training"
        )


def check_joint(job: Job) -> None:
    """Raise InputError if DELF would be trained along for nothing, or not at all."""
    settings, method = job.recipe.train, job.recipe.rerank.method
    if not settings.local_weight:
        return
    setting = f"train.local_weight = {settings.local_weight:g} trains DELF along with the model"
    if method != "delf":
        raise InputError(
            f"{setting}, but rerank.method = '{method}' has no use for it; set it to 'delf', or "
            "local_weight to 0"
        )
    if not settings.epochs:
        raise InputError(
            f"{setting}, but train.epochs = 0 trains nothing; set local_weight = 0, and DELF is "
            "trained on the model as it is"
        )


def check_devices(count: int) -> None:
    """Raise InputError if there are GPUs, but fewer than asked for; processes may stand in else."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < there < count:
        raise InputError(f"--devices {count}, but there are {there} GPUs here; ask for as many")
