"""Judge what settings name within a network, such as its strides, before anything is trained.

Builds the network without any numbers, in about .2 s; fetches nothing.
"""

import torch
from torch import nn

from .backbone import BackboneSpec, check_backbone
from .freezing import freeze
from .model import DescriptorModel, ModelSpec
from .train_settings import TrainSettings


def check_network(settings: TrainSettings, *, published: bool = False) -> DescriptorModel:
    """Return the model that would be trained, on torch's meta device.

    Args:
        settings: of its training.
        published: whether weights of the network will be fetched.

    Raises:
        InputError: as check_backbone; or the network lacks a stride, stages, convolutions or
            tensors that a setting names.
    """
    check_backbone(settings.backbone, published=published, token=settings.reads_token)
    with torch.device("meta"):
        model = DescriptorModel(ModelSpec.of(BackboneSpec(settings.backbone), settings))
    freeze(model, nn.Identity(), settings.freeze)
    for number, phase in enumerate(settings.phases):
        if phase.freeze is not None:
            freeze(model, nn.Identity(), phase.freeze, f"train.phases.{number}.freeze")
    return model
