"""Stage `index`: embeddings of the database split to a search index.

Reads embeddings/<database split>/. Writes index/: index.faiss, ids.parquet (row, image_id,
landmark_id, name), manifest.json.
"""

import logging
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index.search import build_index, save_index

from .artifacts import (
    Manifest,
    find_complete,
    hash_values,
    invalidate,
    make_key,
    record_file,
    save_manifest,
    writing,
)
from .embed import embed_split, load_split_embeddings
from .job import Job

logger = logging.getLogger(__name__)


def index_database(job: Job) -> Manifest:
    """Index the database split, or return what is there; embeds it if need be."""
    split = job.dataset.database_split
    embedded = embed_split(job.without_redo(), split)
    folder = job.run / "index"
    inputs = {split: embedded.key, "names": _hash_names(job)}
    key = make_key("index", {}, inputs)
    if (done := find_complete(folder, key)) and not job.redo:
        logger.info("index: done before")
        return done
    invalidate(folder)
    started = time.perf_counter()
    embeddings = load_split_embeddings(job.run, split)
    with writing(folder / "index.faiss") as temporary:
        save_index(build_index(embeddings.vectors), temporary)
    names = [job.dataset.names.get(int(label), "") for label in embeddings.landmark_ids]
    with writing(folder / "ids.parquet") as temporary:
        _write_ids(temporary, embeddings.ids, embeddings.landmark_ids, names)
    count = len(embeddings.ids)
    manifest = Manifest(
        stage="index",
        key=key,
        settings={},
        recipe=job.recipe_name,
        recipe_sha256=job.recipe.sha256,
        inputs=inputs,
        outputs=[record_file(folder / name, count) for name in ("index.faiss", "ids.parquet")],
        model=embedded.model,
        counts={"requested": count, "written": count, "failed": 0},
        seconds=time.perf_counter() - started,
    )
    save_manifest(manifest, folder)
    return manifest


def _write_ids(
    path: Path, ids: tuple[str, ...], landmark_ids: NDArray[np.int64], names: list[str]
) -> None:
    table = pa.table(
        {
            "row": np.arange(len(ids)),
            "image_id": pa.array(ids, pa.string()),
            "landmark_id": landmark_ids,
            "name": pa.array(names, pa.string()),
        }
    )
    pq.write_table(table, path)


def _hash_names(job: Job) -> str:
    return hash_values({str(label): name for label, name in job.dataset.names.items()})
