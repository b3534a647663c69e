"""Pick queries with a known answer that the model was not trained on, to calibrate decisions by.

They are photos of landmarks held out of the training, by the validation table or by share, photos
of the database that were never trained on, each asked as if it were not in the database, and photos
without a landmark. Reads embeddings/ and features/ of the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.shards import Embeddings
from pipelines.answers.open_run import (
    load_split_embeddings,
    map_split_vectors,
    open_features,
    split_pool,
)
from pipelines.artifacts import load_manifest
from pipelines.runs.job import Job
from pipelines.runs.members import list_members
from rerank.features import LocalFeatures

from .training_set import HELD_OUT, find_held_out, load_training_set


@dataclass(frozen=True)
class KnownQueries:
    """Q queries with their truth."""

    embeddings: Embeddings  # of Q images; landmark_ids are the truths, -1 without a landmark
    find_features: Callable[[int], LocalFeatures | None]  # by place
    database: NDArray[np.float32]  # [N, V, dim] descriptors of the database, as embedded
    folder: Path | None = None  # of files for such vectors, where they are mapped

    @property
    def ids(self) -> tuple[str, ...]:
        """The images [Q]."""
        return self.embeddings.ids

    @property
    def truths(self) -> NDArray[np.int64]:
        """The landmark of each [Q]; -1 for a photo without one."""
        return self.embeddings.landmark_ids


def load_known_queries(job: Job) -> KnownQueries:
    """Return at most so many known queries as the recipe says, and half of the pool."""
    split = job.dataset.database_split
    database = job.dataset.load_split(split)
    unseen = set(database.ids) - _trained_ids(job)
    searched = map_split_vectors(job.run, split)
    found = [image_id for image_id in searched.ids.to_pylist() if image_id in unseen]
    asked = {split: found}
    if find_held_out(job.dataset, job.recipe.train) is not None:
        asked[HELD_OUT] = map_split_vectors(job.run, HELD_OUT).ids.to_pylist()
    limit = job.recipe.decide.calibration_queries, job.recipe.train.seed
    parts = [
        (name, load_split_embeddings(job.run, name, among))
        for name, among in _limit(asked, *limit).items()
    ]
    if job.dataset.find_table("non_landmark"):
        parts.append(("non_landmark", split_pool(job.run)[1]))
    stores = {name: open_features(job.run, name, job.recipe) for name, _ in parts}
    places = [(name, image_id) for name, part in parts for image_id in part.ids]

    def find_features(row: int) -> LocalFeatures | None:
        name, image_id = places[row]
        store = stores[name]
        return store.get(image_id) if store else None

    queries = Embeddings.concatenate([part for _, part in parts])
    return KnownQueries(queries, find_features, searched.vectors, job.run)


def _trained_ids(job: Job) -> set[str]:
    """Return the ids of the images that the model, or one of the ensemble, was trained on.

    Without train.csv the model was trained on none of them, but on another dataset.
    """
    trained: set[str] = set()
    if job.dataset.find_table("train") is None:
        return trained
    for folder, recipe in list_members(job.run, job.recipe).items():
        manifest = load_manifest(folder / "model")
        if manifest and manifest.model["tuned"]:
            trained.update(load_training_set(job.dataset, recipe.train).ids)
    return trained


def _limit(ids: Mapping[str, list[str]], most: int, seed: int) -> dict[str, list[str]]:
    """Keep at most so many images of all splits together, drawn at random."""
    total = sum(map(len, ids.values()))
    drawn = np.random.default_rng(seed).permutation(total)[:most]
    limited, start = {}, 0
    for name, each in ids.items():
        stop = start + len(each)
        rows = np.sort(drawn[(drawn >= start) & (drawn < stop)]) - start
        limited[name] = [each[row] for row in rows]
        start = stop
    return limited
