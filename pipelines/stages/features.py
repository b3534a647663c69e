"""Local features of the images of a split, cached in the run folder.

Reads a split's images. Writes features/<split>/: part-*.parquet, failures.parquet, manifest.json.
Features are found only of images that no part holds, as in pipelines.stages.embed.
"""

from collections.abc import Callable, Sequence

import pyarrow as pa

from embed.decode import DecodedImage, ImageError, decode_image
from embed.failure import Failure
from embed.parallel import run_parallel
from pipelines.answers.extractors import build_extractor
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.progress import Advance
from pipelines.runs.artifact import Artifact
from rerank.features import FeatureExtractor, LocalFeatures
from rerank.store import ROWS_PER_GROUP, make_rows

PART_SIZE = 512  # images in one file; the unit of resuming
BATCHES = 16  # of the extractor, that are decoded together


def extract_table(artifact: Artifact, table: ImageTable) -> Manifest:
    """Extract the local features of a table's images; those of DELF with what was trained.

    Raises:
        InputError: none of its images could be read.
    """
    job = artifact.job
    extractor = build_extractor(job.run, job.recipe.rerank)
    side, fingerprint = artifact.settings["decode"]["min_side"], artifact.inputs["extractor"]

    def make_part(rows: Sequence[int], advance: Advance) -> tuple[pa.Table, list[Failure]]:
        def decode(row: int) -> DecodedImage | Failure:
            try:
                file = job.dataset.locate(table.ids[row])
                return decode_image(file, min_side=side, max_pixels=job.max_pixels)
            except ImageError as error:
                return Failure(row, error.reason, str(error))

        results: dict[int, LocalFeatures | Failure] = {}
        for start in range(0, len(rows), BATCHES * extractor.batch_size):
            some = rows[start : start + BATCHES * extractor.batch_size]
            results.update(_extract_some(extractor, some, decode))
            advance(len(some))
        failures = [result for result in results.values() if isinstance(result, Failure)]
        found = {
            table.ids[row]: result
            for row, result in results.items()
            if isinstance(result, LocalFeatures)
        }
        return make_rows(list(found), list(found.values()), fingerprint), failures

    return artifact.write_parts(table, PART_SIZE, make_part, group_rows=ROWS_PER_GROUP)


def _extract_some(
    extractor: FeatureExtractor,
    rows: Sequence[int],
    decode: Callable[[int], DecodedImage | Failure],
) -> dict[int, LocalFeatures | Failure]:
    """Return the features of some images, or why there are none, by row."""
    if extractor.batch_size == 1:  # one image after the other is all it can: one a core

        def extract(row: int) -> LocalFeatures | Failure:
            image = decode(row)
            return image if isinstance(image, Failure) else extractor.extract(image)

        return dict(zip(rows, run_parallel(extract, rows), strict=True))
    decoded = dict(zip(rows, run_parallel(decode, rows), strict=True))
    images = {row: image for row, image in decoded.items() if not isinstance(image, Failure)}
    found = extractor.extract_batch(list(images.values()))
    failures = {row: image for row, image in decoded.items() if isinstance(image, Failure)}
    return {**failures, **dict(zip(images, found, strict=True))}
