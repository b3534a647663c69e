"""Stage `embed`: images of one split to Parquet shards of global descriptors.

Reads model/ and a split's images. Writes embeddings/<split>/: part-*.parquet, images.parquet,
failures.parquet, manifest.json. Only images that no shard holds are described: after an interrupted
run, or when some were added; the next are decoded and described while a part is written. The
members of an ensemble have their own; `embed_members` combines what they say.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import chain

from embed.extract import extract_parts, pick_device
from embed.image_sizes import check_view_sizes
from embed.meter import Meter
from embed.shards import make_rows
from embed.views import Views
from pipelines.answers.stored_model import open_head, open_model
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.runs.artifact import Artifact
from pipelines.runs.parts import Rows


def embed_table(artifact: Artifact, table: ImageTable, trained: Manifest) -> Manifest:
    """Describe the images of a table by a trained model.

    Raises:
        InputError: none of its images could be read.
    """
    job = artifact.job

    def make_parts(parts: Sequence[Sequence[int]], meter: Meter) -> Generator[Rows]:
        if not parts:  # no model is loaded for nothing
            return
        device = pick_device()
        model, _ = open_model(job.run)
        views = Views.of(job.recipe.embed)
        check_view_sizes(model, views)
        images = job.dataset.images
        files = (images.locate_all([table.ids[row] for row in rows]) for rows in parts)
        extracted = extract_parts(
            model.to(device),
            chain.from_iterable(files),
            map(len, parts),
            batch_size=job.recipe.embed.batch_size,
            max_pixels=job.max_pixels,
            workers=job.workers,
            min_side=artifact.settings["decode"]["min_side"],
            views=views,
            classifier=open_head(job.run, device),
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

    return artifact.write_parts(table, job.recipe.embed.shard_size, make_parts, model=trained.model)
