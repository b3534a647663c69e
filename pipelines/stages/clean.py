"""Stage `clean`: a dataset whose training images are confirmed by others of their class.

Reads the embeddings and features of a run's training set.
Writes clean/ of the run: part-*.parquet, images.parquet, failures.parquet, manifest.json; and a
dataset folder.
Goes on after the last whole part of an interrupted run. `rerank.cleaning` has the rule.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.columns import find_places
from embed.errors import InputError
from embed.meter import Meter
from embed.parallel import run_parallel
from embed.shards import Embeddings, read_failures
from index.base import BaseIndex
from pipelines.answers.open_run import load_split_embeddings, open_features
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.datasets.derive import read_rows, separate_rows, write_derived
from pipelines.datasets.origin import claim
from pipelines.runs.artifact import Artifact
from pipelines.runs.integrity import intact_file, intact_parts
from pipelines.runs.job import Job
from pipelines.runs.parts import Rows
from rerank.cleaning import (
    CleaningSettings,
    count_inliers,
    count_verified,
    keep_classes,
    keep_images,
    same_label_candidates,
)
from rerank.features import LocalFeatures
from rerank.settings import VERIFICATION

logger = logging.getLogger(__name__)

PART_SIZE = 512  # images in one file; the unit of resuming
MIN_CLASS = 2  # images that a class needs: one has no pair to learn from


@dataclass(frozen=True)
class CleaningResult:
    """How much of a training set was kept."""

    images: int
    of_images: int
    landmarks: int
    of_landmarks: int


def claim_folder(job: Job, folder: Path) -> None:
    """Take a folder for the clean dataset, before the long work.

    Args:
        job: names the dataset and the run.
        folder: the dataset folder to write: new, or one cleaned from the same dataset before.

    Raises:
        InputError: the folder holds another dataset, or the recipe has no local features.
    """
    if job.recipe.rerank.method == "none":
        raise InputError(
            f'the recipe {job.recipe_name} has rerank.method = "none", but images are verified by '
            "local features; name the run of another recipe"
        )
    if job.dataset.find_table("variants"):
        logger.warning(
            "%s holds variants of photos, which confirm the photos they were made of; clean the "
            "dataset that it was balanced from",
            job.data,
        )
    claim(folder, _origin(job))


def write_clean(job: Job, folder: Path, settings: CleaningSettings) -> CleaningResult:
    """Write a dataset folder without the training images that their class does not confirm.

    Every training image goes to train.csv or, with its reason, to rejected.csv. The other tables
    stay as they are, the images are shared. The job's own dataset is not touched.

    Args:
        job: whose training images are verified.
        folder: the dataset folder to write.
        settings: what an image needs to be kept.

    Raises:
        InputError: no image would be kept.
    """
    rejected = _find_rejected(job, settings)
    table = job.dataset.load_split("train")
    kept = np.array([image_id not in rejected for image_id in table.ids])
    if not kept.any():
        raise InputError(
            f"none of the {len(kept)} images of {table.path} would be kept, with "
            f"{_describe(settings)}"
        )
    taken, left_out = separate_rows(read_rows(table.path), rejected)
    write_derived(job.dataset, folder, {"train": taken, "rejected": left_out}, _origin(job))
    if kept.mean() < 0.5:
        logger.warning(
            "more than half of the training images are left out, with %s", _describe(settings)
        )
    landmarks = [len(np.unique(ids)) for ids in (table.landmark_ids[kept], table.landmark_ids)]
    return CleaningResult(int(kept.sum()), len(kept), *landmarks)


def _origin(job: Job) -> dict[str, str]:
    return {"cleaned from": str(job.data.resolve())}


def _describe(settings: CleaningSettings) -> str:
    return (
        f"{settings.min_images} images of {settings.min_inliers} inliers asked for; "
        "lower --min-verified or --min-inliers"
    )


def verify_training(
    job: Job, settings: CleaningSettings, embedded: Manifest, extracted: Manifest
) -> Manifest:
    """Count the inliers of each training image and its candidates, or return what is there.

    Args:
        job: of the run.
        settings: which candidates are verified.
        embedded: the embeddings of the training images.
        extracted: their local features.
    """
    geometry = job.recipe.rerank
    artifact = Artifact(
        job,
        "clean",
        job.run / "clean",
        {"cleaning": asdict(settings), "verification": geometry.model_dump(include=VERIFICATION)},
        {"train": embedded.content, "features train": extracted.content},
    )
    if done := artifact.find():
        return done
    images = load_split_embeddings(job.run, "train")
    store = open_features(job.run, "train", job.recipe)
    assert store is not None  # the recipe names a method
    index = BaseIndex.build(images.vectors)

    def load(rows: NDArray[np.int64]) -> Iterator[LocalFeatures]:
        found = (store.get(images.ids[row]) for row in rows if row >= 0)
        return (features for features in found if features is not None)

    def make_part(rows: Sequence[int], meter: Meter) -> Rows:
        ids = [images.ids[row] for row in rows]
        # One more than asked for: the nearest of all is mostly the image itself.
        found = index.search(images.vectors[rows], settings.neighbors + 1)
        candidates = same_label_candidates(
            images.landmark_ids, np.array(rows), found.rows, settings.candidates
        )

        near_rows = dict(zip(rows, candidates, strict=True))

        def verify(row: int) -> list[int]:
            features = store.get(images.ids[row])
            near = load(near_rows[row])
            inliers = count_inliers(features, near, geometry, settings) if features else []
            meter.advance(1)
            return inliers

        padded = _pad(run_parallel(verify, rows), settings.candidates)
        return _inlier_rows(ids, padded), []  # what cannot be read was said when it was embedded

    table = ImageTable(job.dataset.load_split("train").path, images.ids, images.landmark_ids)
    return artifact.write_parts(
        table, PART_SIZE, lambda parts, meter: (make_part(rows, meter) for rows in parts)
    )


def _pad(rows: list[list[int]], width: int) -> NDArray[np.int32]:
    """Return lists of at most width numbers as [n, width], padded with -1."""
    padded = np.full((len(rows), width), -1, dtype=np.int32)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _inlier_rows(ids: Sequence[str], inliers: NDArray[np.int32]) -> pa.Table:
    """Return rows of image_id, and inliers [width] of its candidates, nearest first."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(inliers.ravel()), inliers.shape[1])
    return pa.table({"image_id": pa.array(ids, pa.string()), "inliers": column})


