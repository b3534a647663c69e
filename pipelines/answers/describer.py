"""Describe single photos as a run describes its images: by its model, or by all of its ensemble.

Each is decoded once, for descriptors and local features; where both want the same square of it,
both come from one pass of the network. Reads model/ of a run, or those of its members, and delf/.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from classify_head.ensemble import combine_embeddings
from classify_head.trained_head import TrainedHead
from embed.decode import DecodedImage, decode_image
from embed.extract import describe_pixel_regions, describe_pixels, pick_device
from embed.image_file import ImageFile
from embed.model import DescriptorModel
from embed.settings import RegionSettings
from embed.shards import Embeddings
from embed.views import Views
from pipelines.runs.decoding import decode_side
from pipelines.runs.members import ensemble_fingerprint, list_members
from pipelines.runs.recipe import Recipe
from rerank.delf.extractor import DelfExtractor
from rerank.features import FeatureExtractor, LocalFeatures

from .extractors import build_extractor
from .stored_model import open_head, open_model


@dataclass(frozen=True, eq=False)
class Describer:
    """One model of a run, loaded."""

    model: DescriptorModel
    classifier: TrainedHead
    views: Views
    regions: RegionSettings

    def describe(
        self, image: DecodedImage, extractor: FeatureExtractor | None
    ) -> tuple[Embeddings, LocalFeatures | None]:
        """Describe a photo as stage `embed` does; find its features where that is the same pass."""
        features = None
        if isinstance(extractor, DelfExtractor) and extractor.model is self.model:
            features, vector, head = extractor.describe(image, self.views, self.classifier)
        else:
            vector, head = describe_pixels(self.model, image.pixels, self.views, self.classifier)
        regions = describe_pixel_regions(self.model, image.pixels, self.regions, self.views)
        unknown = np.full(1, -1, dtype=np.int64)
        return Embeddings(("",), unknown, vector, head, regions), features


@dataclass(frozen=True, eq=False)
class RunDescriber:
    """All models of a run, and what finds local features."""

    members: tuple[Describer, ...]  # one, without an ensemble
    extractor: FeatureExtractor | None  # None where the recipe compares no local features
    recipe: Recipe
    fingerprint: str  # of all models together

    def decode(self, path: ImageFile) -> DecodedImage:
        """Decode a photo as stages `embed` and `features` do. Raises ImageError."""
        limit = self.recipe.decode.max_pixels
        return decode_image(path, min_side=decode_side(self.recipe), max_pixels=limit)

    def describe(self, image: DecodedImage, name: str) -> tuple[Embeddings, LocalFeatures | None]:
        """Describe a decoded photo as the run does its images, and find its local features.

        Args:
            image: from decode.
            name: what the photo is called in the answer.
        """
        described = [member.describe(image, self.extractor) for member in self.members]
        parts = [replace(embeddings, ids=(name,)) for embeddings, _ in described]
        features = next((found for _, found in described if found is not None), None)
        if features is None and self.extractor is not None:
            features = self.extractor.extract(image)
        if not self.recipe.ensemble.members:
            return parts[0], features
        settings = self.recipe.ensemble
        return combine_embeddings(parts, settings.rule, settings.weights or None), features


def load_describer(run: Path, recipe: Recipe) -> RunDescriber:
    """Load the models of a run. Errors are those of open_model and build_extractor."""
    device = pick_device()
    members, fingerprints = [], []
    for folder, settings in list_members(run, recipe).items():
        model, fingerprint = open_model(folder)
        views, regions = Views.of(settings.embed), settings.embed.regions
        members.append(Describer(model.to(device), open_head(folder, device), views, regions))
        fingerprints.append(fingerprint)
    together = fingerprints[0]
    if recipe.ensemble.members:
        together = ensemble_fingerprint(fingerprints, recipe.ensemble)
    extractor = None
    if recipe.rerank.method != "none":
        extractor = build_extractor(run, recipe.rerank)
    return RunDescriber(tuple(members), extractor, recipe, together)
