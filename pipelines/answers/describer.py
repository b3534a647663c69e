"""Describe single photos as a run describes its images: by its model, or by all of its ensemble.

Each is decoded once, for descriptors and local features; where both want the same square of it,
both come from one pass of the network. Reads model/ of a run, or those of its members, and delf/.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify_head.ensemble import combine_embeddings
from embed.decode import DecodedImage
from embed.engine import Engine, describe_batch, describe_pixel_regions
from embed.head_scores import HeadScores
from embed.parallel import map_parallel
from embed.settings import RegionSettings
from embed.shards import Embeddings
from embed.views import Views
from pipelines.runs.decoding import decode_side
from pipelines.runs.engines import TORCH
from pipelines.runs.members import ensemble_fingerprint, list_members
from pipelines.runs.recipe import Recipe
from rerank.features import FeatureExtractor, LocalFeatures

from .engines import find_model, open_engine
from .extractors import build_extractor
from .photo import ImageSource, Photo

Joint = Callable[[DecodedImage], tuple[LocalFeatures, NDArray[np.float32], HeadScores]]


@dataclass(frozen=True, eq=False)
class Describer:
    """One model of a run, loaded."""

    engine: Engine
    views: Views
    regions: RegionSettings
    joint: Joint | None = None  # what finds features in the same pass of the network

    def describe(
        self, images: Sequence[DecodedImage], names: tuple[str, ...]
    ) -> tuple[Embeddings, list[LocalFeatures] | None]:
        """Describe photos as stage `embed` does; find features where that is the same pass."""
        pixels, features = [image.pixels for image in images], None
        if self.joint is not None:
            found = [self.joint(image) for image in images]
            features = [each for each, _, _ in found]
            vectors = np.concatenate([vector for _, vector, _ in found])
            head = HeadScores.concatenate([scores for _, _, scores in found])
        else:
            vectors, head = describe_batch(self.engine, pixels, self.views)
        regions = None
        if self.regions.count:
            settings = self.regions, self.views
            each = [describe_pixel_regions(self.engine, one, *settings) for one in pixels]
            regions = np.concatenate(each)
        unknown = np.full(len(images), -1, dtype=np.int64)
        return Embeddings(names, unknown, vectors, head, regions), features


@cache
def _beside() -> ThreadPoolExecutor:
    """Return a thread that stays: a new one each time took 60 ms more of the processor a photo."""
    return ThreadPoolExecutor(1, "features")


os.register_at_fork(after_in_child=_beside.cache_clear)  # a forked process has no threads


@dataclass(frozen=True, eq=False)
class _Awaited(Sequence[LocalFeatures | None]):
    """Features that are being found."""

    future: Future[Sequence[LocalFeatures]]
    images: int

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, place: Any) -> Any:
        return self.future.result()[place]


@dataclass(frozen=True, eq=False)
class RunDescriber:
    """All models of a run, and what finds local features."""

    members: tuple[Describer, ...]  # one, without an ensemble
    extractor: FeatureExtractor | None  # None where the recipe compares no local features
    recipe: Recipe
    fingerprint: str  # of all models together

    def decode(self, photo: ImageSource) -> DecodedImage:
        """Decode a photo as stages `embed` and `features` do. Raises InputError."""
        return Photo.of(photo).decode(decode_side(self.recipe), self.recipe.decode.max_pixels)

    def describe(
        self, images: Sequence[DecodedImage], names: Sequence[str], *, features: bool = True
    ) -> tuple[Embeddings, Sequence[LocalFeatures | None]]:
        """Describe decoded photos as the run does its images, and find their local features.

        Args:
            images: [B] from decode, at least one.
            names: [B] their ids.
            features: False where local features are not asked for.

        Returns:
            Embeddings of the B photos, and the features of each, for which whoever looks at them
            waits; None where the run compares none.
        """
        local = self._begin_extracting(images) if features else None
        described = [member.describe(images, tuple(names)) for member in self.members]
        parts = [embeddings for embeddings, _ in described]
        found: Sequence[LocalFeatures | None] = [None] * len(images)
        if same_pass := next((each for _, each in described if each is not None), None):
            found = same_pass
        elif local is not None:
            found = local
        if not self.recipe.ensemble.members:
            return parts[0], found
        settings = self.recipe.ensemble
        return combine_embeddings(parts, settings.rule, settings.weights or None), found

    def _begin_extracting(
        self, images: Sequence[DecodedImage]
    ) -> Sequence[LocalFeatures | None] | None:
        """Find features while the network, and the search, leave cores idle.

        None where there is nothing to find, or a network finds them as it describes.
        """
        extractor = self.extractor
        if extractor is None or any(member.joint for member in self.members):
            return None

        def extract() -> Sequence[LocalFeatures]:
            if extractor.batch_size > 1:
                return extractor.extract_batch(images)
            return list(map_parallel(extractor.extract, images))

        return _Awaited(_beside().submit(extract), len(images))


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
    members = []
    for folder, settings in list_members(run, recipe).items():
        views, regions = Views.of(settings.embed), settings.embed.regions
        found, _ = open_engine(folder, engine or settings.embed.engine, views)
        joint = _join(extractor, found, views) if recipe.rerank.method == "delf" else None
        members.append(Describer(found, views, regions, joint))
    return RunDescriber(tuple(members), extractor, recipe, find_models(run, recipe))


def find_models(run: Path, recipe: Recipe) -> str:
    """Return the fingerprint of all models of a run together; none is loaded.

    Raises:
        MissingFileError: one is not there.
    """
    manifests = [find_model(folder)[1] for folder in list_members(run, recipe)]
    found = [str(manifest.model["fingerprint"]) for manifest in manifests]
    return ensemble_fingerprint(found, recipe.ensemble) if recipe.ensemble.members else found[0]


def _join(extractor: FeatureExtractor | None, engine: Engine, views: Views) -> Joint | None:
    """Return what describes a photo and finds its features at once; None for other models."""
    from embed.torch_engine import TorchEngine  # torch, which DELF needs
    from rerank.delf.extractor import DelfExtractor

    if not (isinstance(extractor, DelfExtractor) and isinstance(engine, TorchEngine)):
        return None
    if extractor.model is not engine.model:
        return None
    return partial(extractor.describe, views=views, classifier=engine.classifier)
