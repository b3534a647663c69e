"""Load the index of a run and what its rows stand for.

Reads index/, and the names of landmarks where the dataset is still there. Imports no torch.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.centroids import class_centroids
from classify_head.landmark_head import CrossFittedHead
from embed.errors import InputError, MissingFileError
from embed.whitening import Whitening, load_whitening
from index.base import INDEX, VECTORS, BaseIndex
from index.images import ImageIndex
from index.rows import ROWS, RowTable
from pipelines.artifacts import load_manifest, name_maker, remedy
from pipelines.runs.integrity import has_file, intact_file
from pipelines.runs.names import load_names

WHITENING, LANDMARK_HEAD = "whitening.safetensors", "landmark_head.json"


@dataclass(frozen=True)
class Database:
    """What is searched: the index and what its rows stand for."""

    images: ImageIndex  # of N images
    rows: RowTable  # what these are
    names: dict[int, str]  # of landmarks; empty if the dataset has none
    fingerprint: str  # of the model that made the descriptors
    split: str  # name of the split: index or train
    has_pool: bool  # whether there were images without a landmark
    key: str  # of the index and all that belongs to it
    whitening: Whitening | None = None  # of descriptors before they are searched
    landmark_head: CrossFittedHead | None = None  # over descriptors before any whitening

    @cached_property
    def centroids(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The landmarks [C], ascending, and the mean [C, dim] of their whole photos, length 1."""
        rows = np.sort(self.rows.by_landmark)  # all but the removed
        return class_centroids(self.images.whole(rows), self.rows.landmark_ids[rows])


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
    rows = RowTable.load(intact_file(folder, ROWS))
    coarse = intact_file(folder, INDEX) if has_file(folder, INDEX) else None
    parameters = manifest.details["index"]["parameters"]
    base = BaseIndex.load(intact_file(folder, VECTORS), coarse, parameters)
    whitening, landmark_head = (
        intact_file(folder, name) if has_file(folder, name) else None
        for name in (WHITENING, LANDMARK_HEAD)
    )
    return Database(
        ImageIndex(base, base.ntotal // len(rows)),
        rows,
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
