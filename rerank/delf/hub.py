"""Extract DELF features with a published TensorFlow model, of TensorFlow Hub or of a folder.

Knows nothing of graphs and signatures, matching or storage. Reads the model; a hub handle is
fetched into the cache of tensorflow_hub (TFHUB_CACHE_DIR).
"""

import hashlib
import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from embed.decode import DecodedImage
from embed.errors import InputError, MissingFileError
from rerank.features import LocalFeatures

from .hub_model import HubFeatures, HubModel, fetch_model, load_model

RECEPTIVE_FIELD = 291.0  # pixels that one feature of ResNet-50's third block sees at scale 1
MIN_SIDE = 10  # pixels, the reference finds nothing in images below
_LOADING = threading.Lock()  # threads that share an extractor wait for one load of its model


@dataclass(frozen=True)
class HubDelf:
    """DELF as published, the strongest features first.

    The order is that of falling score, then y, x and scale. The model is loaded at the first use,
    so that making an extractor and asking for its fingerprint import no TensorFlow.

    Source: Noh et al., "Large-Scale Image Retrieval with Attentive Deep Local Features", ICCV
    2017; https://tfhub.dev/google/delf/1; github.com/tensorflow/models, research/delf. Differs:
    larger images are shrunk by area averaging, and keypoints take care of pixel centres.

    Raises:
        MissingFileError: the folder is not there.
        InputError: a setting is out of its range, or the folder holds no SavedModel.
    """

    handle: str = "https://tfhub.dev/google/delf/1"  # or the folder of a SavedModel
    image_scales: tuple[float, ...] = (0.25, 0.3536, 0.5, 0.7071, 1.0, 1.4142, 2.0)
    max_features: int = 1000  # features an image, the strongest by attention
    score_threshold: float = 100.0  # least attention
    max_side: int = 1024  # pixels, longer side of the image at scale 1

    def __post_init__(self) -> None:
        """Check the settings, and the folder if there is one."""
        if not self.image_scales or not all(0 < scale < math.inf for scale in self.image_scales):
            raise InputError(f"image_scales {self.image_scales} must be positive, at least one")
        if self.max_features < 1:
            raise InputError(f"max_features {self.max_features} is below 1")
        if not math.isfinite(self.score_threshold):
            raise InputError(f"score_threshold {self.score_threshold} must be finite")
        if self.max_side < 16:
            raise InputError(f"max_side {self.max_side} is below 16 pixels")
        if not self._is_address:
            _check_folder(Path(self.handle))

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings alone: copies in other processes load the model themselves."""
        return {setting.name: getattr(self, setting.name) for setting in fields(self)}

    @property
    def name(self) -> str:
        """The name in recipes and messages."""
        return "delf_hub"

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of the name, the settings and the model: a folder's content, or an address."""
        model = self.handle if self._is_address else _hash_saved_model(Path(self.handle))
        values = {"name": self.name, "version": 1, **self.__getstate__(), "handle": model}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def dim(self) -> int:
        """Values in one descriptor, 40 for google/delf/1. Loads the model, as `extract` does."""
        return self._model.dim

    @property
    def min_side(self) -> int:
        """Longer side of the image at scale 1, in pixels."""
        return self.max_side

    @property
    def batch_size(self) -> int:
        """Images that are worth passing at once: the published graphs take one."""
        return 1

    def extract_batch(self, images: Sequence[DecodedImage]) -> list[LocalFeatures]:
        """Find the features of each image, one after the other."""
        return [self.extract(image) for image in images]

    def extract(self, image: DecodedImage) -> LocalFeatures:
        """Find the DELF features of one image.

        Args:
            image: pixels [H, W, 3] uint8 RGB, perhaps smaller than the original.

        Returns:
            At most max_features features; keypoints and scales (receptive fields) in pixels of
            the original image, descriptors [N, D] as the model gives them, of any length.

        Raises:
            MissingFileError: the handle cannot be fetched.
            InputError: TensorFlow is not installed.
            InputError: the model cannot be loaded, or has another signature.
        """
        pixels = _shrunk(image.pixels, self.max_side)
        height, width = pixels.shape[:2]
        if min(height, width) < MIN_SIDE:
            found = HubFeatures.empty(self.dim)
        else:
            found = self._model.find(
                pixels, self.image_scales, self.score_threshold, self.max_features
            )
        found = found.strongest(self.max_features)
        ratio = np.divide(image.original_size, (width, height))
        sizes = found.scales * RECEPTIVE_FIELD * np.sqrt(ratio.prod())
        return LocalFeatures(
            keypoints=((found.points + 0.5) * ratio - 0.5).astype(np.float32),
            descriptors=found.descriptors,
            scores=found.scores.astype(np.float32),
            scales=sizes.astype(np.float32),
            image_size=image.original_size,
        )

    def fetch(self) -> None:
        """Fetch the model if it is not there yet. Raises MissingFileError if it cannot be."""
        if self._is_address:
            fetch_model(self.handle)

    @property
    def _is_address(self) -> bool:
        return "://" in self.handle

    @property
    def _model(self) -> HubModel:
        with _LOADING:
            return self._loaded_model

    @cached_property
    def _loaded_model(self) -> HubModel:
        return load_model(self.handle)


def _shrunk(pixels: npt.NDArray[np.uint8], max_side: int) -> npt.NDArray[np.uint8]:
    """Scale an image down so that its longer side is at most max_side."""
    height, width = pixels.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder} is no folder; give that of a SavedModel, or an address such as "
            f"{HubDelf.handle}"
        )
    if not _graphs(folder):
        raise InputError(
            f"{folder} is no SavedModel: it holds no saved_model.pb; unpack the downloaded "
            "archive and give the folder with that file"
        )


def _graphs(folder: Path) -> list[Path]:
    names = ("saved_model.pb", "saved_model.pbtxt")
    return [folder / name for name in names if (folder / name).is_file()]


def _hash_saved_model(folder: Path) -> str:
    """Return the sha256 of the graph, the variables and the assets, wherever the folder lies."""
    parts = [*folder.glob("variables/**/*"), *folder.glob("assets/**/*")]
    digest = hashlib.sha256()
    for path in sorted([*_graphs(folder), *(part for part in parts if part.is_file())]):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()
