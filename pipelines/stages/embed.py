"""Stage `embed`: images of one split to Parquet shards of global descriptors.

Reads model/ and a split's images. Writes embeddings/<split>/: part-*.parquet, images.parquet,
failures.parquet, manifest.json. Only images that no shard holds are described: after an interrupted
run, or when some were added. The members of an ensemble have their own; `embed_members` combines
what they say.
"""

from collections.abc import Sequence
from functools import cache

import pyarrow as pa

from embed.engine import Engine
from embed.extract import extract_all
from embed.failure import Failure
from embed.image_sizes import check_view_sizes
from embed.shards import make_rows
from embed.torch_engine import TorchEngine, pick_device
from embed.views import Views
from pipelines.answers.engines import open_engine, open_torch_engine
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.progress import Advance
from pipelines.runs.artifact import Artifact
from pipelines.runs.engines import pick_engine


def embed_table(artifact: Artifact, table: ImageTable, trained: Manifest) -> Manifest:
    """Describe the images of a table by a trained model.

    Raises:
        InputError: none of its images could be read.
    """
    job = artifact.job

    by = pick_engine(job.recipe.embed.engine, trained.model)
    described = {**trained.model, "described_by": by}

    @cache  # loaded only if a shard is missing
    def open_once() -> Engine:
        settings = job.recipe.embed
        views, engine = Views.of(settings), None
        if settings.engine != "auto" or pick_device().type == "cpu":
            engine, _ = open_engine(job.run, settings.engine, views)
        engine = engine or open_torch_engine(job.run)
        described["described_by"] = engine.name
        if isinstance(engine, TorchEngine):  # a graph has told what it takes
            check_view_sizes(engine.model, views)
        return engine

    def make_part(rows: Sequence[int], advance: Advance) -> tuple[pa.Table, list[Failure]]:
        ids = [table.ids[row] for row in rows]
        extracted = extract_all(
            open_once(),
            job.dataset.images.locate_all(ids),
            batch_size=job.recipe.embed.batch_size,
            max_pixels=job.max_pixels,
            workers=job.workers,
            min_side=artifact.settings["decode"]["min_side"],
            views=Views.of(job.recipe.embed),
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

    return artifact.write_parts(table, job.recipe.embed.shard_size, make_part, model=described)
