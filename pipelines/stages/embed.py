"""Stage `embed`: images of one split to Parquet shards of global descriptors.

Reads model/ and a split's images. Writes embeddings/<split>/: part-*.parquet, failures.parquet,
manifest.json. Goes on after the last whole shard of an interrupted run. The members of an ensemble
have their own; what they say is combined.
"""

from functools import cache
from pathlib import Path

from classify_head.trained_head import HEAD_FILE, TrainedHead
from embed.extract import extract_all, pick_device
from embed.failure import Failure
from embed.files import writing
from embed.image_sizes import check_view_sizes
from embed.model import DescriptorModel
from embed.shards import Embeddings, write_shard
from embed.views import Views
from pipelines.answers.stored_model import open_head, open_model
from pipelines.artifacts import Manifest, hash_file
from pipelines.datasets.dataset import ImageTable
from pipelines.progress import Advance
from pipelines.runs.artifact import Artifact
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs

from .embed_members import combine_members
from .train import train


def embed_split(job: Job, split: str) -> Manifest:
    """Describe every image of a split, or return what is there; trains the model if need be.

    Raises:
        FileNotFoundError: the dataset has no such split.
        ValueError: none of its images could be read.
    """
    table = job.dataset.load_split(split)
    return embed_table(job, split, table, hash_file(table.path))


def hash_head(trained: Manifest) -> str:
    """Return the sha256 of the classification head of a trained model."""
    return next(record.sha256 for record in trained.outputs if record.name == HEAD_FILE)


def embed_table(job: Job, name: str, table: ImageTable, table_hash: str) -> Manifest:
    """Describe the images of a table under a name; as embed_split."""
    trained = train(job.without_redo())
    if job.recipe.ensemble.members:
        members = list_member_jobs(job)
        made = [embed_table(member, name, table, table_hash) for member in members]
        return combine_members(job, name, table, table_hash, made)
    artifact = Artifact(
        job,
        "embed",
        job.run / "embeddings" / name,
        {"embed": job.recipe.embed.model_dump(), "decode": job.recipe.decode.model_dump()},
        {name: table_hash, "model": str(trained.model["fingerprint"]), "head": hash_head(trained)},
        redo=job.redo,
    )
    if done := artifact.find():
        return done

    @cache  # loaded only if a shard is missing
    def open_both() -> tuple[DescriptorModel, TrainedHead]:
        device = pick_device()
        model, _ = open_model(job.run)
        check_view_sizes(model, Views.of(job.recipe.embed))
        return model.to(device), open_head(job.run, device)

    def write_part(rows: range, path: Path, advance: Advance) -> list[Failure]:
        ids = table.ids[rows.start : rows.stop]
        model, classifier = open_both()
        extracted = extract_all(
            model,
            job.dataset.images.locate_all(ids),
            batch_size=job.recipe.embed.batch_size,
            max_pixels=job.max_pixels,
            workers=job.workers,
            views=Views.of(job.recipe.embed),
            classifier=classifier,
            advance=advance,
        )
        failures = [
            Failure(f.position + rows.start, f.reason, f.message) for f in extracted.failures
        ]
        embeddings = Embeddings(
            tuple(ids[position] for position in extracted.positions),
            table.landmark_ids[rows.start : rows.stop][extracted.positions],
            extracted.vectors,
            extracted.head,
        )
        with writing(path) as temporary:
            write_shard(
                temporary, embeddings, failures, dtype=job.recipe.embed.dtype, key=artifact.key
            )
        return failures

    return artifact.write_parts(table, job.recipe.embed.shard_size, write_part, model=trained.model)
