"""Stage `embed`: images of one split to Parquet shards of global descriptors.

Reads model/ and a split's images. Writes embeddings/<split>/: part-*.parquet, images.parquet,
failures.parquet, manifest.json. Only images that no shard holds are described: after an interrupted
run, or when some were added; the next are decoded and described while a part is written. The
members of an ensemble have their own; `embed_members` combines what they say.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import chain

from embed.engine import Engine
from embed.extract import extract_parts
from embed.image_sizes import check_view_sizes
from embed.meter import Meter
from embed.parallel import count_cores
from embed.shards import make_rows
from embed.torch_engine import TorchEngine, pick_device
from embed.views import Views
from pipelines.answers.engines import open_engine, open_torch_engine
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.runs.artifact import Artifact
from pipelines.runs.engines import pick_engine
from pipelines.runs.parts import Rows


def embed_table(artifact: Artifact, table: ImageTable, trained: Manifest) -> Manifest:
    """Describe the images of a table by a trained model.

    Raises:
        InputError: none of its images could be read.
    """
    job = artifact.job

    by = pick_engine(job.recipe.embed.engine, trained.model)
    described = {**trained.model, "described_by": by}

    def open_described_by() -> Engine:
        settings = job.recipe.embed
        views, engine = Views.of(settings), None
        if settings.engine != "auto" or pick_device().type == "cpu":
            engine, _ = open_engine(job.run, settings.engine, views, streams=count_cores())
        engine = engine or open_torch_engine(job.run)
        described["described_by"] = engine.name
        if isinstance(engine, TorchEngine):  # a graph has told what it takes
            check_view_sizes(engine.model, views)
        return engine

    def make_parts(parts: Sequence[Sequence[int]], meter: Meter) -> Generator[Rows]:
        if not parts:  # no model is loaded for nothing
            return
        images = job.dataset.images
        files = (images.locate_all([table.ids[row] for row in rows]) for rows in parts)
        extracted = extract_parts(
            open_described_by(),
            chain.from_iterable(files),
            map(len, parts),
            batch_size=job.recipe.embed.batch_size,
            max_pixels=job.max_pixels,
            workers=job.workers,
            min_side=artifact.settings["decode"]["min_side"],
            views=Views.of(job.recipe.embed),
            meter=meter,
            regions=job.recipe.embed.regions,
        )
        for rows, found in zip(parts, extracted, strict=True):
            ids = [table.ids[rows[position]] for position in found.positions]
            dtype = job.recipe.embed.dtype
            yield (
                make_rows(ids, found.vectors, found.head, dtype, found.regions),
                [replace(each, position=rows[each.position]) for each in found.failures],
            )

    return artifact.write_parts(table, job.recipe.embed.shard_size, make_parts, model=described)
