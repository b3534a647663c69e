"""Stage `embed`: images of one split to Parquet shards of global descriptors.

Reads model/ and a split's images. Writes embeddings/<split>/: part-*.parquet, failures.parquet,
manifest.json. Goes on after the last whole shard of an interrupted run.
"""

from functools import cache
from pathlib import Path

from embed.extract import Views, extract_all, pick_device
from embed.failure import Failure
from embed.model import DescriptorModel, load_model
from embed.shards import Embeddings, write_shard

from .artifacts import Manifest, hash_file, writing
from .dataset import ImageTable
from .job import Job
from .progress import Advance
from .stage import Artifact
from .train import train


def embed_split(job: Job, split: str) -> Manifest:
    """Describe every image of a split, or return what is there; trains the model if need be.

    Raises:
        FileNotFoundError: the dataset has no such split.
        ValueError: none of its images could be read.
    """
    table = job.dataset.load_split(split)
    return embed_table(job, split, table, hash_file(table.path))


def embed_table(job: Job, name: str, table: ImageTable, table_hash: str) -> Manifest:
    """Describe the images of a table under a name; as embed_split."""
    trained = train(job.without_redo())
    artifact = Artifact(
        job,
        "embed",
        job.run / "embeddings" / name,
        {"embed": job.recipe.embed.model_dump(), "decode": job.recipe.decode.model_dump()},
        {name: table_hash, "model": str(trained.model["fingerprint"])},
        redo=job.redo,
    )
    if done := artifact.find():
        return done

    @cache  # loaded only if a shard is missing
    def model() -> DescriptorModel:
        return load_model(job.run / "model")[0].to(pick_device())

    def write_part(rows: range, path: Path, advance: Advance) -> list[Failure]:
        ids = table.ids[rows.start : rows.stop]
        positions, vectors, failed = extract_all(
            model(),
            job.dataset.images.locate_all(ids),
            batch_size=job.recipe.embed.batch_size,
            max_pixels=job.max_pixels,
            workers=job.workers,
            views=Views(job.recipe.embed.scales, job.recipe.embed.flip),
            advance=advance,
        )
        failures = [Failure(f.position + rows.start, f.reason, f.message) for f in failed]
        labels = table.landmark_ids[rows.start : rows.stop][positions]
        embeddings = Embeddings(tuple(ids[p] for p in positions), labels, vectors)
        with writing(path) as temporary:
            write_shard(
                temporary, embeddings, failures, dtype=job.recipe.embed.dtype, key=artifact.key
            )
        return failures

    return artifact.write_parts(table, job.recipe.embed.shard_size, write_part, model=trained.model)
