"""Describe single photos as a run describes its images: by its model, or by all of its ensemble.

Each is decoded once, for descriptors and local features; where both want the same square of it,
both come from one pass of the network. Reads model/ of a run, or those of its members, and delf/.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.ensemble import combine_embeddings
from embed.decode import DecodedImage, decode_image
from embed.engine import Engine, describe_pixel_regions, describe_pixels
from embed.head_scores import HeadScores
from embed.image_file import ImageFile
from embed.settings import RegionSettings
from embed.shards import Embeddings
from embed.views import Views
from pipelines.runs.decoding import decode_side
from pipelines.runs.engines import TORCH
from pipelines.runs.members import ensemble_fingerprint, list_members
from pipelines.runs.recipe import Recipe
from rerank.features import FeatureExtractor, LocalFeatures

from .engines import open_engine
from .extractors import build_extractor

Joint = Callable[[DecodedImage], tuple[LocalFeatures, NDArray[np.float32], HeadScores]]


@dataclass(frozen=True, eq=False)
class Describer:
    """One model of a run, loaded."""

    engine: Engine
    views: Views
    regions: RegionSettings
    joint: Joint | None = None  # what finds features in the same pass of the network

    def describe(self, image: DecodedImage) -> tuple[Embeddings, LocalFeatures | None]:
        """Describe a photo as stage `embed` does; find its features where that is the same pass."""
        features = None
        if self.joint is not None:
            features, vector, head = self.joint(image)
        else:
            vector, head = describe_pixels(self.engine, image.pixels, self.views)
        regions = describe_pixel_regions(self.engine, image.pixels, self.regions, self.views)
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
        described = [member.describe(image) for member in self.members]
        parts = [replace(embeddings, ids=(name,)) for embeddings, _ in described]
        features = next((found for _, found in described if found is not None), None)
        if features is None and self.extractor is not None:
            features = self.extractor.extract(image)
        if not self.recipe.ensemble.members:
            return parts[0], features
        settings = self.recipe.ensemble
        return combine_embeddings(parts, settings.rule, settings.weights or None), features


def load_describer(run: Path, recipe: Recipe, *, engine: str = "") -> RunDescriber:
    """Load the models of a run.

    Errors are those of open_engine and build_extractor.

    Args:
        run: run folder.
        recipe: of the run.
        engine: instead of the recipe's embed.engine; with DELF, which finds its features in the
            pass that describes, it is torch.
    """
    extractor = None
    if recipe.rerank.method != "none":
        extractor = build_extractor(run, recipe.rerank)
    if recipe.rerank.method == "delf":
        engine = TORCH
    members, fingerprints = [], []
    for folder, settings in list_members(run, recipe).items():
        views, regions = Views.of(settings.embed), settings.embed.regions
        found, fingerprint = open_engine(folder, engine or settings.embed.engine, views)
        joint = _join(extractor, found, views) if recipe.rerank.method == "delf" else None
        members.append(Describer(found, views, regions, joint))
        fingerprints.append(fingerprint)
    together = fingerprints[0]
    if recipe.ensemble.members:
        together = ensemble_fingerprint(fingerprints, recipe.ensemble)
    return RunDescriber(tuple(members), extractor, recipe, together)


def _join(extractor: FeatureExtractor | None, engine: Engine, views: Views) -> Joint | None:
    """Return what describes a photo and finds its features at once; None for other models."""
    from embed.torch_engine import TorchEngine  # torch, which DELF needs
    from rerank.delf.extractor import DelfExtractor

    if not (isinstance(extractor, DelfExtractor) and isinstance(engine, TorchEngine)):
        return None
    if extractor.model is not engine.model:
        return None
    return partial(extractor.describe, views=views, classifier=engine.classifier)
