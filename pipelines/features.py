"""Local features of the images of a split, cached in the run folder.

Reads a split's images. Writes features/<split>/: part-*.parquet, failures.parquet, manifest.json.
Goes on after the last whole part of an interrupted run.
"""

import logging
import time
from pathlib import Path

from embed.decode import ImageError, decode_image
from embed.images import Failure
from embed.shards import read_shard_failures, shard_notes, write_failures
from rerank.features import FeatureExtractor, LocalFeatures
from rerank.store import write_features_part

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
from .parallel import run_parallel
from .prepare import build_extractor
from .progress import Advance, progress_bar

logger = logging.getLogger(__name__)
PART_SIZE = 512  # images in one file; the unit of resuming


def extract_split(job: Job, split: str) -> Manifest:
    """Extract the local features of a split's images, or return what is there."""
    folder = job.run / "features" / split
    table = job.dataset.load_split(split)
    extractor = build_extractor(job.recipe.rerank)
    settings = {"decode": job.recipe.decode.model_dump()}
    inputs = {split: hash_file(table.path), "extractor": extractor.fingerprint}
    key = make_key("features", settings, inputs)
    if done := find_complete(folder, key):
        logger.debug("features %s: done before", split)
        return done
    invalidate(folder)
    started = time.perf_counter()
    paths, failures = _write_parts(job, table, extractor, folder, key)
    with writing(folder / "failures.parquet") as temporary:
        write_failures(temporary, table.ids, failures)
    failed = len(failures)
    manifest = Manifest(
        stage="features",
        key=key,
        settings=settings,
        recipe=job.recipe_name,
        recipe_sha256=job.recipe.sha256,
        inputs=inputs,
        outputs=[record_file(path) for path in [*paths, folder / "failures.parquet"]],
        counts={"requested": len(table.ids), "written": len(table.ids) - failed, "failed": failed},
        seconds=time.perf_counter() - started,
    )
    save_manifest(manifest, folder)
    return manifest


def _write_parts(
    job: Job, table: ImageTable, extractor: FeatureExtractor, folder: Path, key: str
) -> tuple[list[Path], list[Failure]]:
    """Write the parts that are not there yet; return the files and the failures of all."""
    starts = range(0, len(table.ids), PART_SIZE)
    paths = [folder / f"part-{number:05d}.parquet" for number in range(len(starts))]
    for stray in set(folder.glob("part-*.parquet")) - set(paths):
        stray.unlink()
    failures: list[Failure] = []
    with progress_bar(f"features {table.path.stem}", len(table.ids)) as advance:
        for start, path in zip(starts, paths, strict=True):
            rows = range(start, min(start + PART_SIZE, len(table.ids)))
            known = read_shard_failures(path, key)
            if known is None:
                known = _write_one(job, extractor, table, rows, path, key, advance)
            else:
                advance(len(rows))
            failures += known
    return paths, failures


def _write_one(
    job: Job,
    extractor: FeatureExtractor,
    table: ImageTable,
    rows: range,
    path: Path,
    key: str,
    advance: Advance,
) -> list[Failure]:
    """Extract the features of some rows of the table and write their part."""

    def extract(row: int) -> LocalFeatures | Failure:
        image_path = job.dataset.image_path(table.ids[row])
        try:
            image = decode_image(
                image_path, min_side=job.recipe.rerank.max_side, max_pixels=job.max_pixels
            )
            return extractor.extract(image)
        except ImageError as error:
            return Failure(row, error.reason, str(error))
        finally:
            advance(1)

    results = run_parallel(extract, rows)
    failures = [result for result in results if isinstance(result, Failure)]
    found = {
        table.ids[row]: result
        for row, result in zip(rows, results, strict=True)
        if isinstance(result, LocalFeatures)
    }
    with writing(path) as temporary:
        write_features_part(
            temporary,
            list(found),
            list(found.values()),
            extractor.fingerprint,
            shard_notes(failures, key),
        )
    return failures
