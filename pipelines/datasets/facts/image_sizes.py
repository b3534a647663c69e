"""Describe the images of a dataset: how large, how many tiny, how many that cannot be read.

Takes the full scan of `cairn data check` where there is one. Without it, reads a sample of the
image files itself: decoded at an eighth of their size, so that what is refused here is what the
stages refuse.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.decode import ImageError, decode_image
from embed.image_file import FileSlice, ImageFile
from embed.parallel import run_parallel
from pipelines.datasets.checking.scan_parts import load_scan
from pipelines.datasets.dataset import Dataset
from pipelines.progress import progress_bar

from .tables import Tables

SAMPLE = 2000  # images; a share of 1 % is known to 0.2 %
CHUNK = 50  # images read at a time
TINY = 32  # pixels of the shorter side; facenet-hadamard found images of 15 x 10


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found of n images."""

    ids: pa.Array  # [n] string
    sizes: NDArray[np.int64]  # [n, 2] width and height in pixels, upright; 0 where unreadable
    bytes: NDArray[np.int64]  # [n] of the files; 0 where there is none
    reasons: pa.Array  # [n] string: why an image cannot be read; empty where it can
    images: int  # that the dataset names, n of which were looked at

    @property
    def readable(self) -> NDArray[np.intp]:
        """The rows of images that can be read."""
        return np.flatnonzero(np.asarray(pc.equal(self.reasons, "")))

    @property
    def complete(self) -> bool:
        """Whether every image of the dataset was looked at."""
        return len(self.ids) == self.images


@dataclass(frozen=True)
class Spread:
    """How the values of images lie."""

    least: float
    tenth: float  # not exceeded by 10 % of the images
    median: float
    ninetieth: float
    most: float


@dataclass(frozen=True)
class Share:
    """A share of the images, counted or estimated."""

    images: int  # of those looked at
    share: float
    error: float | None  # standard error of the share; None where all images were looked at


@dataclass(frozen=True)
class ImageFacts:
    """How large the images are, and what is wrong with some."""

    images: int  # that the dataset names
    looked_at: int
    width: Spread | None  # pixels; None, as the others, where no image can be read
    height: Spread | None
    megapixels: Spread | None
    aspect: Spread | None  # width / height
    kilobytes: Spread | None  # of the files
    bytes: float  # of all files, those not looked at estimated
    tiny: Share  # of the readable images: the shorter side has fewer than TINY pixels
    unreadable: Share
    reasons: tuple[tuple[str, int], ...]  # why not, the commonest first


def measure_images(dataset: Dataset, tables: Tables, *, seed: int = 0) -> Measured:
    """Return what the full scan found of all images, or look at a sample of them.

    Raises:
        FileNotFoundError: the folder of images is missing.
    """
    chunks = [chunk for column in tables.ids.values() for chunk in column.chunks]
    ids = pc.unique(pa.chunked_array(chunks, pa.string()))
    scanned = _load_scan(dataset, ids)
    if scanned is not None:
        return scanned
    rows = np.sort(np.random.default_rng(seed).permutation(len(ids))[:SAMPLE])
    sample = ids.take(pa.array(rows))
    files = [dataset.locate(image_id) for image_id in sample.to_pylist()]
    found: list[tuple[tuple[int, int], int, str]] = []
    with progress_bar("look at images", len(files)) as advance:
        for start in range(0, len(files), CHUNK):
            found += run_parallel(_look_at, files[start : start + CHUNK])
            advance(len(files[start : start + CHUNK]))
    sizes, volumes, reasons = zip(*found, strict=True)
    return Measured(sample, np.array(sizes), np.array(volumes), pa.array(reasons), len(ids))


def _load_scan(dataset: Dataset, ids: pa.Array) -> Measured | None:
    """Return the scan of `cairn data check`, if there is one of all these images."""
    scan = load_scan(dataset.folder)
    if scan is None:
        return None
    places = pc.index_in(ids, value_set=scan["id"].combine_chunks())
    if places.null_count:
        return None
    found = scan.select(["width", "height", "bytes", "reason"]).take(places)
    sides = [pc.fill_null(found[name], 0).to_numpy() for name in ("width", "height")]
    return Measured(
        ids,
        np.stack(sides, axis=1).astype(np.int64),
        found["bytes"].to_numpy(),
        pc.fill_null(found["reason"], "").combine_chunks(),
        len(ids),
    )


def _look_at(file: ImageFile) -> tuple[tuple[int, int], int, str]:
    """Return size and bytes of an image, and why it cannot be read."""
    try:
        size = file.size if isinstance(file, FileSlice) else file.stat().st_size
    except OSError:
        size = 0
    try:
        return decode_image(file, min_side=1).original_size, size, ""
    except ImageError as error:
        return (0, 0), size, error.reason


def describe_images(measured: Measured) -> ImageFacts:
    """Describe images by what was found of them."""
    sizes = measured.sizes[measured.readable]
    volumes = measured.bytes[measured.readable]
    width, height = sizes[:, 0], sizes[:, 1]
    tiny = int((sizes.min(axis=1) < TINY).sum()) if len(sizes) else 0
    looked_at = len(measured.ids)
    reasons = Counter(measured.reasons.filter(pc.not_equal(measured.reasons, "")).to_pylist())
    return ImageFacts(
        images=measured.images,
        looked_at=looked_at,
        width=_spread(width),
        height=_spread(height),
        megapixels=_spread(width * height / 1e6),
        aspect=_spread(width / np.maximum(height, 1)),
        kilobytes=_spread(volumes / 1e3),
        bytes=float(measured.bytes.mean() * measured.images) if looked_at else 0.0,
        tiny=_estimate(tiny, len(sizes), measured),
        unreadable=_estimate(sum(reasons.values()), looked_at, measured),
        reasons=tuple(reasons.most_common()),
    )


def _spread(values: NDArray[np.floating | np.int64]) -> Spread | None:
    if not len(values):
        return None
    # An image's own value each, as for the sizes of classes.
    percents = np.percentile(values, (0, 10, 50, 90, 100), method="inverted_cdf")
    return Spread(*(float(value) for value in percents))


def _estimate(count: int, of: int, measured: Measured) -> Share:
    """Return a share, and its standard error, that of drawing without putting back."""
    share = count / of if of else 0.0
    if measured.complete:
        return Share(count, share, None)
    unseen = 1 - len(measured.ids) / measured.images
    return Share(count, share, math.sqrt(share * (1 - share) / max(of - 1, 1) * unseen))
