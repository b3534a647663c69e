"""Build what a recipe trains: the descriptor model, its head, and the pretrained model beside it.

Reads pretrained weights, which are fetched where the job names no file.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from classify_head.heads import Head, build_head
from embed.backbone import Backbone, BackboneSpec, build_backbone
from embed.image_sizes import check_training_sizes, check_view_sizes
from embed.model import DescriptorModel, ModelSpec
from embed.train_settings import TrainSettings
from embed.views import Views
from pipelines.runs.job import Job
from rerank.delf.calibration import check_descriptors
from rerank.delf.joint import build_joint_objective
from rerank.delf.objective import MapObjective

from .training_set import TrainingSet


@dataclass(frozen=True, eq=False)
class Networks:
    """What is trained, with its first weights: the same for the same seed."""

    model: DescriptorModel
    head: Head
    local: MapObjective | None  # DELF, where it is trained along
    first: tuple[DescriptorModel, Head] | None  # pretrained, no part of it new, where it is needed


def build_networks(job: Job, training: TrainingSet) -> Networks:
    """Build all that a run trains, and raise InputError if it cannot be."""
    settings = job.recipe.train
    sizes = np.bincount(training.labels)
    first = _build_start(job, sizes)
    torch.manual_seed(settings.seed)
    backbone, spec = _build_backbone(job)
    model = DescriptorModel(ModelSpec.of(spec, settings), backbone)
    check_training_sizes(model, settings)
    check_view_sizes(model, Views.of(job.recipe.embed))
    head = build_head(settings.head, model.head_dim, sizes, settings.head_scale)
    local = None
    if settings.local_weight:
        check_descriptors(model, job.recipe.rerank.delf, len(training.table.ids))
        # Drawn last: the model starts, and so ends, as it does without.
        local = build_joint_objective(backbone, job.recipe.rerank.delf, len(sizes))
    return Networks(model, head, local, first)


def _build_backbone(job: Job) -> tuple[Backbone, BackboneSpec]:
    settings = job.recipe.train
    return build_backbone(
        BackboneSpec(settings.backbone),
        weights=job.weights,
        pretrained=settings.pretrained,
        token=settings.reads_token,
    )


def compares_start(job: Job, settings: TrainSettings) -> bool:
    """Tell whether trained features are judged beside the pretrained ones that they began with."""
    wanted = settings.epochs and (settings.unseen_share or settings.pretrained_share)
    return bool(wanted and (settings.pretrained or job.weights))


def _build_start(job: Job, sizes: NDArray[np.int64]) -> tuple[DescriptorModel, Head] | None:
    """Return the pretrained model, no part of which is new, and a head; None if none is needed."""
    settings = job.recipe.train
    if not compares_start(job, settings):
        return None
    backbone, spec = _build_backbone(job)
    model = DescriptorModel(ModelSpec.of(spec, settings).pretrained, backbone).eval()
    return model, build_head(settings.head, model.head_dim, sizes, settings.head_scale)
