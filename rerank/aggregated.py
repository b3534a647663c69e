"""Match a query against all images of one landmark at once, and verify each of them.

Every descriptor of the query looks for its nearest among the descriptors of all those images
together, so it may match several of them. That costs one search, and no ratio test is needed: the
images show one landmark, so a second nearest says nothing against the first.

Knows nothing of which landmark that is, or what its inliers decide. Reads and writes no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index.base import BaseIndex

from .cosines import unit_rows
from .features import LocalFeatures
from .geometry import Verification
from .settings import RerankSettings
from .verify import verify_pair

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AggregatedIndex:
    """The descriptors of several images in one index, and where each of them came from.

    Attributes:
        images: [I] features of the images, in the order given.
        base: exact index of R unit descriptors; None for R = 0.
        image: [R] int64, which of the images a descriptor belongs to, ascending.
        row: [R] int64, its row in the features of that image, ascending within an image.
    """

    images: tuple[LocalFeatures, ...]
    base: BaseIndex | None
    image: Ints
    row: Ints


def build_aggregated_index(images: Sequence[LocalFeatures]) -> AggregatedIndex:
    """Index the descriptors of several images.

    The index is exact: for descriptors of dim 40 and more a KD-tree finds the same neighbours and
    takes 7 to 18 times as long. Descriptors of length 0 have no direction and are left out.

    Args:
        images: features of one landmark's images, from one extractor.

    Raises:
        ValueError: the images' descriptors differ in dim.
    """
    dims = sorted({features.descriptors.shape[1] for features in images})
    if len(dims) > 1:
        raise ValueError(f"images have descriptors of dims {dims}; extract all with one extractor")
    found = [_directions(features.descriptors) for features in images]
    counts = [len(rows) for rows, _ in found]
    return AggregatedIndex(
        tuple(images),
        BaseIndex.build(np.concatenate([units for _, units in found])) if sum(counts) else None,
        np.repeat(np.arange(len(images)), counts),
        np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in found)]),
    )


def match_aggregated(
    descriptors0: npt.NDArray[Any],
    index: AggregatedIndex,
    *,
    nearest: int = 10,
    max_distance: float = 0.8,
) -> list[Ints]:
    """Find tentative matches of a query in each image of an index.

    Each descriptor of the query is paired with its nearest descriptors among all images. Within
    one image a match is unique on both sides: of several descriptors there, one of the query keeps
    the nearest; then of several of the query, one there keeps the nearest. A repeated structure
    would else count as often as it repeats. Ties go to the lower row of the query, then of the
    image.

    Args:
        descriptors0: [N, D] uint8, float16 or float32, of the query.
        index: of I images.
        nearest: descriptors looked at for each of the query, K.
        max_distance: largest distance of a match as unit vectors, 0 to 2; 2 turns the limit off.

    Returns:
        One [M, 2] int64 array an image: query row, row of the image; ascending query rows.

    Raises:
        ValueError: a limit is out of its range, or D differs from that of the index.

    Source: the DELF stage of "Landmark Recognition Challenge with ResNet and DELF" (Di Pietro,
    Martini): K = 10, an aggregated index from descriptor to image. Theirs keeps repeated matches.
    """
    if nearest < 1 or not 0 < max_distance <= 2:
        raise ValueError(
            f"nearest {nearest} must be at least 1, max_distance {max_distance} in (0, 2]"
        )
    if index.base is None:
        return [np.empty((0, 2), np.int64) for _ in index.images]
    if descriptors0.shape[1] != index.base.dim:
        raise ValueError(
            f"query descriptors have dim {descriptors0.shape[1]}, the index {index.base.dim}; "
            "extract both with the same extractor"
        )
    rows0, units = _directions(descriptors0)
    found = index.base.search(units, nearest)
    near = (found.rows >= 0) & (2 - 2 * found.scores <= max_distance**2)
    query, entry = rows0[np.nonzero(near)[0]], found.rows[near]
    return _split(*_unique_matches(query, entry, found.scores[near], index.image), index)


def verify_aggregated(
    query: LocalFeatures, index: AggregatedIndex, settings: RerankSettings
) -> list[Verification]:
    """Match a query with aggregated images and keep what one transform explains in each.

    Args:
        query: features of the query image (0).
        index: of I database images (1), from the same extractor.
        settings: how to match and to verify.

    Returns:
        One record an image of the index, in their order.

    Raises:
        ValueError: descriptors of different dim.
    """
    found = match_aggregated(
        query.descriptors,
        index,
        nearest=settings.nearest,
        max_distance=settings.max_distance,
    )
    return [
        verify_pair(query, image, matches, settings)
        for image, matches in zip(index.images, found, strict=True)
    ]


def _directions(descriptors: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[np.float32]]:
    """Return the rows that have a direction, and their descriptors as unit vectors."""
    units = unit_rows(descriptors)
    rows = np.flatnonzero(units.any(axis=1)).astype(np.int64)
    return rows, units[rows]


def _unique_matches(
    query: Ints, entry: Ints, scores: npt.NDArray[np.float32], image: Ints
) -> tuple[Ints, Ints]:
    """Keep the nearest match of each query row in each image, then of each entry of the index."""
    order = np.lexsort((entry, query, -scores))
    query, entry = query[order], entry[order]
    pair = query * (image.max() + 1) + image[entry]
    first = _first_of_each(pair)
    query, entry = query[first], entry[first]
    first = _first_of_each(entry)
    return query[first], entry[first]


def _first_of_each(values: Ints) -> npt.NDArray[np.intp]:
    return np.sort(np.unique(values, return_index=True)[1])


def _split(query: Ints, entry: Ints, index: AggregatedIndex) -> list[Ints]:
    """Return the matches of each image, by ascending query row."""
    image = index.image[entry]
    order = np.lexsort((query, image))
    matches = np.stack([query, index.row[entry]], axis=1)[order]
    ends = np.searchsorted(image[order], np.arange(1, len(index.images)))
    return np.split(matches, ends)
