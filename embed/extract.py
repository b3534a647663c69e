"""Compute global descriptors of images with a trained model, from one view or several.

The classification head is asked in the same pass. Reads image files, writes nothing. The views must
be the same for database and queries.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbone import LastLayer
from .errors import InputError
from .failure import Failure
from .head_scores import HeadScores
from .image_file import ImageFile
from .images import NO_REGIONS, Batch, ImageLoader, Item, batch_shapes
from .meter import Meter
from .model import DescriptorModel
from .parallel import map_ahead
from .regions import cut_regions
from .settings import RegionSettings
from .transforms import normalize, to_tensor
from .views import ONE_VIEW, Views, make_views, merge_views

CPU_BATCH = 8  # images at a time where there are few cores
BATCHES_AHEAD = 2  # that are decoded while one is described
WAITING = 64 << 20  # bytes of fitted images, nearly, that wait for others of their shape


def pick_device() -> torch.device:
    """Return CUDA where there is a GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit_batch(batch_size: int, device: torch.device) -> int:
    """Return how many of so many images are described at a time: on a CPU as many as pay.

    Beyond some images for all cores, a larger batch is no faster there, but takes memory in
    proportion: 64 images of 317 pixels take a MobileNetV2 to 2.6 GB, 8 to 1.0 GB.
    """
    if device.type != "cpu":
        return batch_size
    return min(batch_size, max(CPU_BATCH, torch.get_num_threads()))


class Classifier(Protocol):
    """A classification head and the landmarks of its classes."""

    def logits(self, features: Tensor) -> Tensor:
        """Return [B, C] for features [B, dim] of any length."""

    def rank(self, logits: Tensor) -> HeadScores:
        """Return the likeliest classes of each row of [B, C]."""


@dataclass(frozen=True, eq=False)
class Extracted:
    """What could be described of the images asked for: every position is in one of the two."""

    positions: NDArray[np.int64]  # [N], ascending
    vectors: NDArray[np.float32]  # [N, dim], rows of length 1
    head: HeadScores  # of the N images
    failures: tuple[Failure, ...]
    regions: NDArray[np.float32] | None = None  # [N, R, dim], rows of length 1; None: not asked for


def describe(
    model: DescriptorModel, images: Tensor, views: Views = ONE_VIEW
) -> NDArray[np.float32]:
    """Return the descriptors [B, dim] of images; as describe_and_classify."""
    return describe_and_classify(model, images, None, views)[0]


@torch.inference_mode()
def describe_and_classify(
    model: DescriptorModel,
    images: Tensor,
    classifier: Classifier | None,
    views: Views = ONE_VIEW,
    last: LastLayer | None = None,
) -> tuple[NDArray[np.float32], HeadScores]:
    """Describe images, and ask the classification head of the same pass.

    Args:
        model: in eval mode, on the device to use.
        images: [B, 3, h, w] uint8, as Views.resize returns images.
        classifier: on the same device; None gives scores of no class.
        views: what is described of each.
        last: what the backbone makes of the images themselves, if it is known: the view that shows
            them as they are then needs no pass.

    Returns:
        [B, dim], rows of length 1: the views' descriptors, merged; and the likeliest classes by the
        mean of the views' logits.

    Raises:
        InputError: images of another shape, or a backbone that cannot take a view's.
    """
    if not views.takes(model, (images.shape[-2], images.shape[-1])):
        side = views.input_side(model)
        raise ValueError(
            f"images have shape {tuple(images.shape)}, expected [B, 3, {side}, {side}] for views "
            f"{views}, or what such a square is fitted to; use views.resize"
        )
    device = next(model.parameters()).device
    batch = normalize(images.to(device), model.spec.backbone)
    shown = [
        _forward(model, view, last if view is batch else None)
        for view in make_views(model, batch, views)
    ]
    features, described = zip(*shown, strict=True)
    merged = merge_views(described, views.merge_p)
    vectors = np.asarray(merged.cpu().numpy(), dtype=np.float32)
    if classifier is None:
        return vectors, HeadScores.none(len(vectors))
    logits = torch.stack([classifier.logits(view) for view in features]).mean(dim=0)
    return vectors, classifier.rank(logits)


def _forward(model: DescriptorModel, view: Tensor, last: LastLayer | None) -> tuple[Tensor, Tensor]:
    """Return features [B, head_dim] and descriptors [B, dim] float32 of a view [B, 3, h, w].

    What the backbone makes of it is computed where it is not known.
    """
    view = view.contiguous(memory_format=torch.channels_last)
    try:
        features = model.features(view) if last is None else model.pool_map(last)
        return features.float(), model.describe(features.float(), view).float()
    except (AssertionError, RuntimeError) as error:  # each architecture says it its own way
        size, (height, width) = model.spec.image_size, view.shape[-2:]
        if height == width == size:
            raise
        raise InputError(
            f"'{model.spec.backbone.architecture}' failed on views of {height} x {width} pixels, "
            f"not its {size} x {size} ({error}); some backbones take one size alone: set scales = "
            "[1.0] and square = 'squeeze'"
        ) from error


