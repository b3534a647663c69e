"""What the training of DELF minimises: telling classes apart by attended local descriptors.

Reads and writes no files.
"""

import torch
from torch import Tensor, nn

from embed.backbone import Backbone, Level
from embed.model import DescriptorModel, fingerprint_model
from embed.tensors import normalize

from .attention import Attention, pool_attended
from .model import LocalModel, LocalSpec
from .pyramid import measure_center
from .reduction import Reduction
from .settings import DelfSettings

# Of the restoring loss against the classification loss, as in DELG.
RESTORING_WEIGHT = 10.0


class MapObjective(nn.Module):
    """Attention, and what only its training needs: a classifier, perhaps an autoencoder.

    Knows maps and no backbone. The state_dict holds all that training changes, and every parameter
    gets a gradient in each step.

    The autoencoder is that of DELG (section 3.3), but its decoder is linear: DELG's activation
    suits maps without negative values, and those of many networks have some.
    """

    def __init__(
        self, level: Level, attention: Attention, classes: int, encoder: Reduction | None = None
    ) -> None:
        """Take the attention, and the encoder if one is trained; the rest starts at random."""
        super().__init__()
        self.level, self.attention, self.encoder = level, attention, encoder
        # Unlike DELG with batch norm: pooled descriptors are much alike at first, and without it a
        # training of few steps ends before it has found out what differs.
        self.classifier = nn.Sequential(
            nn.BatchNorm1d(level.channels, affine=False), nn.Linear(level.channels, classes)
        )
        self.decoder: nn.Linear | None = None
        if encoder is not None:
            self.decoder = nn.Linear(encoder.projection.out_features, level.channels)

    def forward(self, maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits [B, C] of maps [B, C', h, w] of classes [B].

        Computes in float32 whatever the maps are in; what extracts features later does, too.
        """
        with torch.autocast(maps.device.type, enabled=False):
            maps = maps.float()
            scores = self.attention(maps)
            descriptors, lost = self._restore(maps)
            logits: Tensor = self.classifier(pool_attended(descriptors, scores))
            loss = nn.functional.cross_entropy(logits, targets.to(logits.device))
            return loss + RESTORING_WEIGHT * lost, logits

    def _restore(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps after encoder and decoder, and the lost share of their squared length."""
        if self.encoder is None or self.decoder is None:
            return maps, maps.new_zeros(())
        unit = nn.functional.normalize(maps, dim=1).movedim(1, -1)
        restored = self.decoder(self.encoder.projection(unit))
        return restored.movedim(-1, 1), (restored - unit).square().sum(dim=-1).mean()


class Objective(nn.Module):
    """A local model of a finished descriptor model, trained on images."""

    def __init__(self, model: DescriptorModel, settings: DelfSettings, classes: int) -> None:
        """Build with random weights on the model's device; the model itself is not changed.

        Raises:
            ValueError: the backbone has no map of that stride, or dim exceeds its channels.
        """
        super().__init__()
        self._frozen = (model,)  # in a tuple, so that its parameters are none of this module's
        self.local = LocalModel(make_spec(model, settings))
        encoder = self.local.reduction if settings.reduction == "autoencoder" else None
        level = find_level(model.backbone, settings)
        self.on_maps = MapObjective(level, self.local.attention, classes, encoder)
        self.to(next(model.parameters()).device)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits [B, C] of images [B, 3, S, S] uint8 of classes [B]."""
        (model,) = self._frozen
        loss, logits = self.on_maps(make_maps(model, self.on_maps.level, images), targets)
        return loss, logits


def find_level(backbone: Backbone, settings: DelfSettings) -> Level:
    """Return the map that local features are made of.

    Raises:
        InputError: the backbone has no map of that stride, or dim exceeds its channels.
    """
    level = backbone.find_level(settings.stride, "rerank.delf.stride")
    with torch.device("meta"):  # without drawing weights: a dim that will not do is refused now
        Reduction(level.channels, settings.dim)
    return level


def make_spec(model: DescriptorModel, settings: DelfSettings) -> LocalSpec:
    """Return the spec of a local model that belongs to a descriptor model in eval mode.

    Raises:
        ValueError: see find_level.
    """
    level = find_level(model.backbone, settings)
    return LocalSpec(
        fingerprint_model(model),
        settings.stride,
        level.channels,
        measure_center(model.backbone, level, model.spec.image_size),
        settings.hidden,
        settings.dim,
    )


@torch.no_grad()
def make_maps(model: DescriptorModel, level: Level, images: Tensor) -> Tensor:
    """Return the backbone's maps [B, C, h, w] of images [B, 3, S, S] uint8."""
    batch = normalize(images.to(next(model.parameters()).device), model.spec.backbone)
    batch = batch.contiguous(memory_format=torch.channels_last)
    return model.backbone.forward_to(batch, level)
