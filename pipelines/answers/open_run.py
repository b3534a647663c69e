"""Open a run for recognition: everything a query is compared with, loaded once.

Reads index/, features/ and embeddings/ of a run. Writes nothing. Imports no torch, but for features
that a network makes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError
from embed.shards import Embeddings, Vectors, map_vectors, read_embeddings, read_failures
from pipelines.artifacts import load_manifest, remedy_file
from pipelines.runs.changes import Change
from pipelines.runs.decoding import decoding
from pipelines.runs.engines import embed_settings
from pipelines.runs.integrity import compare_sizes, intact_file, intact_parts
from pipelines.runs.members import list_members
from pipelines.runs.parts import IMAGES
from pipelines.runs.recipe import Recipe
from rerank.places import PLACES
from rerank.store import FeatureStore, LayeredStore, StoredFeatures

from .database import follow_changes, load_database
from .description import description_key
from .extractors import find_fingerprint
from .live import AddedPhotos, apply_changes, while_listed
from .retriever import Retriever


def load_split_embeddings(run: Path, split: str, among: Sequence[str] | None = None) -> Embeddings:
    """Read the descriptors of a split that was embedded, or of some of its images.

    Raises:
        MissingFileError: it was not.
        InputError: a file of it is damaged.
    """
    folder = run / "embeddings" / split
    return read_embeddings(intact_parts(folder), intact_file(folder, IMAGES), among)


def map_split_vectors(run: Path, split: str) -> Vectors:
    """Read the vectors of a split into a file in the run folder, which is mapped; errors likewise.

    They take no memory but that of the part that is read. The file has no name: when nothing has
    the vectors any more it is gone.
    """
    folder = run / "embeddings" / split
    return map_vectors(intact_parts(folder), intact_file(folder, IMAGES), run)


def load_split_failures(run: Path, split: str) -> dict[str, tuple[str, str]]:
    """Return reason and message of each image of a split that was not embedded; errors likewise."""
    return read_failures(intact_file(run / "embeddings" / split, "failures.parquet"))


def open_features(run: Path, split: str, recipe: Recipe) -> FeatureStore | None:
    """Open the cached features of a split, or return None where the recipe does not re-rank.

    Raises:
        MissingFileError: they were not extracted.
        InputError: another extractor made them, or a file of them is damaged.
    """
    if recipe.rerank.method == "none":
        return None
    fingerprint = find_fingerprint(run, recipe.rerank)
    folder = run / "features" / split
    remake = remedy_file(folder, missing=True)
    compare_sizes(folder)  # of parts: whoever reads one compares its seal
    places = intact_file(folder, PLACES)
    return FeatureStore(folder, fingerprint, places=places, remake=remake)


def split_pool(run: Path) -> tuple[Embeddings, Embeddings]:
    """Return the two halves of the non-landmark pool: for penalties, and for setting the decision.

    An image in both would be its own penalty. The table is cut in the middle, as photos of one
    occasion mostly follow each other in it.
    """
    pool = load_split_embeddings(run, "non_landmark")
    middle = _find_middle(len(pool.ids))
    return pool.take(slice(0, middle)), pool.take(slice(middle, None))


def map_penalty_pool(run: Path) -> NDArray[np.float32]:
    """Return [P, V, dim] the vectors of the first half, as map_split_vectors."""
    pool = map_split_vectors(run, "non_landmark").vectors
    return pool[: _find_middle(len(pool))]


def _find_middle(count: int) -> int:
    return (count + 1) // 2


def open_retriever(
    run: Path,
    recipe: Recipe,
    fingerprint: str,
    names: dict[int, str] | None = None,
    *,
    changes: bool = True,
) -> Retriever:
    """Load the database of a run, its features and the pool.

    Args:
        run: run folder.
        recipe: of the run.
        fingerprint: of the model that describes the queries.
        names: of landmarks, as load_database takes them.
        changes: False for the database as it was indexed.

    Raises:
        MissingFileError: the run is not indexed.
        InputError: a file is damaged, or the parts of the run do not belong together.
    """
    database = load_database(run, fingerprint, names, changes=False)
    check_recipe(run, database.split, recipe)
    no_pool = np.empty((0, 1, database.images.dim), dtype=np.float32)
    indexed = Retriever(
        database,
        split_pool(run)[0].all_vectors if database.has_pool else no_pool,
        open_features(run, database.split, recipe),
        recipe,
    )
    return follow(run, indexed) if changes else indexed


def follow(run: Path, indexed: Retriever) -> Retriever:
    """Return what was opened without the changes of a run with them.

    Raises:
        InputError: a file of a change is damaged, or the recipe describes photos otherwise.
    """
    database, recipe = indexed.database, indexed.recipe

    def read(changes: Sequence[Change]) -> Retriever:
        if any(change.adds for change in changes):
            key = description_key(run, recipe, database.fingerprint)
            if any(change.adds and change.manifest.key != key for change in changes):
                raise InputError(
                    f"the photos added to {run} are described otherwise than its recipe says; "
                    f"describe them anew: cairn index --run {run}"
                )
        live = apply_changes(changes, database.rows, database.names)
        features = layer_features(indexed.features, live.added, run, recipe)
        return replace(indexed, database=follow_changes(database, live), features=features)

    return while_listed(run, read)


def layer_features(
    first: StoredFeatures | None, added: Sequence[AddedPhotos], run: Path, recipe: Recipe
) -> StoredFeatures | None:
    """Return the features of a database: of the index, and of the photos that were added."""
    if first is None or not added:
        return first
    fingerprint = find_fingerprint(run, recipe.rerank)
    layers = [
        (
            each,
            FeatureStore(
                each.change.folder,
                fingerprint,
                parts=each.change.parts("features"),
                remake=f"describe the photos anew: cairn index --run {run}",
            ),
        )
        for each in added
    ]
    return LayeredStore(first, layers)


def check_recipe(run: Path, split: str, recipe: Recipe) -> None:
    """Raise InputError if the recipe describes photos otherwise than those of a split were."""
    for folder, member in list_members(run, recipe).items():
        made = load_manifest(folder / "embeddings" / split)
        expected = {"embed": embed_settings(member.embed), "decode": decoding(recipe)}
        if made is None or made.settings != expected:
            raise InputError(
                f"the recipe in {run}/run.json describes photos otherwise than those in "
                f"{folder}/embeddings/{split} were; run `cairn index --run {run}`"
            )
