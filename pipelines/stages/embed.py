"""Stage `embed`: images of one split to Parquet shards of global descriptors.

Reads model/ and a split's images. Writes embeddings/<split>/: part-*.parquet, images.parquet,
failures.parquet, manifest.json. Only images that no shard holds are described: after an interrupted
run, or when some were added. The members of an ensemble have their own; `embed_members` combines
what they say.
"""

from collections.abc import Sequence
from functools import cache

import pyarrow as pa

from classify_head.trained_head import TrainedHead
from embed.extract import extract_all, pick_device
from embed.failure import Failure
from embed.image_sizes import check_view_sizes
from embed.model import DescriptorModel
from embed.shards import make_rows
from embed.views import Views
from pipelines.answers.stored_model import open_head, open_model
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.progress import Advance
from pipelines.runs.artifact import Artifact


def embed_table(artifact: Artifact, table: ImageTable, trained: Manifest) -> Manifest:
    """Describe the images of a table by a trained model.

    Raises:
        InputError: none of its images could be read.
    """
    job = artifact.job

    @cache  # loaded only if a shard is missing
    def open_both() -> tuple[DescriptorModel, TrainedHead]:
        device = pick_device()
        model, _ = open_model(job.run)
        check_view_sizes(model, Views.of(job.recipe.embed))
        return model.to(device), open_head(job.run, device)

    def make_part(rows: Sequence[int], advance: Advance) -> tuple[pa.Table, list[Failure]]:
        ids = [table.ids[row] for row in rows]
        model, classifier = open_both()
        extracted = extract_all(
            model,
            job.dataset.images.locate_all(ids),
            batch_size=job.recipe.embed.batch_size,
            max_pixels=job.max_pixels,
            workers=job.workers,
            min_side=artifact.settings["decode"]["min_side"],
            views=Views.of(job.recipe.embed),
            classifier=classifier,
            advance=advance,
            regions=job.recipe.embed.regions,
        )
        failures = [Failure(rows[f.position], f.reason, f.message) for f in extracted.failures]
        found = [ids[position] for position in extracted.positions]
        rows = make_rows(
            *(found, extracted.vectors, extracted.head, job.recipe.embed.dtype),
            regions=extracted.regions,
        )
        return rows, failures

    return artifact.write_parts(table, job.recipe.embed.shard_size, make_part, model=trained.model)
