"""Local features of the images of a split, cached in the run folder.

Reads a split's images. Writes features/<split>/: part-*.parquet, failures.parquet, manifest.json.
Goes on after the last whole part of an interrupted run.
"""

from pathlib import Path

from embed.decode import ImageError, decode_image
from embed.images import Failure
from embed.shards import shard_notes
from rerank.features import LocalFeatures
from rerank.store import write_features_part

from .artifacts import Manifest, hash_file, writing
from .job import Job
from .parallel import run_parallel
from .prepare import build_extractor
from .progress import Advance
from .stage import Artifact

PART_SIZE = 512  # images in one file; the unit of resuming


def extract_split(job: Job, split: str) -> Manifest:
    """Extract the local features of a split's images, or return what is there.

    Raises:
        FileNotFoundError: the dataset has no such split.
        ValueError: none of its images could be read.
    """
    table = job.dataset.load_split(split)
    extractor = build_extractor(job.recipe.rerank)
    artifact = Artifact(
        job,
        "features",
        job.run / "features" / split,
        {"decode": job.recipe.decode.model_dump()},
        {split: hash_file(table.path), "extractor": extractor.fingerprint},
        redo=job.redo,
    )
    if done := artifact.find():
        return done

    def write_part(rows: range, path: Path, advance: Advance) -> list[Failure]:
        def extract(row: int) -> LocalFeatures | Failure:
            image_path = job.dataset.image_path(table.ids[row])
            side = job.recipe.rerank.max_side
            try:
                image = decode_image(image_path, min_side=side, max_pixels=job.max_pixels)
                return extractor.extract(image)
            except ImageError as error:
                return Failure(row, error.reason, str(error))
            finally:
                advance(1)

        results = dict(zip(rows, run_parallel(extract, rows), strict=True))
        failures = [result for result in results.values() if isinstance(result, Failure)]
        found = {
            table.ids[row]: result
            for row, result in results.items()
            if isinstance(result, LocalFeatures)
        }
        notes = shard_notes(failures, artifact.key)
        with writing(path) as temporary:
            write_features_part(
                temporary, list(found), list(found.values()), extractor.fingerprint, notes
            )
        return failures

    return artifact.write_parts(table, PART_SIZE, write_part)
