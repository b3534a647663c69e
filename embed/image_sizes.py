"""Tell before a training or an extraction whether a network takes images of the sizes asked for.

ViTs take multiples of their patches, other networks sizes of their windows or no small ones. Only
trying tells, so an empty image is described at each size.
"""

from collections.abc import Mapping

import timm
import torch

from .errors import InputError
from .model import DescriptorModel
from .train_settings import TrainSettings
from .transforms import MAX_ASPECT, fit_shape
from .views import Views

Shape = tuple[int, int]  # height and width in pixels


def check_training_sizes(model: DescriptorModel, settings: TrainSettings) -> None:
    """Raise InputError unless a model can be trained on images of the sizes of all phases."""
    sizes = {settings.image_size: "train.image_size"}
    for number, phase in enumerate(settings.phases):
        if phase.image_size is not None:
            sizes.setdefault(phase.image_size, f"train.phases.{number}.image_size")
    _try_shapes(model, {(side, side): origin for side, origin in sizes.items()})


def check_view_sizes(model: DescriptorModel, views: Views) -> None:
    """Raise InputError unless a model can describe each view of an image."""
    shapes: dict[Shape, str] = {}
    for side, scale in zip(views.sides(model), views.scales, strict=True):
        origin = f"train.image_size times {scale:g} of embed.scales"
        shapes[side, side] = origin
        if views.square == "fit":
            longest = fit_shape((1, round(MAX_ASPECT)), side, model.backbone.stride)
            fitted = f"{origin}, fitted (embed.square; 'squeeze' has squares alone)"
            shapes |= {longest: fitted, longest[::-1]: fitted}
    _try_shapes(model, shapes)


def _try_shapes(model: DescriptorModel, shapes: Mapping[Shape, str]) -> None:
    """Raise InputError for a shape that does not work, by what it comes from."""
    training, device = model.training, next(model.parameters()).device
    model.eval()  # batch norms learn nothing, and take a batch of one
    for (height, width), origin in shapes.items():
        try:
            with torch.inference_mode():
                model(torch.zeros(1, 3, height, width, device=device))
        except Exception as error:  # each network has its own way to refuse
            name = model.spec.backbone.architecture
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            config = timm.get_pretrained_cfg(name)
            hint = f", {config.input_size[-1]} it was made for" if config else ""
            size = f"{height}" if height == width else f"{height} x {width}"
            raise InputError(
                f"the network '{name}' takes no images of {size} pixels, {origin}: {reason}; take "
                f"another size{hint}"
            ) from error
    model.train(training)
