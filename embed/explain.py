"""Show which pixels of an image a score of its descriptor depends on: saliency and Grad-CAM.

Knows no class and no database: a score is any function of a model and its inputs, and two are made
here. The gradients are taken by captum (PyTorch's library of attributions, BSD licence), which is
imported when it is needed: it loads pyplot. Reads and writes no files.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .model import DescriptorModel
from .tensors import normalize
from .whitening import Whitening

# A model and normalised images [B, 3, h, w] to one value an image [B]; it must not mix images.
Score = Callable[[DescriptorModel, Tensor], Tensor]
Scored = Callable[[Tensor], Tensor]  # the same of one model


def class_logit(head: Callable[[Tensor], Tensor], place: int) -> Score:
    """Return the score that a classification head gives one class.

    Args:
        head: features [B, head_dim] to logits [B, C], in eval mode.
        place: of the class among the C, from 0.
    """
    return lambda model, images: head(model.features(images))[:, place]


def cosine_to(descriptor: NDArray[np.float32], whitening: Whitening | None = None) -> Score:
    """Return the score that search gives a database image: why is this the neighbour?

    Args:
        descriptor: [D] of the database image, of length 1, as it is indexed.
        whitening: what the index was made with.
    """

    def score(model: DescriptorModel, images: Tensor) -> Tensor:
        unit: Tensor = model(images)
        if whitening is not None:
            mean, projection = (
                torch.from_numpy(values).to(unit)
                for values in (whitening.mean, whitening.projection)
            )
            unit = nn.functional.normalize((unit - mean) @ projection.T, dim=1)
        return unit @ torch.from_numpy(descriptor).to(unit)

    return score


def saliency(model: DescriptorModel, images: Tensor, score: Score) -> Tensor:
    """Return how much each pixel moves a score.

    Args:
        model: in eval mode, on the device to use.
        images: [B, 3, h, w] uint8.
        score: of the features of one view, the whole image.

    Returns:
        [B, h, w] float32: the largest |d score / d value| of a pixel's three values, which go from
        0 to 255.

    Raises:
        ValueError: the model is in training mode, where batch norm mixes images.

    Source:
        Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2014, section 3.1.
    """
    _check_eval(model)
    inputs = normalize(images.to(_device(model)), model.spec.backbone)
    slopes = input_slopes(lambda batch: score(model, batch), inputs)
    # The network's inputs are (value / 255 - mean) / std.
    std = torch.tensor(model.spec.backbone.std, device=slopes.device).view(1, 3, 1, 1)
    return (slopes / (255 * std)).amax(dim=1)


def grad_cam(model: DescriptorModel, images: Tensor, score: Score) -> Tensor:
    """Return how much each place of the backbone's last map speaks for a score.

    The map of a CNN and the grid of a ViT's patch tokens are treated alike; what a ViT's token of
    the whole image says for it is of no place, and left out. Arguments and errors as saliency.

    Returns:
        [B, h, w] float32, >= 0, enlarged from the map; what speaks against the score is 0.

    Source:
        Selvaraju et al.: Grad-CAM, ICCV 2017, equations 1 and 2.
    """
    _check_eval(model)
    inputs = normalize(images.to(_device(model)), model.spec.backbone)
    maps = layer_grad_cam(lambda batch: score(model, batch), model.attention, inputs)
    size = (images.shape[-2], images.shape[-1])
    # Of the map, not of the result, negative values are cut off: that is the paper's order.
    return nn.functional.interpolate(maps[:, None], size=size, mode="bilinear")[:, 0]


def input_slopes(scored: Scored, inputs: Tensor) -> Tensor:
    """Return |d score / d input| in the shape and precision of the inputs [B, ...].

    Args:
        scored: inputs to one value an image [B].
        inputs: [B, ...] floating point.
    """
    from captum.attr import Saliency

    leaf = inputs.detach().requires_grad_()  # captum warns where it has to ask for gradients
    return cast(Tensor, Saliency(scored).attribute(leaf, abs=True)).detach()


def layer_grad_cam(scored: Scored, layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return Grad-CAM of the map [B, C, h, w] that a layer gets as [B, h, w], >= 0.

    Args:
        scored: inputs to one value an image [B], by way of the layer.
        layer: which gets it as its one input.
        inputs: [B, ...] floating point.
    """
    from captum.attr import LayerGradCam

    leaf = inputs.detach().requires_grad_()  # or else a frozen layer would have no gradient
    cam = LayerGradCam(scored, layer)
    found = cam.attribute(leaf, relu_attributions=True, attribute_to_layer_input=True)
    return cast(Tensor, found).detach()[:, 0]


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _check_eval(model: nn.Module) -> None:
    if model.training:
        raise ValueError("the model is in training mode, expected eval mode; call model.eval()")
