"""What computes descriptors: one narrow interface, and what is asked of it.

An engine is a model, ready to compute: `torch_engine` has the reference, `graph` the exported
graph of a runtime. Reads and writes no files. Imports no torch.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .head_scores import HeadScores
from .parallel import run_parallel
from .regions import cut_regions
from .settings import RegionSettings
from .views import ONE_VIEW, Sized, Views


class Engine(Sized, Protocol):
    """A model, and perhaps its classification head, ready to describe images."""

    @property
    def name(self) -> str:
        """What computes, as manifests and messages call it: `torch`, `openvino-bf16`."""

    @property
    def dim(self) -> int:
        """Values of a descriptor."""

    @property
    def streams(self) -> int:
        """How many threads may call `describe` at a time, and do well to."""

    def fit_batch(self, size: int) -> int:
        """Return how many images at a time are worth while, at most so many."""

    def describe(
        self, images: NDArray[np.uint8], views: Views = ONE_VIEW
    ) -> tuple[NDArray[np.float32], HeadScores]:
        """Describe images, and ask the classification head in the same pass.

        Args:
            images: [B, 3, h, w] RGB, as Views.resize returns images.
            views: what is described of each.

        Returns:
            [B, dim], rows of length 1: the views' descriptors, merged; and the likeliest classes by
            the mean of the views' logits, no class without a head.

        Raises:
            ValueError: images of another shape.
            InputError: the model cannot take images, or a view, of that shape.
        """


def check_shape(of: Sized, shape: tuple[int, ...], views: Views) -> None:
    """Raise ValueError unless shape [B, 3, h, w] is one of images that Views.resize returns."""
    if not views.takes(of, (shape[-2], shape[-1])):
        side = views.input_side(of)
        raise ValueError(
            f"images have shape {tuple(shape)}, expected [B, 3, {side}, {side}] for views "
            f"{views}, or what such a square is fitted to; use views.resize"
        )


def describe_batch(
    engine: Engine, images: Sequence[NDArray[np.uint8]], views: Views = ONE_VIEW
) -> tuple[NDArray[np.float32], HeadScores]:
    """Describe and classify decoded images [H, W, 3] of any sizes; as Engine.describe, B > 0.

    To be described as extract_all does, decode with the same min_side.
    """
    inputs = run_parallel(lambda pixels: _to_input(engine, pixels, views), images)
    vectors = np.empty((len(images), engine.dim), dtype=np.float32)
    scores: list[HeadScores] = []
    order: list[int] = []
    for shape in dict.fromkeys(each.shape for each in inputs):  # more than one where they are fit
        places = [place for place, each in enumerate(inputs) if each.shape == shape]
        size = engine.fit_batch(len(places))
        for start in range(0, len(places), size):
            batch = places[start : start + size]
            vectors[batch], head = engine.describe(np.stack([inputs[n] for n in batch]), views)
            scores.append(head)
            order += batch
    return vectors, HeadScores.concatenate(scores).take(np.argsort(order))


def describe_regions(
    engine: Engine, regions: NDArray[np.uint8], views: Views = ONE_VIEW
) -> NDArray[np.float32]:
    """Return the descriptors [B, R, dim] of the regions [B, R, 3, S, S] of images.

    Each is described as an image is.
    """
    places = range(regions.shape[1])
    return np.stack([engine.describe(regions[:, place], views)[0] for place in places], axis=1)


def describe_pixel_regions(
    engine: Engine,
    pixels: NDArray[np.uint8],
    regions: RegionSettings,
    views: Views = ONE_VIEW,
) -> NDArray[np.float32]:
    """Return the descriptors [1, R, dim] of the regions of one decoded image; R may be 0."""
    parts = [_to_input(engine, part, views) for part in cut_regions(pixels, regions)]
    if not parts:
        return np.empty((1, 0, engine.dim), dtype=np.float32)
    return engine.describe(np.stack(parts), views)[0][None]


def _to_input(engine: Engine, pixels: NDArray[np.uint8], views: Views) -> NDArray[np.uint8]:
    return np.ascontiguousarray(views.resize(engine, pixels).transpose(2, 0, 1))
