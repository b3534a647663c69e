"""Compute global descriptors of image files with an engine, from one view or several.

The classification head is asked in the same pass. Reads image files, writes nothing. The views must
be the same for database and queries.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from .engine import Engine, describe_regions
from .failure import Failure
from .head_scores import HeadScores
from .image_file import ImageFile
from .images import NO_REGIONS, Batch, ImageLoader, Item, batch_shapes
from .meter import Meter
from .parallel import map_ahead
from .settings import RegionSettings
from .views import ONE_VIEW, Views

BATCHES_AHEAD = 2  # that are decoded while one is described
WAITING = 64 << 20  # bytes of fitted images, nearly, that wait for others of their shape


@dataclass(frozen=True, eq=False)
class Extracted:
    """What could be described of the images asked for: every position is in one of the two."""

    positions: NDArray[np.int64]  # [N], ascending
    vectors: NDArray[np.float32]  # [N, dim], rows of length 1
    head: HeadScores  # of the N images
    failures: tuple[Failure, ...]
    regions: NDArray[np.float32] | None = None  # [N, R, dim], rows of length 1; None: not asked for


def extract_all(
    engine: Engine,
    paths: Sequence[ImageFile],
    *,
    batch_size: int,
    max_pixels: int,
    workers: int,
    min_side: int = 1,
    meter: Meter | None = None,
    views: Views = ONE_VIEW,
    regions: RegionSettings = NO_REGIONS,
) -> Extracted:
    """Describe image files; as extract_parts, of one part."""
    (found,) = extract_parts(
        engine,
        paths,
        [len(paths)],
        batch_size=batch_size,
        max_pixels=max_pixels,
        workers=workers,
        min_side=min_side,
        meter=meter,
        views=views,
        regions=regions,
    )
    return found


def extract_parts(
    engine: Engine,
    files: Iterable[ImageFile],
    sizes: Iterable[int],
    *,
    batch_size: int,
    max_pixels: int,
    workers: int,
    min_side: int = 1,
    meter: Meter | None = None,
    views: Views = ONE_VIEW,
    regions: RegionSettings = NO_REGIONS,
) -> Generator[Extracted]:
    """Describe image files in parts of so many, while threads decode the images to come.

    They decode across the ends of parts, but no batch has images of two: a part is the same
    whatever came before it.

    Args:
        engine: that describes them.
        files: taken one by one, a few batches before they are described.
        sizes: files of each part.
        batch_size: images of one shape at a time; on a CPU fewer, see Engine.fit_batch.
        max_pixels: limit of the decoder.
        workers: cores beside that of the model, for threads that decode; 0 decodes in this
            thread.
        min_side: pixels that the shorter side of a decoded image keeps at least; what the views
            need if that is more.
        meter: told of images that are done, and of the time that each step takes.
        views: what is described of each image; it is decoded once.
        regions: that are described beside each image, in the same way.

    Yields:
        What was found of each part, positions within it.

    Raises:
        InputError: a backbone that cannot take a view's shape.
    """
    meter = meter or Meter()
    size, side = engine.fit_batch(batch_size), views.input_side(engine)
    loader = ImageLoader(
        side,
        max_pixels,
        views.square,
        cell=engine.stride,
        min_side=min_side,
        regions=regions,
    )
    # Squares have one shape: none waits.
    most = WAITING // (3 * side**2) if views.square == "fit" else size

    # Beside those that are asked for one more: it decodes on the core that is free while the model
    # waits for images.
    threads = workers + 1 if workers else 0

    def load(numbered: tuple[int, ImageFile]) -> Item:
        return loader.load(*numbered, meter)

    with closing(
        map_ahead(load, enumerate(files), threads=threads, ahead=BATCHES_AHEAD * size + threads)
    ) as loaded:
        items, start = meter.awaited(loaded), 0
        for count in sizes:
            batches = batch_shapes(islice(items, count), size, most)
            yield _describe_part(engine, batches, start, meter, views=views, regions=regions)
            start += count


def _describe_part(
    engine: Engine,
    batches: Iterable[Batch],
    start: int,
    meter: Meter,
    *,
    views: Views,
    regions: RegionSettings,
) -> Extracted:
    """Describe the batches of one part, whose first image has the position `start`."""

    def describe(batch: Batch) -> tuple[Batch, _Described | None]:
        return batch, _describe_batch(engine, batch, views, regions) if batch.positions else None

    positions: list[int] = []
    failures: list[Failure] = []
    found: list[_Described] = []
    streams = engine.streams if engine.streams > 1 else 0  # one is this thread
    with closing(map_ahead(describe, batches, threads=streams, ahead=streams)) as results:
        for batch, described in meter.held_up_by("model", results):
            positions += batch.positions
            failures += batch.failures
            if described is not None:
                found.append(described)
            meter.advance(len(batch.positions) + len(batch.failures))
    order = np.argsort(positions)
    vectors = [np.empty((0, engine.dim), dtype=np.float32), *(each.vectors for each in found)]
    parts = [each.regions for each in found if each.regions is not None]
    parts = [np.empty((0, regions.count, engine.dim), dtype=np.float32), *parts]
    return Extracted(
        np.array(positions, dtype=np.int64)[order] - start,
        np.concatenate(vectors)[order],
        HeadScores.concatenate([each.head for each in found]).take(order)
        if found
        else HeadScores.none(0),
        tuple(
            replace(failure, position=failure.position - start)
            for failure in sorted(failures, key=lambda failure: failure.position)
        ),
        np.concatenate(parts)[order] if regions.grids else None,
    )


@dataclass(frozen=True, eq=False)
class _Described:
    """What an engine said of the B images of a batch; see Extracted."""

    vectors: NDArray[np.float32]
    head: HeadScores
    regions: NDArray[np.float32] | None


def _describe_batch(
    engine: Engine, batch: Batch, views: Views, regions: RegionSettings
) -> _Described:
    images, parts = batch.images.numpy(), None
    if regions.grids:
        parts = describe_regions(engine, images[:, 1:], views)
        images = images[:, 0]
    return _Described(*engine.describe(images, views), parts)
