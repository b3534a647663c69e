"""Load the index of a run and what its rows stand for.

Reads index/, and the names of landmarks where the dataset is still there. Imports no torch.
"""

import json
import shlex
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.centroids import class_centroids
from classify_head.landmark_head import CrossFittedHead
from embed.errors import InputError, MissingFileError
from embed.shards import read_embeddings
from embed.whitening import Whitening, load_whitening
from index.base import INDEX, VECTORS, BaseIndex
from index.images import ImageIndex
from index.rows import ROWS, RowTable
from pipelines.artifacts import load_manifest, name_maker, remedy
from pipelines.runs.changes import IMAGES
from pipelines.runs.integrity import has_file, intact_file
from pipelines.runs.names import load_names

from .live import AddedPhotos, Live, apply_changes, while_listed

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
    added: tuple[AddedPhotos, ...] = ()  # what the last rows are of: added since it was indexed
    gone: tuple[int, ...] = ()  # landmarks of which all images were removed since

    @cached_property
    def centroids(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The landmarks [C], ascending, and the mean [C, dim] of their whole photos, length 1."""
        rows = np.sort(self.rows.by_landmark)  # all but the removed
        return class_centroids(self.images.whole(rows), self.rows.landmark_ids[rows])


def load_database(
    run: Path, fingerprint: str, names: dict[int, str] | None = None, *, changes: bool = True
) -> Database:
    """Read the index of a run, and what changed since.

    Args:
        run: run folder.
        fingerprint: of the model whose descriptors will be searched for.
        names: of landmarks, where the dataset is open; None: as load_names returns.
        changes: False for the database as it was indexed.

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
    database = Database(
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
    if not changes:
        return database
    return while_listed(
        run,
        lambda listed: follow_changes(
            database, apply_changes(listed, database.rows, database.names)
        ),
    )


def follow_changes(database: Database, live: Live) -> Database:
    """Return a database as it was indexed with what changed since.

    Raises:
        InputError: a file of a change is damaged, or of another model.
    """
    if not live.changes:
        return database
    empty = np.empty((0, database.images.per_image, database.images.dim), dtype=np.float32)
    vectors = np.concatenate([empty, *(_load_vectors(database, each) for each in live.added)])
    return replace(
        database,
        images=database.images.with_changes(vectors, live.removed),
        rows=live.table,
        names=live.names,
        added=live.added,
        gone=tuple(np.setdiff1d(live.indexed.landmarks, live.table.landmarks).tolist()),
    )


def _load_vectors(database: Database, photos: AddedPhotos) -> NDArray[np.float32]:
    """Return the vectors [n, V, dim] of added photos as they are searched."""
    folder = photos.change.folder
    vectors = read_embeddings(
        photos.change.parts("embeddings"), intact_file(folder, IMAGES)
    ).all_vectors[photos.kept]
    whitening, images = database.whitening, database.images
    dim = images.dim if whitening is None else len(whitening.mean)
    made_by = photos.change.manifest.model["fingerprint"]
    if made_by != database.fingerprint or vectors.shape[1:] != (images.per_image, dim):
        raise InputError(
            f"the photos in {folder} are described otherwise than those of the index; describe "
            f"them anew: cairn index --run {shlex.quote(str(folder.parent.parent))}"
        )
    vectors = vectors if whitening is None else whitening.apply_all(vectors)
    # As those of the index are kept: the same photo has the same cosines, added or not.
    return vectors.astype(images.base.exact.dtype).astype(np.float32)


def load_landmark_head(path: Path) -> CrossFittedHead:
    """Read a landmark head.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return CrossFittedHead.from_json(json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no landmark head ({error}); {remedy(path.parent)}") from error
