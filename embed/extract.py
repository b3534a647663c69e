"""Compute global descriptors of image files with a trained model. Writes nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from .images import Failure, ImageFiles, collate
from .model import DescriptorModel
from .transforms import normalize, resize_square, to_tensor


def pick_device() -> torch.device:
    """Return CUDA where there is a GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def describe(model: DescriptorModel, images: Tensor) -> NDArray[np.float32]:
    """Return descriptors [B, dim], rows of length 1, of uint8 images [B, 3, S, S]."""
    device = next(model.parameters()).device
    batch = normalize(images.to(device), model.spec.backbone)
    described = model(batch.contiguous(memory_format=torch.channels_last))
    return np.asarray(described.float().cpu().numpy(), dtype=np.float32)


def describe_pixels(model: DescriptorModel, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the descriptor [1, dim] of one decoded image [H, W, 3]."""
    return describe(model, to_tensor(resize_square(pixels, model.spec.image_size))[None])


def extract_all(
    model: DescriptorModel,
    paths: Sequence[Path],
    *,
    batch_size: int,
    max_pixels: int,
    workers: int,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[Failure]]:
    """Describe image files, a batch at a time, in order.

    Args:
        model: in eval mode, on the device to use.
        paths: [N] files.
        batch_size: images at a time.
        max_pixels: limit of the decoder.
        workers: processes that decode; 0 decodes in this one.
        advance: called with the number of images that are done since the last call.

    Returns:
        Positions [N'] in paths, ascending, their descriptors [N', dim], and the images that could
        not be read: every position is in one of the two.
    """
    loader = DataLoader(
        ImageFiles(paths, model.spec.image_size, max_pixels),
        batch_size=batch_size,
        collate_fn=collate,
        num_workers=workers if len(paths) > batch_size else 0,
    )
    positions: list[int] = []
    failures: list[Failure] = []
    vectors = [np.empty((0, model.spec.dim), dtype=np.float32)]
    for batch in loader:
        positions += batch.positions
        failures += batch.failures
        if batch.positions:
            vectors.append(describe(model, batch.images))
        advance(len(batch.positions) + len(batch.failures))
    return np.array(positions, dtype=np.int64), np.concatenate(vectors), failures
