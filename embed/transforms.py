"""Turn pixels into the network's input."""

from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbone import BackboneSpec

# How an image becomes a square. squeeze: its aspect ratio is lost, no part of it is. crop: what
# lies outside the largest square in its middle is lost.
Square = Literal["squeeze", "crop"]


def resize_square(
    pixels: NDArray[np.uint8], size: int, square: Square = "squeeze"
) -> NDArray[np.uint8]:
    """Resize [H, W, 3], or the square in its middle, to [size, size, 3]."""
    if square == "crop":
        pixels = _middle_square(pixels)
    # Area averaging shrinks without aliasing, but enlarges in blocks.
    shrinks = pixels.shape[0] >= size and pixels.shape[1] >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=method), dtype=np.uint8)


def _middle_square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest square in the middle of [H, W, 3]; of an odd rest, less is cut first."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Return [3, H, W] uint8 of [H, W, 3]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def normalize(images: Tensor, spec: BackboneSpec) -> Tensor:
    """Map uint8 [B, 3, H, W] to float32 with the mean and standard deviation of the spec."""
    mean = torch.tensor(spec.mean, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(spec.std, device=images.device).view(1, 3, 1, 1) * 255
    return (images.float() - mean) / std
