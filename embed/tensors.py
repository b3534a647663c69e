"""Turn pixels into tensors, and these into the network's input."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbone import BackboneSpec


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Return [3, H, W] uint8 of [H, W, 3]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def normalize(images: Tensor, spec: BackboneSpec) -> Tensor:
    """Map uint8 [B, 3, H, W] to float32 with the mean and standard deviation of the spec."""
    mean, std = (
        (torch.tensor(values).view(1, 3, 1, 1) * 255).to(images.device, non_blocking=True)
        for values in (spec.mean, spec.std)
    )
    return (images.float() - mean) / std