def describe_pixels(
    model: DescriptorModel,
    pixels: NDArray[np.uint8],
    views: Views = ONE_VIEW,
    classifier: Classifier | None = None,
) -> tuple[NDArray[np.float32], HeadScores]:
    """Describe and classify one decoded image [H, W, 3]; as describe_and_classify, B = 1.

    To be described as extract_all does, decode with the same min_side.
    """
    image = to_tensor(views.resize(model, pixels))
    return describe_and_classify(model, image[None], classifier, views)


def describe_regions(
    model: DescriptorModel, regions: Tensor, views: Views = ONE_VIEW
) -> NDArray[np.float32]:
    """Return the descriptors [B, R, dim] of the regions [B, R, 3, S, S] uint8 of images.

    Each is described as an image is.
    """
    described = [describe(model, regions[:, place], views) for place in range(regions.shape[1])]
    return np.stack(described, axis=1)


def describe_pixel_regions(
    model: DescriptorModel,
    pixels: NDArray[np.uint8],
    regions: RegionSettings,
    views: Views = ONE_VIEW,
) -> NDArray[np.float32] | None:
    """Return the descriptors [1, R, dim] of the regions of one decoded image; None for none."""
    parts = cut_regions(pixels, regions)
    squares = [to_tensor(views.resize(model, part)) for part in parts]
    return describe(model, torch.stack(squares), views)[None] if squares else None


def extract_all(
    model: DescriptorModel,
    paths: Sequence[ImageFile],
    *,
    batch_size: int,
    max_pixels: int,
    workers: int,
    min_side: int = 1,
    meter: Meter | None = None,
    views: Views = ONE_VIEW,
    classifier: Classifier | None = None,
    regions: RegionSettings = NO_REGIONS,
) -> Extracted:
    """Describe image files; as extract_parts, of one part."""
    (found,) = extract_parts(
        model,
        paths,
        [len(paths)],
        batch_size=batch_size,
        max_pixels=max_pixels,
        workers=workers,
        min_side=min_side,
        meter=meter,
        views=views,
        classifier=classifier,
        regions=regions,
    )
    return found


def extract_parts(
    model: DescriptorModel,
    files: Iterable[ImageFile],
    sizes: Iterable[int],
    *,
    batch_size: int,
    max_pixels: int,
    workers: int,
    min_side: int = 1,
    meter: Meter | None = None,
    views: Views = ONE_VIEW,
    classifier: Classifier | None = None,
    regions: RegionSettings = NO_REGIONS,
) -> Generator[Extracted]:
    """Describe image files in parts of so many, while threads decode the images to come.

    They decode across the ends of parts, but no batch has images of two: a part is the same
    whatever came before it.

    Args:
        model: in eval mode, on the device to use.
        files: taken one by one, a few batches before they are described.
        sizes: files of each part.
        batch_size: images of one shape at a time; on a CPU fewer, see fit_batch.
        max_pixels: limit of the decoder.
        workers: cores beside that of the model, for threads that decode; 0 decodes in this
            thread.
        min_side: pixels that the shorter side of a decoded image keeps at least; what the views
            need if that is more.
        meter: told of images that are done, and of the time that each step takes.
        views: what is described of each image; it is decoded once.
        classifier: asked of each image; None for scores of no class.
        regions: that are described beside each image, in the same way.

    Yields:
        What was found of each part, positions within it.

    Raises:
        InputError: a backbone that cannot take a view's shape.
    """
    meter = meter or Meter()
    size = fit_batch(batch_size, next(model.parameters()).device)
    side = views.input_side(model)
    loader = ImageLoader(
        side,
        max_pixels,
        views.square,
        cell=model.backbone.stride,
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
            yield _describe_part(model, batches, start, meter, views, classifier, regions)
            start += count


def _describe_part(
    model: DescriptorModel,
    batches: Iterable[Batch],
    start: int,
    meter: Meter,
    views: Views,
    classifier: Classifier | None,
    regions: RegionSettings,
) -> Extracted:
    """Describe the batches of one part, whose first image has the position `start`."""
    positions: list[int] = []
    failures: list[Failure] = []
    vectors = [np.empty((0, model.dim), dtype=np.float32)]
    scores: list[HeadScores] = []
    parts = [np.empty((0, regions.count, model.dim), dtype=np.float32)]
    for batch in batches:
        positions += batch.positions
        failures += batch.failures
        if batch.positions:
            with meter.held_up("model"):
                images = batch.images
                if regions.grids:
                    images = batch.images[:, 0]
                    parts.append(describe_regions(model, batch.images[:, 1:], views))
                described, ranked = describe_and_classify(model, images, classifier, views)
            vectors.append(described)
            scores.append(ranked)
        meter.advance(len(batch.positions) + len(batch.failures))
    order = np.argsort(positions)
    return Extracted(
        np.array(positions, dtype=np.int64)[order] - start,
        np.concatenate(vectors)[order],
        HeadScores.concatenate(scores).take(order) if scores else HeadScores.none(0),
        tuple(
            replace(failure, position=failure.position - start)
            for failure in sorted(failures, key=lambda failure: failure.position)
        ),
        np.concatenate(parts)[order] if regions.grids else None,
    )
