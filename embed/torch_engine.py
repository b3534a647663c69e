"""The engine of reference: eager torch, on a GPU where there is one, at any scale and shape.

What an exported graph is compared with, and what computes where there is none. Reads and writes no
files.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbone import LastLayer
from .engine import check_shape
from .errors import InputError
from .head_scores import HeadScores
from .model import DescriptorModel
from .tensor_views import make_views, merge_views
from .tensors import normalize
from .views import ONE_VIEW, Views

CPU_BATCH = 8  # images at a time where there are few cores


def pick_device() -> torch.device:
    """Return CUDA where there is a GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit_batch(batch_size: int, device: torch.device) -> int:
    """Return how many of so many images are described at a time: on a CPU as many as pay.

    Beyond some images for all cores, a larger batch is no faster there, but takes memory in
    proportion: 64 images of 317 pixels take a MobileNetV2 to 2.6 GB, 8 to 1.0 GB.
    """
    if device.type != "cpu":
        return batch_size
    return min(batch_size, max(CPU_BATCH, torch.get_num_threads()))


class Classifier(Protocol):
    """A classification head and the landmarks of its classes."""

    def logits(self, features: Tensor) -> Tensor:
        """Return [B, C] for features [B, dim] of any length."""

    def rank(self, logits: Tensor) -> HeadScores:
        """Return the likeliest classes of each row of [B, C]."""


@dataclass(frozen=True, eq=False)
class TorchEngine:
    """A model in eval mode, on the device to use, and a head on the same device: an Engine."""

    model: DescriptorModel
    classifier: Classifier | None = None
    name: str = "torch"

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that the model was made for."""
        return self.model.image_size

    @property
    def stride(self) -> int:
        """Pixels of a cell."""
        return self.model.stride

    @property
    def dim(self) -> int:
        """Values of a descriptor."""
        return self.model.dim

    @property
    def streams(self) -> int:
        """1: all cores work on one batch."""
        return 1

    def fit_batch(self, size: int) -> int:
        """See fit_batch."""
        return fit_batch(size, next(self.model.parameters()).device)

    def describe(
        self, images: NDArray[np.uint8], views: Views = ONE_VIEW
    ) -> tuple[NDArray[np.float32], HeadScores]:
        """Describe and classify images, as Engine.describe."""
        # A view that is mirrored has negative steps, which torch does not take.
        pixels = torch.from_numpy(np.ascontiguousarray(images))
        return describe_and_classify(self.model, pixels, self.classifier, views)


@torch.inference_mode()
def describe_and_classify(
    model: DescriptorModel,
    images: Tensor,
    classifier: Classifier | None,
    views: Views = ONE_VIEW,
    last: LastLayer | None = None,
) -> tuple[NDArray[np.float32], HeadScores]:
    """Describe images, and ask the classification head of the same pass.

    Args:
        model: in eval mode, on the device to use.
        images: [B, 3, h, w] uint8, as Views.resize returns images.
        classifier: on the same device; None gives scores of no class.
        views: what is described of each.
        last: what the backbone makes of the images themselves, if it is known: the view that shows
            them as they are then needs no pass.

    Returns:
        [B, dim], rows of length 1: the views' descriptors, merged; and the likeliest classes by the
        mean of the views' logits.

    Raises:
        InputError: images of another shape, or a backbone that cannot take a view's.
    """
    check_shape(model, images.shape, views)
    device = next(model.parameters()).device
    batch = normalize(images.to(device), model.spec.backbone)
    shown = [
        _forward(model, view, last if view is batch else None)
        for view in make_views(model, batch, views)
    ]
    features, described = zip(*shown, strict=True)
    merged = merge_views(described, views.merge_p)
    vectors = np.asarray(merged.cpu().numpy(), dtype=np.float32)
    if classifier is None:
        return vectors, HeadScores.none(len(vectors))
    logits = torch.stack([classifier.logits(view) for view in features]).mean(dim=0)
    return vectors, classifier.rank(logits)


def _forward(model: DescriptorModel, view: Tensor, last: LastLayer | None) -> tuple[Tensor, Tensor]:
    """Return features [B, head_dim] and descriptors [B, dim] float32 of a view [B, 3, h, w].

    What the backbone makes of it is computed where it is not known.
    """
    view = view.contiguous(memory_format=torch.channels_last)
    try:
        features = model.features(view) if last is None else model.pool_map(last)
        return features.float(), model.describe(features.float(), view).float()
    except (AssertionError, RuntimeError) as error:  # each architecture says it its own way
        size, (height, width) = model.spec.image_size, view.shape[-2:]
        if height == width == size:
            raise
        raise InputError(
            f"'{model.spec.backbone.architecture}' failed on views of {height} x {width} pixels, "
            f"not its {size} x {size} ({error}); some backbones take one size alone: set scales = "
            "[1.0] and square = 'squeeze'"
        ) from error
