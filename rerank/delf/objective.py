"""What the training of DELF minimises: telling classes apart by attended local descriptors.

Reads and writes no files.
"""

import torch
from torch import Tensor, nn

from embed.model import DescriptorModel, fingerprint_model
from embed.transforms import normalize

from .attention import pool_attended
from .model import LocalModel, LocalSpec
from .pyramid import measure_center
from .settings import DelfSettings

# Of the restoring loss against the classification loss, as in DELG.
RESTORING_WEIGHT = 10.0


class Objective(nn.Module):
    """A local model, and what only its training needs: a classifier, perhaps a decoder.

    The autoencoder is that of DELG (section 3.3), but its decoder is linear: DELG's activation
    suits maps without negative values, and those of many networks have some.
    """

    def __init__(self, model: DescriptorModel, settings: DelfSettings, classes: int) -> None:
        """Build with random weights on the model's device; the model itself is not changed.

        Raises:
            ValueError: the backbone has no map of that stride, or dim exceeds its channels.
        """
        super().__init__()
        self._frozen = (model,)  # in a tuple, so that its parameters are none of this module's
        self._level = model.backbone.find_level(settings.stride)
        spec = LocalSpec(
            fingerprint_model(model),
            settings.stride,
            self._level.channels,
            measure_center(model.backbone, self._level, model.spec.image_size),
            settings.hidden,
            settings.dim,
        )
        self.local = LocalModel(spec)
        # Unlike DELG with batch norm: pooled descriptors are much alike at first, and without it a
        # training of few steps ends before it has found out what differs.
        self.classifier = nn.Sequential(
            nn.BatchNorm1d(spec.channels, affine=False), nn.Linear(spec.channels, classes)
        )
        self.decoder: nn.Linear | None = None
        if settings.reduction == "autoencoder":
            self.decoder = nn.Linear(spec.dim, spec.channels)
        self.to(next(model.parameters()).device)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits [B, C] of images [B, 3, S, S] uint8 of classes [B]."""
        maps = self.make_maps(images)
        scores = self.local.attention(maps)
        descriptors, lost = maps, maps.new_zeros(())
        if self.decoder is not None:
            descriptors, lost = self._restore(maps, self.decoder)
        logits: Tensor = self.classifier(pool_attended(descriptors, scores))
        loss = nn.functional.cross_entropy(logits, targets.to(logits.device))
        return loss + RESTORING_WEIGHT * lost, logits

    def _restore(self, maps: Tensor, decoder: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return maps after encoder and decoder, and the lost share of their squared length."""
        unit = nn.functional.normalize(maps, dim=1).movedim(1, -1)
        restored = decoder(self.local.reduction.projection(unit))
        return restored.movedim(-1, 1), (restored - unit).square().sum(dim=-1).mean()

    @torch.no_grad()
    def make_maps(self, images: Tensor) -> Tensor:
        """Return the backbone's maps [B, C, h, w] of images [B, 3, S, S] uint8."""
        (model,) = self._frozen
        batch = normalize(images.to(next(model.parameters()).device), model.spec.backbone)
        batch = batch.contiguous(memory_format=torch.channels_last)
        return model.backbone.forward_to(batch, self._level)