def _read_inliers(folder: Path, ids: Sequence[str]) -> NDArray[np.int32]:
    """Return the inliers [N, width] of images."""
    table = pa.concat_tables([pq.read_table(path) for path in intact_parts(folder)])
    column = table["inliers"].combine_chunks()
    rows = find_places(pa.array(ids, pa.string()), table["image_id"])
    return np.asarray(column.flatten()).reshape(len(table), -1)[rows]


def _find_rejected(job: Job, settings: CleaningSettings) -> dict[str, str]:
    """Return why each training image that is not kept is left out, by its id."""
    images = load_split_embeddings(job.run, "train")
    inliers = _read_inliers(job.run / "clean", images.ids)
    rejected = explain_rejected(images, inliers, settings)
    for kind in ("features", "embeddings"):
        failures = read_failures(intact_file(job.run / kind / "train", "failures.parquet"))
        rejected |= {i: f"cannot be read: {message}" for i, (_, message) in failures.items()}
    return rejected


def explain_rejected(
    images: Embeddings, inliers: NDArray[np.int32], settings: CleaningSettings
) -> dict[str, str]:
    """Return why each image is left out that could be read and is not kept, by its id."""
    confirmed = keep_images(inliers, settings.min_images, settings.min_inliers)
    kept = keep_classes(images.landmark_ids, confirmed, MIN_CLASS)
    verified = count_verified(inliers, settings.min_inliers)
    few = "few verified neighbours: {} of {} needed"
    return {
        images.ids[row]: "class of one image left"
        if confirmed[row]
        else few.format(verified[row], settings.min_images)
        for row in np.flatnonzero(~kept)
    }
