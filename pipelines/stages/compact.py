"""Put the changes of a run into one: what was added and is still there, and what was removed.

Reads and writes changes/ of a run. Describes nothing: where the model is new, `redescribe` does.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embed.columns import read_parquet
from embed.errors import InputError
from embed.files import writing
from embed.parts import Part, join_rows, write_part
from embed.printable import printable
from pipelines.answers.live import AddedPhotos, Live, load_live
from pipelines.artifacts import Manifest, remedy
from pipelines.datasets.linking import link_file
from pipelines.runs.changes import (
    FAILURES,
    IMAGES,
    PHOTOS,
    REMOVED,
    Change,
    sign_change,
    writing_change,
    writing_journal,
)
from pipelines.runs.integrity import intact_file
from pipelines.runs.job import Job
from pipelines.runs.names import load_names
from rerank.store import ROWS_PER_GROUP

from .describe_photos import PART_SIZE, part_path
from .remove import make_plain_manifest, write_removed

logger = logging.getLogger(__name__)

MOST_CHANGES = 20  # from which they are put into one: opening reads some files of each


def compact(job: Job, *, least: int = 2) -> Change | None:
    """Put the changes of a run into one, if there are as many as `least`.

    Raises:
        MissingFileError: the run is not indexed.
        InputError: a file of a change is damaged, or some are described by another model.
    """
    with writing_journal(job.run) as changes:
        if len(changes) < least:
            return None
        live = load_live(job.run)
        if len({photos.change.manifest.key for photos in live.added}) > 1:
            raise InputError(
                f"the photos added to {job.run} are described by different models; describe them "
                f"anew: cairn index --run {job.run}"
            )

        def write_parts(folder: Path) -> Manifest:
            for kind in ("embeddings", "features"):
                _merge_parts(live.added, kind, folder)
            count = sum(len(photos.images) for photos in live.added)
            counts = {"requested": count, "written": count, "failed": 0}
            return replace(live.added[0].change.manifest, counts=counts, libraries={})

        return replace_changes(job, live, write_parts)


def replace_changes(job: Job, live: Live, write_parts: Callable[[Path], Manifest]) -> Change:
    """Write one change that stands for all there are.

    Args:
        job: of the run, whose journal is held.
        live: what the changes add and remove.
        write_parts: writes embeddings and features of the added photos into a folder and returns
            the manifest; not called where no photo was added.
    """
    with writing_change(job.run) as folder:
        manifest = make_plain_manifest(job)
        if live.added:
            (folder / PHOTOS).mkdir()
            for photos in live.added:
                for file in (file for _, file in photos.list_files() if file is not None):
                    link_file(file, folder / PHOTOS / file.name)
            with writing(folder / IMAGES) as temporary:
                tables = [photos.images for photos in live.added]
                pq.write_table(pa.concat_tables(tables), temporary)
            manifest = write_parts(folder)
        _join_tables(live.changes, FAILURES, folder)
        if ids := _list_removed(live.changes):
            write_removed(ids, np.ones(len(ids), dtype=np.bool_), folder / REMOVED)
        used, known = {*live.table.landmarks.tolist()}, load_names(job.run)
        names = {n: name for n, name in live.names.items() if n in used and known.get(n) != name}
        return sign_change(folder, manifest, names=names, replaces=live.changes)


def compact_if_many(job: Job) -> None:
    """Put changes into one where there are many; that it cannot be done is a warning."""
    try:
        if compact(job, least=MOST_CHANGES):
            logger.info("%d changes of %s were put into one", MOST_CHANGES, job.run)
    except (InputError, OSError) as error:
        logger.warning("the changes of %s stay apart: %s", job.run, printable(str(error)))


def _merge_parts(added: Sequence[AddedPhotos], kind: str, folder: Path) -> None:
    """Write the parts of photos of several changes anew; those that are full stay as they are."""
    number, waiting, count = 0, list[pa.Table](), 0

    def write(tables: Sequence[pa.Table], key: str) -> None:
        nonlocal number
        group_rows = ROWS_PER_GROUP if kind == "features" else None
        with writing(part_path(folder, kind, number)) as temporary:
            write_part(temporary, join_rows(tables), {}, key, group_rows=group_rows)
        number += 1

    key = added[0].change.manifest.key
    for photos in added:
        ids = photos.images["image_id"].to_pylist()
        for path in photos.change.parts(kind):
            part = Part.find(path, key)
            if part is None:
                raise InputError(f"{path} is damaged; {remedy(photos.change.folder)}")
            rows, _ = part.take(ids)
            if len(rows) == len(part.ids) > PART_SIZE // 2:
                link_file(path, part_path(folder, kind, number))
                number += 1
                continue
            if count + len(rows) > PART_SIZE:
                write(waiting, key)
                waiting, count = [], 0
            waiting.append(rows)
            count += len(rows)
    if waiting:
        write(waiting, key)


def _list_removed(changes: Sequence[Change]) -> pa.Array:
    """Return the photos of the index that changes removed."""
    found = [pa.array([], pa.string())]
    for change in changes:
        if change.removes:
            listed = read_parquet(intact_file(change.folder, REMOVED))
            found += listed["image_id"].filter(listed["in_index"]).chunks
    return pc.unique(pa.concat_arrays(found))


def _join_tables(changes: Sequence[Change], name: str, folder: Path) -> None:
    """Write the rows that a file has in any of the changes."""
    with_file = [change.folder for change in changes if change.has(name)]
    if with_file:
        tables = [read_parquet(intact_file(place, name)) for place in with_file]
        with writing(folder / name) as temporary:
            pq.write_table(pa.concat_tables(tables), temporary)
