"""Stage `index`: embeddings of the database split to what is searched.

Reads embeddings/, part by part: memory does not grow with the database beyond search.memory. Writes
index/: vectors.npy (see index.base), rows.arrow (see index.rows), index.faiss where index.plan
chooses one, whitening.safetensors and landmark_head.json where the recipe asks for them,
manifest.json.
"""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.landmark_head import LEAST_IMAGES, cross_fit
from embed.files import writing
from index.base import INDEX
from index.plan import plan_index
from index.rows import ROWS, RowTable
from pipelines.answers.database import LANDMARK_HEAD, WHITENING
from pipelines.answers.open_run import map_penalty_pool, map_split_vectors
from pipelines.artifacts import Manifest, invalidate, record_file, write_json
from pipelines.runs.artifact import Artifact
from pipelines.runs.job import Job

from .fit_search import fit_search

logger = logging.getLogger(__name__)


def index_database(artifact: Artifact, embedded: Manifest) -> Manifest:
    """Write index/ from the embeddings of the database split.

    Raises:
        InputError: whitening shall keep more dimensions than there are, or plan_index refuses.
    """
    job, folder = artifact.job, artifact.folder
    recipe, database = job.recipe, map_split_vectors(job.run, job.dataset.database_split)
    vectors = database.vectors
    pool = vectors[:0]
    asked = recipe.decide.landmark_head or vectors.shape[1] > 1
    if asked and job.dataset.find_table("non_landmark") is not None:
        # The second half of the pool is not learned from: it sets the decision.
        pool = map_penalty_pool(job.run)
    whitening, base = fit_search(
        vectors, database.landmark_ids, recipe.search, pool=pool, folder=job.run
    )
    base, report = plan_index(
        base.exact, recipe.search, neighbors=recipe.search.neighbors, folder=job.run
    )
    logger.info("%s", report)
    invalidate(folder)  # not before: what cannot be had leaves what there is
    _fit_landmark_head(job, vectors[:, 0], pool[:, 0], folder / LANDMARK_HEAD)
    (folder / WHITENING).unlink(missing_ok=True)  # where it is, it is applied
    if whitening is not None:
        with writing(folder / WHITENING) as temporary:
            whitening.save(temporary)
    (folder / INDEX).unlink(missing_ok=True)  # of another plan
    searched = base.save(folder)
    RowTable.build(database.ids, database.landmark_ids).save(folder / ROWS)
    count = len(database.ids)
    written = (*searched, ROWS, WHITENING, LANDMARK_HEAD)
    outputs = [folder / name for name in written if (folder / name).is_file()]
    return artifact.sign(
        [record_file(path, count) for path in outputs],
        model=embedded.model,
        counts={"requested": count, "written": count, "failed": 0},
        details={"index": report.to_json()},
    )


def _fit_landmark_head(
    job: Job, vectors: NDArray[np.float32], others: NDArray[np.float32], path: Path
) -> None:
    """Fit the landmark head on descriptors [N, dim] and [P, dim] as embedded, or do nothing."""
    path.unlink(missing_ok=True)
    if job.recipe.decide.landmark_head:
        write_landmark_head(vectors, others, path)


def write_landmark_head(
    landmarks: NDArray[np.float32], others: NDArray[np.float32], path: Path
) -> None:
    """Fit a landmark head and write it; of too few images of either kind none is written.

    That is a warning, not an error: a recipe is made for datasets with and without a pool, and what
    cannot do without the head says so.

    Args:
        landmarks: [N, dim] descriptors of the database as embedded, in the order of its rows.
        others: [P, dim] those of the first half of the non-landmark pool.
        path: of the file.

    Raises:
        ValueError: descriptors of different lengths or not finite.
    """
    if min(len(landmarks), len(others)) < LEAST_IMAGES:
        logger.warning(
            "no landmark head: %d photos in the database and %d in the half of non_landmark that "
            "it may learn from, it needs %d of each; list %d or more in non_landmark.csv",
            *(len(landmarks), len(others), LEAST_IMAGES, 2 * LEAST_IMAGES),
        )
        return
    write_json(cross_fit(landmarks, others).to_json(), path)
