"""Extract our own DELF features of decoded images, many at a time on the model's device.

Knows nothing of matching or storage. Reads and writes no files.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.backbone import LastLayer
from embed.decode import DecodedImage
from embed.errors import InputError
from embed.head_scores import HeadScores
from embed.model import DescriptorModel, fingerprint_model
from embed.tensors import normalize, to_tensor
from embed.torch_engine import Classifier, describe_and_classify
from embed.transforms import resize_image
from embed.views import ONE_VIEW, Views
from rerank.features import LocalFeatures

from .model import LocalModel, fingerprint_delf
from .pyramid import Pyramid, build_pyramid, select
from .settings import DelfSettings, fingerprint_extraction, pyramid_sides


class DelfExtractor:
    """Local features of an image pyramid, the best by attention first.

    An image is squeezed into squares; where the global descriptor wants one of them, one pass of
    the backbone gives both: see `describe`. Pyramid, attention and reduction are those
    of DELF (Noh et al., ICCV 2017) and DELG (Cao et al., 2020).
    """

    def __init__(
        self,
        model: DescriptorModel,
        local: LocalModel,
        settings: DelfSettings,
        model_fingerprint: str = "",
    ) -> None:
        """Take a descriptor model and the local model that was trained for it, on one device.

        Args:
            model: which describes.
            local: which was trained for it.
            settings: those of extraction count: extraction_batch, scales, max_features,
                score_threshold and nms_overlap.
            model_fingerprint: of the descriptor model; if it is known, nothing is hashed.

        Raises:
            InputError: the local model belongs to another descriptor model.
        """
        found = model_fingerprint or fingerprint_model(model)
        if local.spec.model_fingerprint != found:
            raise InputError(
                f"the local model belongs to descriptor model {local.spec.model_fingerprint[:12]}, "
                f"not to {found[:12]}; train DELF for this model"
            )
        self.model, self.local, self.settings = model.eval(), local.eval(), settings
        self.level = model.backbone.find_level(local.spec.stride)
        self.sides = pyramid_sides(model.spec.image_size, settings.scales, self.level.stride)
        # Threads may share it; on a GPU they take turns, whose memory holds one batch.
        on_cpu = next(model.parameters()).device.type == "cpu"
        self._turn: AbstractContextManager[Any] = nullcontext() if on_cpu else Lock()

    @property
    def name(self) -> str:
        """The name in recipes and messages."""
        return "delf"

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of the settings of extraction and of all weights, the backbone's included."""
        return fingerprint_extraction(fingerprint_delf(self.local), self.settings)

    @property
    def dim(self) -> int:
        """Values in one descriptor."""
        return self.local.spec.dim

    @property
    def min_side(self) -> int:
        """Side of the largest square of the pyramid, in pixels: decode with it as min_side."""
        return max(self.sides)

    @property
    def batch_size(self) -> int:
        """Images that go through the network at a time."""
        return self.settings.extraction_batch

    def extract(self, image: DecodedImage) -> LocalFeatures:
        """Find the features of one image."""
        return self.extract_batch([image])[0]

    @torch.inference_mode()
    def extract_batch(self, images: Sequence[DecodedImage]) -> list[LocalFeatures]:
        """Find the features of images of any sizes.

        Args:
            images: [B] pixels [H, W, 3] uint8 RGB, perhaps smaller than the originals.

        Returns:
            [B] records of at most max_features features by falling score, equal scores in the
            order of the pyramid: descriptors [N, dim] float16 of length 1, scores in units of the
            training images' mean, scales the distance of neighbouring locations (see Pyramid).

        Raises:
            InputError: a backbone that takes images of one size only.
        """
        features: list[LocalFeatures] = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            with self._turn:
                features += self._find(batch, self._forward(batch)[0])
        return features

    @torch.inference_mode()
    def describe(
        self, image: DecodedImage, views: Views = ONE_VIEW, classifier: Classifier | None = None
    ) -> tuple[LocalFeatures, NDArray[np.float32], HeadScores]:
        """Find the features of one image as extract does, and describe and classify it, too.

        Returns:
            The features; the global descriptor [1, D], of length 1, and what the head says: those
            of embed.engine.describe_batch for the same image.
        """
        seen = to_tensor(views.resize(self.model, image.pixels))[None]
        height, width = seen.shape[-2:]
        maps, last = self._forward([image], width if views.whole and height == width else None)
        (features,) = self._find([image], maps)
        return features, *describe_and_classify(self.model, seen, classifier, views, last)

    def _forward(
        self, images: Sequence[DecodedImage], shared: int | None = None
    ) -> tuple[list[Tensor], LastLayer | None]:
        """Return the maps [B, C, h, w] of all sides, and the last layer of the shared, if any."""
        maps: list[Tensor] = []
        last, device = None, next(self.model.parameters()).device
        for side in self.sides:
            squares = _make_squares(images, side).to(device)
            batch = normalize(squares, self.model.spec.backbone)
            batch = batch.contiguous(memory_format=torch.channels_last)
            try:
                if side == shared:
                    found, last = self.model.backbone.forward_both(batch, self.level)
                else:
                    found = self.model.backbone.forward_to(batch, self.level)
            except torch.OutOfMemoryError:
                raise
            except (AssertionError, RuntimeError) as error:  # each architecture says it its own way
                if side == self.model.spec.image_size:
                    raise
                raise InputError(
                    f"'{self.model.spec.backbone.architecture}' failed on squares of {side} "
                    f"pixels, not its {self.model.spec.image_size} ({error}); some backbones take "
                    "one size alone: set scales = [1.0]"
                ) from error
            maps.append(found)
        return maps, last

    def _find(self, images: Sequence[DecodedImage], maps: Sequence[Tensor]) -> list[LocalFeatures]:
        scores = torch.cat([self.local.score(found).flatten(1) for found in maps], dim=1)
        raw = torch.cat([found.flatten(2) for found in maps], dim=2).movedim(1, 2)  # [B, T, C]
        sizes = [(found.shape[2], found.shape[3]) for found in maps]
        pyramid = build_pyramid(self.sides, sizes, self.level.stride, self.local.spec.center)
        return [
            self._pick(pyramid, rows, vectors, image.original_size)
            for rows, vectors, image in zip(scores.float().cpu().numpy(), raw, images, strict=True)
        ]

    def _pick(
        self,
        pyramid: Pyramid,
        scores: NDArray[np.float32],
        vectors: Tensor,
        size: tuple[int, int],
    ) -> LocalFeatures:
        """Return the best features of one image from scores [T] and descriptors [T, C]."""
        rows = select(
            scores,
            pyramid,
            max_features=self.settings.max_features,
            threshold=self.settings.score_threshold,
            max_overlap=self.settings.nms_overlap,
        )
        keypoints, scales = pyramid.place(rows, size)
        descriptors = self.local.reduction(vectors[torch.from_numpy(rows).to(vectors.device)])
        return LocalFeatures(
            keypoints=keypoints.astype(np.float32),
            descriptors=descriptors.cpu().numpy().astype(np.float16),
            scores=scores[rows],
            scales=scales.astype(np.float32),
            image_size=size,
        )


def _make_squares(images: Sequence[DecodedImage], side: int) -> Tensor:
    """Return [B, 3, side, side] uint8 of images of any sizes."""
    return torch.stack([to_tensor(resize_image(image.pixels, side)) for image in images])
