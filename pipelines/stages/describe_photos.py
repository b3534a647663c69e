"""Describe photos of a change as stages `embed` and `features` describe those of a table.

Reads the photos. Writes embeddings/ and features/ into the folder of a change.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from embed.decode import DecodedImage, ImageError
from embed.errors import RequestError
from embed.failure import Failure
from embed.files import writing
from embed.meter import Meter
from embed.parallel import map_ahead
from embed.parts import write_part
from embed.shards import Embeddings
from embed.shards import make_rows as make_embedding_rows
from pipelines.answers.describer import RunDescriber
from pipelines.answers.photo import Photo
from pipelines.runs.job import count_workers
from rerank.features import LocalFeatures
from rerank.store import ROWS_PER_GROUP
from rerank.store import make_rows as make_feature_rows

PART_SIZE = 512  # photos that are described before they are written


@dataclass(frozen=True, eq=False)
class Described:
    """Some of the photos, one after the other: what could be read of them, and what could not."""

    positions: list[int]  # [n] places of those that could be read among all photos
    embeddings: list[Embeddings]  # [n], each of one image
    features: list[LocalFeatures | None]  # [n]; None where the run compares none
    failures: list[Failure]

    def take(self, kept: Sequence[int]) -> "Described":
        """Return those of some of the n places."""
        return Described(
            [self.positions[place] for place in kept],
            [self.embeddings[place] for place in kept],
            [self.features[place] for place in kept],
            self.failures,
        )


def describe_photos(
    describer: RunDescriber, files: Sequence[tuple[str, Path | Photo]], meter: Meter
) -> Iterator[Described]:
    """Describe photos, PART_SIZE at a time, while threads decode the next ones.

    Args:
        describer: of the run.
        files: id and file of each photo.
        meter: told of each.
    """

    def decode(place: int) -> DecodedImage | Failure:
        try:
            return describer.decode(files[place][1])
        except ImageError as error:
            return Failure(place, error.reason, str(error))

    threads = count_workers()
    places = range(len(files))
    with closing(map_ahead(decode, places, threads=threads, ahead=2 * threads)) as decoded:
        for start in places[::PART_SIZE]:
            found = Described([], [], [], [])
            for place in places[start : start + PART_SIZE]:
                image = next(decoded)
                if isinstance(image, Failure):
                    found.failures.append(image)
                else:
                    # One by one: a photo is described alike whatever comes with it.
                    embeddings, features = describer.describe([image], [files[place][0]])
                    found.positions.append(place)
                    found.embeddings.append(embeddings)
                    found.features.extend(features)
                meter.advance(1)
            yield found


def write_described(
    found: Described, describer: RunDescriber, folder: Path, key: str, number: int
) -> None:
    """Write what is known of some photos, at least one, as parts of a change.

    Args:
        found: of the photos.
        describer: that found it.
        folder: of the change.
        key: of descriptions, see answers.description.
        number: of the parts.
    """
    together = Embeddings.concatenate(found.embeddings)
    values = together.vectors, together.head, describer.recipe.embed.dtype, together.regions
    with writing(part_path(folder, "embeddings", number)) as temporary:
        write_part(temporary, make_embedding_rows(together.ids, *values), {}, key)
    if describer.extractor is None:
        return
    features = [each for each in found.features if each is not None]
    rows = make_feature_rows(together.ids, features, describer.extractor.fingerprint)
    with writing(part_path(folder, "features", number)) as temporary:
        write_part(temporary, rows, {}, key, group_rows=ROWS_PER_GROUP)


def part_path(folder: Path, kind: str, number: int) -> Path:
    """Return the file of a part, in a folder that is there."""
    path = folder / kind / f"part-{number:05d}.parquet"
    path.parent.mkdir(exist_ok=True)
    return path


def refuse_unread(failures: Sequence[Failure], count: int) -> None:
    """Raise RequestError if none of so many photos could be read."""
    if failures and len(failures) == count:
        raise RequestError(
            f"none of the {count} photos could be read; the first: {failures[0].message}"
        )
