"""Open a run for recognition: everything a query is compared with, loaded once.

Reads index/, features/, decision/ and embeddings/non_landmark/ of a run. Writes nothing. Imports
no torch.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.shards import Embeddings, read_embeddings
from rerank.features import FeatureExtractor
from rerank.sift import SiftExtractor
from rerank.store import FeatureStore

from .artifacts import load_manifest
from .database import Database, load_database
from .recipe import Recipe, RerankSettings
from .recognition import Recognizer

EXTRACTORS: dict[str, Callable[[RerankSettings], FeatureExtractor]] = {
    "sift": lambda settings: SiftExtractor(
        max_side=settings.max_side, max_features=settings.max_features
    ),
}


def build_extractor(settings: RerankSettings) -> FeatureExtractor:
    """Return the extractor that the settings name. Raises KeyError for the method none."""
    return EXTRACTORS[settings.method](settings)


def load_split_embeddings(run: Path, split: str) -> Embeddings:
    """Read the descriptors of a split that was embedded."""
    return read_embeddings(sorted((run / "embeddings" / split).glob("part-*.parquet")))


def open_features(run: Path, split: str, recipe: Recipe) -> FeatureStore | None:
    """Open the cached features of a split, or return None where the recipe does not re-rank.

    Raises:
        FileNotFoundError: they were not extracted.
        ValueError: another extractor made them.
    """
    if recipe.rerank.method == "none":
        return None
    fingerprint = build_extractor(recipe.rerank).fingerprint
    return FeatureStore(run / "features" / split, fingerprint)


def penalty_pool(run: Path, database: Database) -> NDArray[np.float32]:
    """Return every second image of the non-landmark pool; no rows without a pool.

    The others set the threshold: a pool image that is in both would be its own penalty.
    """
    if not database.has_pool:
        return np.empty((0, database.index.d), dtype=np.float32)
    return load_split_embeddings(run, "non_landmark").vectors[::2]


def threshold_pool(run: Path) -> Embeddings:
    """Return the images of the non-landmark pool that penalty_pool leaves."""
    pool = load_split_embeddings(run, "non_landmark")
    return Embeddings(pool.ids[1::2], pool.landmark_ids[1::2], pool.vectors[1::2])


def open_recognizer(
    run: Path, recipe: Recipe, fingerprint: str, *, threshold: float | None = None
) -> Recognizer:
    """Load the database of a run, its features, the pool and the threshold.

    Args:
        run: run folder.
        recipe: of the run.
        fingerprint: of the model that describes the queries.
        threshold: confidence below which there is no known landmark; None for that of the run.
    """
    database = load_database(run, fingerprint)
    return Recognizer(
        database,
        penalty_pool(run, database),
        open_features(run, database.split, recipe),
        recipe,
        load_threshold(run, database) if threshold is None else threshold,
    )


def load_threshold(run: Path, database: Database) -> float:
    """Read the threshold that stage `index` has set for this database.

    Raises:
        FileNotFoundError: it has not been set.
    """
    folder = run / "decision"
    manifest = load_manifest(folder)
    if manifest is None or manifest.inputs["index"] != database.key:
        raise FileNotFoundError(
            f"no decision threshold for the index of {run}; run `cairn index --run {run}`"
        )
    return float(json.loads((folder / "threshold.json").read_text())["threshold"])
