"""Combine what the members of an ensemble say of the images of a split.

Reads members/*/embeddings/<split>/ of a run. Writes embeddings/<split>/ as stage `embed` does.
"""

from collections.abc import Generator, Sequence
from functools import cache

import numpy as np

from classify_head.ensemble import combine_embeddings, keep_shared
from embed.failure import Failure
from embed.meter import Meter
from embed.shards import Embeddings, make_rows
from pipelines.answers.open_run import load_split_embeddings, load_split_failures
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.runs.artifact import Artifact
from pipelines.runs.members import (
    ensemble_fingerprint,
    list_member_jobs,
)
from pipelines.runs.parts import Rows


def combine_members(artifact: Artifact, table: ImageTable, made: Sequence[Manifest]) -> Manifest:
    """Write the embeddings of a table by an ensemble.

    Args:
        artifact: of the ensemble.
        table: of the images.
        made: what each member made of the table, in their order.
    """
    job, name = artifact.job, artifact.folder.name
    settings, members = job.recipe.ensemble, list_member_jobs(job)

    @cache  # read only if a part is missing
    def combined() -> tuple[Embeddings, dict[str, int]]:
        parts = [load_split_embeddings(member.run, name) for member in members]
        together = combine_embeddings(keep_shared(parts), settings.rule, settings.weights or None)
        return together, {image_id: row for row, image_id in enumerate(together.ids)}

    @cache
    def reasons() -> dict[str, tuple[str, str]]:
        found = [load_split_failures(member.run, name) for member in members]
        return {image_id: why for part in found for image_id, why in part.items()}

    def make_part(rows: Sequence[int]) -> Rows:
        together, place = combined()
        ids = {row: table.ids[row] for row in rows}
        read = [place[image_id] for image_id in ids.values() if image_id in place]
        failures = [
            Failure(row, *reasons()[image_id])
            for row, image_id in ids.items()
            if image_id not in place
        ]
        part = together.take(np.array(read, dtype=np.int64))
        dtype = job.recipe.embed.dtype
        return make_rows(part.ids, part.vectors, part.head, dtype, part.regions), failures

    def make_parts(parts: Sequence[Sequence[int]], meter: Meter) -> Generator[Rows]:
        for rows in parts:
            yield make_part(rows)
            meter.advance(len(rows))

    fingerprints = [str(manifest.model["fingerprint"]) for manifest in made]
    model = {**made[0].model, "fingerprint": ensemble_fingerprint(fingerprints, settings)}
    return artifact.write_parts(table, job.recipe.embed.shard_size, make_parts, model=model)
