"""Local features of the images of a split, cached in the run folder.

Reads a split's images. Writes features/<split>/: part-*.parquet, places.arrow, failures.parquet,
manifest.json.
Features are found only of images that no part holds, as in pipelines.stages.embed.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path

from embed.decode import DecodedImage, ImageError
from embed.failure import Failure
from embed.images import decode_file
from embed.meter import Meter
from embed.parallel import map_ahead
from pipelines.answers.extractors import build_extractor
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.runs.artifact import Artifact
from pipelines.runs.parts import Rows
from rerank.features import FeatureExtractor, LocalFeatures
from rerank.places import PLACES
from rerank.store import ROWS_PER_GROUP, find_places, make_rows

PART_SIZE = 512  # images in one file; the unit of resuming
CORES = os.cpu_count() or 1


def extract_table(artifact: Artifact, table: ImageTable) -> Manifest:
    """Extract the local features of a table's images; those of DELF with what was trained.

    Raises:
        InputError: none of its images could be read.
    """
    job = artifact.job
    extractor = build_extractor(job.run, job.recipe.rerank)
    side, fingerprint = artifact.settings["decode"]["min_side"], artifact.inputs["extractor"]

    def decode(row: int, meter: Meter) -> DecodedImage | Failure:
        try:
            file = job.dataset.locate(table.ids[row])
            return decode_file(file, min_side=side, max_pixels=job.max_pixels, meter=meter)
        except ImageError as error:
            return Failure(row, error.reason, str(error))

    def make_parts(parts: Sequence[Sequence[int]], meter: Meter) -> Generator[Rows]:
        alone = extractor.batch_size == 1  # one image after the other is all it can: one a core

        def prepare(row: int) -> DecodedImage | LocalFeatures | Failure:
            image = decode(row, meter)
            if isinstance(image, Failure) or not alone:
                return image
            with meter.working("model"):
                return extractor.extract(image)

        ahead = 2 * max(extractor.batch_size, CORES)
        with closing(
            map_ahead(prepare, chain.from_iterable(parts), threads=CORES, ahead=ahead)
        ) as prepared:
            ready = meter.awaited(prepared)
            for rows in parts:
                results: dict[int, LocalFeatures | Failure] = {}
                for start in range(0, len(rows), extractor.batch_size):
                    some = rows[start : start + extractor.batch_size]
                    batch = dict(zip(some, islice(ready, len(some)), strict=True))
                    results |= _find_together(extractor, batch, meter)
                    meter.advance(len(some))
                failures = [result for result in results.values() if isinstance(result, Failure)]
                features = {
                    table.ids[row]: result
                    for row, result in results.items()
                    if isinstance(result, LocalFeatures)
                }
                yield make_rows(list(features), list(features.values()), fingerprint), failures

    def list_places(parts: Sequence[Path]) -> Path:
        find_places(parts, fingerprint).save(artifact.folder / PLACES, fingerprint)
        return artifact.folder / PLACES

    return artifact.write_parts(
        *(table, PART_SIZE, make_parts), group_rows=ROWS_PER_GROUP, list_places=list_places
    )


def _find_together(
    extractor: FeatureExtractor,
    batch: Mapping[int, DecodedImage | LocalFeatures | Failure],
    meter: Meter,
) -> dict[int, LocalFeatures | Failure]:
    """Return the features of those images of a batch that still lack them."""
    images = {row: image for row, image in batch.items() if isinstance(image, DecodedImage)}
    done = {row: found for row, found in batch.items() if not isinstance(found, DecodedImage)}
    if not images:
        return done
    with meter.held_up("model"):
        found = extractor.extract_batch(list(images.values()))
    return done | dict(zip(images, found, strict=True))
