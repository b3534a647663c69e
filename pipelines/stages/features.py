"""Local features of the images of a split, cached in the run folder.

Reads a split's images. Writes features/<split>/: part-*.parquet, places.arrow, failures.parquet,
manifest.json.
Features are found only of images that no part holds, as in pipelines.stages.embed.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from embed.decode import DecodedImage, ImageError
from embed.failure import Failure
from embed.images import decode_file
from embed.meter import Meter
from embed.parallel import count_cores, map_ahead
from pipelines.answers.extractors import build_extractor
from pipelines.artifacts import Manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.runs.artifact import Artifact
from pipelines.runs.parts import Rows
from rerank.features import LocalFeatures
from rerank.places import PLACES
from rerank.store import ROWS_PER_GROUP, find_places, make_rows

PART_SIZE = 512  # images in one file; the unit of resuming


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

    def find(rows: Sequence[int], meter: Meter) -> dict[int, LocalFeatures | Failure]:
        images = {row: decode(row, meter) for row in rows}
        decoded = {row: one for row, one in images.items() if isinstance(one, DecodedImage)}
        with meter.working("model"):
            features = extractor.extract_batch(list(decoded.values())) if decoded else []
        failures = {row: one for row, one in images.items() if isinstance(one, Failure)}
        return failures | dict(zip(decoded, features, strict=True))

    def make_parts(parts: Sequence[Sequence[int]], meter: Meter) -> Generator[Rows]:
        # A batch a core: threads within one wait for each other, and its decoding for the last.
        size, cores = extractor.batch_size, count_cores()
        batches = (rows[i : i + size] for rows in parts for i in range(0, len(rows), size))
        made = map_ahead(
            partial(find, meter=meter), batches, threads=cores, ahead=2 * cores, one_core=True
        )
        with closing(made):
            ready = meter.awaited(made)
            for rows in parts:
                results: dict[int, LocalFeatures | Failure] = {}
                for found in islice(ready, -(-len(rows) // size)):
                    results |= found
                    meter.advance(len(found))
                failures = [result for row in rows if isinstance(result := results[row], Failure)]
                features = {
                    table.ids[row]: result
                    for row in rows
                    if isinstance(result := results[row], LocalFeatures)
                }
                yield make_rows(list(features), list(features.values()), fingerprint), failures

    def list_places(parts: Sequence[Path]) -> Path:
        find_places(parts, fingerprint).save(artifact.folder / PLACES, fingerprint)
        return artifact.folder / PLACES

    return artifact.write_parts(
        *(table, PART_SIZE, make_parts), group_rows=ROWS_PER_GROUP, list_places=list_places
    )
