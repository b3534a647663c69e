"""Stage `embed`: images of one split to Parquet shards of global descriptors.

Reads model/ and a split's images. Writes embeddings/<split>/: part-*.parquet, failures.parquet,
manifest.json. Goes on after the last whole shard of an interrupted run.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embed.extract import extract_all, pick_device
from embed.images import Failure
from embed.model import DescriptorModel, load_model
from embed.shards import (
    Embeddings,
    read_shard_failures,
    write_failures,
    write_shard,
)

from .artifacts import (
    Manifest,
    find_complete,
    hash_file,
    invalidate,
    make_key,
    record_file,
    save_manifest,
    writing,
)
from .dataset import ImageTable
from .job import Job
from .progress import Advance, progress_bar
from .train import train

logger = logging.getLogger(__name__)


def embed_split(job: Job, split: str) -> Manifest:
    """Describe every image of a split, or return what is there; trains the model if need be.

    Raises:
        FileNotFoundError: the dataset has no such split.
        ValueError: none of its images could be read.
    """
    model_manifest = train(job.without_redo())
    folder = job.run / "embeddings" / split
    table = job.dataset.load_split(split)
    settings = {"embed": job.recipe.embed.model_dump(), "decode": job.recipe.decode.model_dump()}
    fingerprint = str(model_manifest.model["fingerprint"])
    inputs = {split: hash_file(table.path), "model": fingerprint}
    key = make_key("embed", settings, inputs)
    if (done := find_complete(folder, key)) and not job.redo:
        logger.debug("embed %s: done before", split)
        return done
    invalidate(folder)
    started = time.perf_counter()
    paths, failures = _write_shards(job, table, folder, key)
    with writing(folder / "failures.parquet") as temporary:
        write_failures(temporary, table.ids, failures)
    written = len(table.ids) - len(failures)
    if not written:
        for path in paths:  # nothing is in them, and the same command shall look again
            path.unlink()
        raise ValueError(
            f"none of the {len(table.ids)} images of {table.path} could be read; "
            f"the first: {failures[0].message}"
        )
    if failures:
        logger.warning(
            "embed %s: %d of %d images could not be read; %s says why, the first: %s",
            *(split, len(failures), len(table.ids), folder / "failures.parquet"),
            failures[0].message,
        )
    outputs = [record_file(path) for path in [*paths, folder / "failures.parquet"]]
    manifest = Manifest(
        stage="embed",
        key=key,
        settings=settings,
        recipe=job.recipe_name,
        recipe_sha256=job.recipe.sha256,
        inputs=inputs,
        outputs=outputs,
        model=model_manifest.model,
        counts={"requested": len(table.ids), "written": written, "failed": len(failures)},
        seconds=time.perf_counter() - started,
    )
    save_manifest(manifest, folder)
    return manifest


def _write_shards(
    job: Job, table: ImageTable, folder: Path, key: str
) -> tuple[list[Path], list[Failure]]:
    """Write the shards that are not there yet; return the files and the failures of all."""
    size = job.recipe.embed.shard_size
    starts = range(0, len(table.ids), size)
    paths = [folder / f"part-{number:05d}.parquet" for number in range(len(starts))]
    for stray in set(folder.glob("part-*.parquet")) - set(paths):
        stray.unlink()
    failures: list[Failure] = []
    model: DescriptorModel | None = None
    with progress_bar(f"embed {table.path.stem}", len(table.ids)) as advance:
        for start, path in zip(starts, paths, strict=True):
            rows = range(start, min(start + size, len(table.ids)))
            known = None if job.redo else read_shard_failures(path, key)
            if known is None:
                model = model or load_model(job.run / "model")[0].to(pick_device())
                known = _write_one(job, model, table, rows, path, key, advance)
            else:
                advance(len(rows))
            failures += known
    return paths, failures


def _write_one(
    job: Job,
    model: DescriptorModel,
    table: ImageTable,
    rows: range,
    path: Path,
    key: str,
    advance: Advance,
) -> list[Failure]:
    """Describe the images of some rows of the table and write their shard."""
    ids: Sequence[str] = table.ids[rows.start : rows.stop]
    positions, vectors, failed = extract_all(
        model,
        [job.dataset.image_path(image_id) for image_id in ids],
        batch_size=job.recipe.embed.batch_size,
        max_pixels=job.max_pixels,
        workers=job.workers,
        advance=advance,
    )
    failures = [Failure(f.position + rows.start, f.reason, f.message) for f in failed]
    embeddings = Embeddings(
        tuple(ids[position] for position in positions),
        table.landmark_ids[rows.start : rows.stop][positions].astype(np.int64),
        vectors,
    )
    with writing(path) as temporary:
        write_shard(temporary, embeddings, failures, dtype=job.recipe.embed.dtype, key=key)
    return failures
