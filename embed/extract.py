"""Compute global descriptors of image files with an engine, from one view or several.

The classification head is asked in the same pass. Reads image files, writes nothing. The views must
be the same for database and queries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from .allocator import give_back_memory
from .engine import Engine, describe_regions
from .failure import Failure
from .head_scores import HeadScores
from .image_file import ImageFile
from .images import NO_REGIONS, ImageFiles, collate_shapes, gather_shapes
from .settings import RegionSettings
from .views import ONE_VIEW, Views

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
    advance: Callable[[int], None] = lambda count: None,
    views: Views = ONE_VIEW,
    regions: RegionSettings = NO_REGIONS,
) -> Extracted:
    """Describe image files, a batch at a time; fitted ones with others of their shape.

    Args:
        engine: that describes them.
        paths: [N] files.
        batch_size: images at a time; on a CPU fewer, see Engine.fit_batch.
        max_pixels: limit of the decoder.
        workers: processes that decode; 0 decodes in this one.
        min_side: pixels that the shorter side of a decoded image keeps at least; the views' input
            side if that is more.
        advance: called with the number of images that are done since the last call.
        views: what is described of each image; it is decoded once.
        regions: that are described beside each image, in the same way.

    Raises:
        InputError: a backbone that cannot take a view's shape.
    """
    size = engine.fit_batch(batch_size)
    if parallel := workers > 0 and len(paths) > batch_size:
        # Processes that are forked would keep what is free here once it is written to.
        give_back_memory()
    side, cell = views.input_side(engine), engine.stride
    loader = DataLoader(
        ImageFiles(
            *(paths, side, max_pixels, views.square),
            cell=cell,
            min_side=min_side,
            regions=regions,
        ),
        batch_size=size,
        collate_fn=collate_shapes,
        num_workers=workers if parallel else 0,
    )
    # Squares have one shape: none waits.
    most = WAITING // (3 * side**2) if views.square == "fit" else 0
    positions: list[int] = []
    failures: list[Failure] = []
    vectors = [np.empty((0, engine.dim), dtype=np.float32)]
    scores: list[HeadScores] = []
    parts = [np.empty((0, regions.count, engine.dim), dtype=np.float32)]
    for batch in gather_shapes(loader, size, most):
        positions += batch.positions
        failures += batch.failures
        if batch.positions:
            images = batch.images.numpy()
            if regions.grids:
                parts.append(describe_regions(engine, images[:, 1:], views))
                images = images[:, 0]
            described, ranked = engine.describe(images, views)
            vectors.append(described)
            scores.append(ranked)
        advance(len(batch.positions) + len(batch.failures))
    order = np.argsort(positions)
    return Extracted(
        np.array(positions, dtype=np.int64)[order],
        np.concatenate(vectors)[order],
        HeadScores.concatenate(scores).take(order) if scores else HeadScores.none(0),
        tuple(sorted(failures, key=lambda failure: failure.position)),
        np.concatenate(parts)[order] if regions.grids else None,
    )
