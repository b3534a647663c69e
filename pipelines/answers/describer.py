"""Describe single photos as a run describes its images: by its model, or by all of its ensemble.

Reads model/ of a run, or those of its members.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from classify_head.ensemble import combine_embeddings
from classify_head.trained_head import TrainedHead
from embed.decode import decode_image
from embed.extract import describe_pixels, pick_device
from embed.image_file import ImageFile
from embed.model import DescriptorModel
from embed.shards import Embeddings
from embed.views import Views
from pipelines.runs.members import ensemble_fingerprint, list_members
from pipelines.runs.recipe import Recipe

from .stored_model import open_head, open_model


@dataclass(frozen=True, eq=False)
class Describer:
    """One model of a run, loaded."""

    model: DescriptorModel
    classifier: TrainedHead
    views: Views

    def describe(self, path: ImageFile, max_pixels: int) -> Embeddings:
        """Describe one photo as stage `embed` does. Raises ImageError if it cannot be read."""
        side = self.views.input_side(self.model)
        image = decode_image(path, min_side=side, max_pixels=max_pixels)
        vector, head = describe_pixels(self.model, image.pixels, self.views, self.classifier)
        return Embeddings((str(path),), np.full(1, -1, dtype=np.int64), vector, head)


@dataclass(frozen=True, eq=False)
class RunDescriber:
    """All models of a run."""

    members: tuple[Describer, ...]  # one, without an ensemble
    recipe: Recipe
    fingerprint: str  # of all together

    def describe(self, path: ImageFile) -> Embeddings:
        """Describe one photo as the run does its images. Raises ImageError."""
        limit = self.recipe.decode.max_pixels
        parts = [member.describe(path, limit) for member in self.members]
        if not self.recipe.ensemble.members:
            return parts[0]
        settings = self.recipe.ensemble
        return combine_embeddings(parts, settings.rule, settings.weights or None)


def load_describer(run: Path, recipe: Recipe) -> RunDescriber:
    """Load the models of a run. Errors are those of open_model."""
    device = pick_device()
    members, fingerprints = [], []
    for folder, settings in list_members(run, recipe).items():
        model, fingerprint = open_model(folder)
        views = Views.of(settings.embed)
        members.append(Describer(model.to(device), open_head(folder, device), views))
        fingerprints.append(fingerprint)
    together = fingerprints[0]
    if recipe.ensemble.members:
        together = ensemble_fingerprint(fingerprints, recipe.ensemble)
    return RunDescriber(tuple(members), recipe, together)
