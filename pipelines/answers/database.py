"""Load the index of a run and what its rows stand for.

Reads index/, and the names of landmarks where the dataset is still there. Imports no torch.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify_head.centroids import class_centroids
from classify_head.landmark_head import CrossFittedHead
from embed.columns import read_parquet, to_array
from embed.errors import InputError, MissingFileError
from embed.sampling import Classes, group_by_class
from embed.whitening import Whitening, load_whitening
from index.regions import ImageIndex
from index.search import load_index
from pipelines.artifacts import load_manifest, name_maker, remedy
from pipelines.runs.integrity import has_file, intact_file
from pipelines.runs.names import load_names

WHITENING, LANDMARK_HEAD = "whitening.safetensors", "landmark_head.json"


@dataclass(frozen=True)
class Database:
    """What is searched: the index and what its rows stand for."""

    index: Any  # faiss.Index of N rows, or N * V where images have V vectors
    image_ids: tuple[str, ...]  # [N]
    landmark_ids: NDArray[np.int64]  # [N]
    names: dict[int, str]  # of landmarks; empty if the dataset has none
    fingerprint: str  # of the model that made the descriptors
    split: str  # name of the split: index or train
    has_pool: bool  # whether there were images without a landmark
    key: str  # of the index and all that belongs to it
    whitening: Whitening | None = None  # of descriptors before they are searched
    landmark_head: CrossFittedHead | None = None  # over descriptors before any whitening

    @cached_property
    def images(self) -> ImageIndex:
        """The index, an image a row however many vectors it has."""
        return ImageIndex(self.index, self.index.ntotal // len(self.image_ids))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each image."""
        return {image_id: row for row, image_id in enumerate(self.image_ids)}

    @cached_property
    def class_sizes(self) -> NDArray[np.int64]:
        """The number of images [N] that the landmark of each row has."""
        _, places, counts = np.unique(self.landmark_ids, return_inverse=True, return_counts=True)
        return np.asarray(counts[places], dtype=np.int64)

    @cached_property
    def centroids(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The landmarks [C], ascending, and the mean [C, dim] of their whole photos, length 1."""
        return class_centroids(self.images.whole(np.arange(len(self.images))), self.landmark_ids)

    @cached_property
    def by_landmark(self) -> Classes:
        """The rows, those of one landmark side by side."""
        return group_by_class(self.landmark_ids)


def load_database(run: Path, fingerprint: str, names: dict[int, str] | None = None) -> Database:
    """Read the index of a run.

    Args:
        run: run folder.
        fingerprint: of the model whose descriptors will be searched for.
        names: of landmarks, where the dataset is open; None: as load_names returns.

    Raises:
        MissingFileError: there is no complete index.
        InputError: it holds the descriptors of another model, or a file of it is damaged.
    """
    folder = run / "index"
    manifest = load_manifest(folder)
    if manifest is None:
        raise MissingFileError(f"no complete index in {folder}; run `{name_maker(folder)}` first")
    if manifest.model["fingerprint"] != fingerprint:
        raise InputError(
            f"{folder} holds descriptors of model {manifest.model['fingerprint'][:12]}, the run's "
            f"model is {fingerprint[:12]}; embed and index with this model: {name_maker(folder)}"
        )
    table = read_parquet(intact_file(folder, "ids.parquet"))
    landmark_ids = to_array(table["landmark_id"])
    whitening, landmark_head = (
        intact_file(folder, name) if has_file(folder, name) else None
        for name in (WHITENING, LANDMARK_HEAD)
    )
    return Database(
        load_index(intact_file(folder, "index.faiss")),
        tuple(table["image_id"].to_pylist()),
        landmark_ids,
        load_names(run) if names is None else names,
        fingerprint,
        str(manifest.settings["database"]),
        "non_landmark" in manifest.inputs,
        manifest.key,
        load_whitening(whitening) if whitening else None,
        load_landmark_head(landmark_head) if landmark_head else None,
    )


def load_landmark_head(path: Path) -> CrossFittedHead:
    """Read a landmark head.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return CrossFittedHead.from_json(json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no landmark head ({error}); {remedy(path.parent)}") from error
