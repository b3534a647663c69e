"""Remove photos from the database of a run, in one change that is seen whole or not at all.

Reads which photos there are. Writes one change of the journal. Imports neither torch, OpenVINO nor
faiss: nothing is described or searched.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.errors import NotFoundError, RequestError
from embed.files import writing
from embed.printable import printable
from index.rows import RowTable
from pipelines.answers.live import Live, load_live
from pipelines.artifacts import Manifest, make_key
from pipelines.datasets.naming import MAX_ID
from pipelines.runs.changes import (
    REMOVED,
    STAGE,
    Change,
    sign_change,
    writing_change,
    writing_journal,
)
from pipelines.runs.job import Job

from .labelling import suggest_near

LOOKED_AT = 10_000  # ids that start like one that is not there, of which the nearest are named
NAMED = 3


@dataclass(frozen=True)
class Removal:
    """What was removed."""

    change: Change
    counts: dict[int, int]  # photos by landmark
    left: dict[int, int]  # photos that the database still has of each of these landmarks


def remove_photos(
    job: Job, labels: Sequence[int], image_ids: Sequence[str], advice: str = ""
) -> Removal:
    """Remove all photos of some landmarks, and some photos.

    Args:
        job: of the run.
        labels: of the landmarks.
        image_ids: of the photos.
        advice: what says which landmarks there are.

    Raises:
        MissingFileError: the run is not indexed.
        NotFoundError: a landmark or a photo is not in the database.
        RequestError: nothing would be left.
    """
    with writing_journal(job.run):
        live = load_live(job.run)
        rows = _find_rows(live, labels, image_ids, advice)
        table = live.table
        if len(rows) == len(table.by_landmark):
            raise RequestError(
                "that is all that the database has; leave a photo, or add others first"
            )
        with writing_change(job.run) as folder:
            # An added photo may hide one of the index that has its id.
            in_index = live.indexed.rows_of(table.ids(rows)) >= 0
            write_removed(table.ids(rows), in_index, folder / REMOVED)
            change = sign_change(folder, make_plain_manifest(job))
    found, counts = np.unique(table.landmark_ids[rows], return_counts=True)
    removed = dict(zip(found.tolist(), counts.tolist(), strict=True))
    sizes = table.class_sizes(found).tolist()
    left = {n: size - removed[n] for n, size in zip(found.tolist(), sizes, strict=True)}
    return Removal(change, removed, left)


def make_plain_manifest(job: Job) -> Manifest:
    """Return the manifest of a change that adds nothing, as sign_change takes it."""
    return Manifest(
        stage=STAGE,
        key=make_key(STAGE, {}, {}),
        settings={},
        recipe=Path(job.recipe_name).stem,
        recipe_sha256=job.recipe.sha256,
        inputs={},
        outputs=[],
    )


def write_removed(
    image_ids: pa.Array | pa.ChunkedArray, in_index: NDArray[np.bool_], path: Path
) -> None:
    """Write removed.parquet of a change.

    Args:
        image_ids: [n] of the photos that are removed.
        in_index: [n] whether index/ has them; a photo that was added and removed may come back with
            the dataset.
        path: of the file.
    """
    columns = {"image_id": pc.cast(image_ids, pa.string()), "in_index": pa.array(in_index)}
    with writing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _find_rows(
    live: Live, labels: Sequence[int], image_ids: Sequence[str], advice: str
) -> NDArray[np.int64]:
    """Return the rows of all photos of some landmarks, and of some photos."""
    table = live.table
    for label in labels:
        if not len(table.rows_of_landmark(label)):
            near = suggest_near(label, table.landmarks.tolist(), live.names)
            message = f"the database has no photo of landmark {label}; {near}"
            raise NotFoundError(f"{message}; {advice}" if advice else message)
    rows = table.rows_of(image_ids)
    for place in np.flatnonzero(rows < 0)[:1].tolist():
        wrong = image_ids[place][:MAX_ID]
        near = _suggest_ids(wrong, table)
        raise NotFoundError(f"the database has no photo '{printable(wrong)}'; {near}")
    of_labels = [table.rows_of_landmark(label) for label in labels]
    return np.unique(np.concatenate([rows, *of_labels]))


def _suggest_ids(wrong: str, table: RowTable) -> str:
    """Name photos whose ids are like one that is not there."""
    ids = table.ids(table.by_landmark)
    for length in range(len(wrong), -1, -1):
        starts = ids.filter(pc.starts_with(ids, wrong[:length]))
        if len(starts):
            some = starts.slice(0, LOOKED_AT).to_pylist()
            near = difflib.get_close_matches(wrong, some, n=NAMED, cutoff=0) or some[:NAMED]
            return f"there are {', '.join(map(printable, near))}"
    return "there is none"
