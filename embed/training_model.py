"""What is trained as one module: the descriptor model, its head, and local features beside it.

Knows no losses but that of the local features, which is theirs to say.
"""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from .backbone import Level
from .depthwise import Float32Depthwise
from .model import DescriptorModel


class LocalObjective(Protocol):
    """Local features that are trained along, from a map inside the network."""

    level: Level

    def __call__(self, maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits [B, C] of maps [B, C', h, w] of classes [B]."""


class Losses(NamedTuple):
    """What a training model says of a batch."""

    descriptors: Tensor  # [B, dim], rows of length 1
    logits: Tensor  # [B, C]
    local: Tensor  # loss of the local features; 0 without


class TrainingModel(nn.Module):
    """Model, head and local features as one module, so that processes average all gradients."""

    def __init__(
        self,
        model: DescriptorModel,
        head: nn.Module,
        local: LocalObjective | None = None,
    ) -> None:
        """Take the parts."""
        super().__init__()
        self.model, self.head, self.local = model, head, local

    def forward(self, images: Tensor, labels: Tensor) -> Losses:
        """Describe and classify normalised images [B, 3, S, S] of classes [B]."""
        with Float32Depthwise():
            return self._forward(images, labels)

    def _forward(self, images: Tensor, labels: Tensor) -> Losses:
        lost = images.new_zeros(())
        if self.local is None:
            features = self.model.features(images)
        else:
            maps, last = self.model.backbone.forward_both(images, self.local.level)
            features = self.model.pool_map(last)
            # Gradients stop here: what serves local features would spoil the global ones.
            lost, _ = self.local(maps.detach(), labels)
        descriptors = nn.functional.normalize(features, dim=1)
        return Losses(descriptors, self.head(features, labels), lost)
