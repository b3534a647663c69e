"""Add photos to a run for tests, really or with a model that takes no time to load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from embed.decode import DecodedImage
from embed.head_scores import HeadScores
from embed.shards import Embeddings
from pipelines.answers.live import load_live
from pipelines.answers.photo import ImageSource, Photo
from pipelines.artifacts import load_manifest
from pipelines.runs.job import Job, open_job
from pipelines.runs.recipe import Recipe
from rerank.features import FeatureExtractor, LocalFeatures
from rerank.sift import SiftExtractor
from tests.datasets import view

Rows = frozenset[tuple[str, int]]  # id and landmark of each photo


def write_views(folder: Path, landmark: int, numbers: Sequence[int]) -> list[Path]:
    """Write views of a landmark's texture as folder/<number>.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in numbers]
    for number, path in zip(numbers, paths, strict=True):
        Image.fromarray(view(landmark, number)).save(path, quality=95)
    return paths


def open_run(run: Path) -> Job:
    """Return the job of a run that is there."""
    return open_job(None, run, None, None)


def list_rows(run: Path) -> Rows:
    """Return what the database of a run has."""
    table = load_live(run).table
    rows = np.sort(table.by_landmark)
    return frozenset(
        zip(table.ids(rows).to_pylist(), table.landmark_ids[rows].tolist(), strict=True)
    )


@dataclass(frozen=True)
class _Engine:
    name: str = "drawn"


@dataclass(frozen=True)
class _Member:
    engine: _Engine = _Engine()


@dataclass(frozen=True)
class DrawnDescriber:
    """Describes a photo by numbers drawn from its pixels: no network is loaded."""

    recipe: Recipe
    extractor: FeatureExtractor
    fingerprint: str
    dim: int
    members: tuple[_Member, ...] = (_Member(),)

    def decode(self, photo: ImageSource) -> DecodedImage:
        """Decode a photo as a run does."""
        return Photo.of(photo).decode(96, self.recipe.decode.max_pixels)

    def describe(
        self, images: Sequence[DecodedImage], names: Sequence[str]
    ) -> tuple[Embeddings, list[LocalFeatures]]:
        """Return a vector of length 1 of the one photo, and the local features."""
        (image,) = images
        drawn = np.random.default_rng(int(image.pixels.astype(np.int64).sum())).normal(
            size=self.dim
        )
        vector = (drawn / np.linalg.norm(drawn)).astype(np.float32)[None]
        unknown = np.full(1, -1, dtype=np.int64)
        embeddings = Embeddings(tuple(names), unknown, vector, HeadScores.none(1))
        return embeddings, [self.extractor.extract(image)]


def draw_describer(run: Path, recipe: Recipe) -> DrawnDescriber:
    """Return a describer for the runs of tests.datasets, in the place of load_describer."""
    manifest = load_manifest(run / "index")
    assert manifest is not None
    settings = recipe.rerank
    sift = SiftExtractor(max_side=settings.max_side, max_features=settings.max_features)
    return DrawnDescriber(recipe, sift, str(manifest.model["fingerprint"]), recipe.train.dim)
