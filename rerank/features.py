"""Hold the local features of one image, and say what an extractor of them must offer.

Knows nothing of how features are found, matched or stored. Reads and writes no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embed.decode import DecodedImage

DESCRIPTOR_DTYPES = (np.dtype(np.uint8), np.dtype(np.float16), np.dtype(np.float32))


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """The local features of one image; arrays are checked and made read-only views.

    Attributes:
        keypoints: [N, 2] float32, (x, y) pixels of the original image, centre of the top-left
            pixel = (0, 0).
        descriptors: [N, D] uint8, float16 or float32; only directions are compared, so any norm
            but zero will do.
        scores: [N] float32, strength of the detection, higher is better.
        scales: [N] float32, size of the described structure in pixels of the original image, > 0.
        image_size: (width, height) of the original image in pixels.

    Raises:
        ValueError: an array has another shape or dtype than stated, a value is not finite, a
            scale is not positive, or the image size is not positive.
    """

    keypoints: npt.NDArray[np.float32]
    descriptors: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float32]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        """Check every field and replace the arrays by read-only views."""
        n = len(self.scores)
        _check_float32("keypoints", self.keypoints, (n, 2))
        _check_float32("scores", self.scores, (n,))
        _check_float32("scales", self.scales, (n,))
        _check_descriptors(self.descriptors, n)
        if n and not self.scales.min() > 0:
            raise ValueError(f"scales must be > 0, the smallest is {self.scales.min()}")
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ValueError(f"image_size {self.image_size} != (width, height), both >= 1")
        for name in ("keypoints", "descriptors", "scores", "scales"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        """Return N, the number of features."""
        return len(self.scores)


class FeatureExtractor(Protocol):
    """What every extractor of local features offers: SIFT, DELF and those to come."""

    @property
    def name(self) -> str:
        """Short name of the method, such as 'sift'."""
        ...

    @property
    def fingerprint(self) -> str:
        """Sha256 of the name and the settings: features of one fingerprint can be compared.

        Library versions are left out, so that an upgrade does not void stored features.
        """
        ...

    @property
    def dim(self) -> int:
        """D, the number of values in one descriptor."""
        ...

    @property
    def min_side(self) -> int:
        """Images are best decoded with this min_side, in pixels: more is thrown away."""
        ...

    @property
    def batch_size(self) -> int:
        """Images that are best given together; 1 where they are found one by one anyway."""
        ...

    def extract(self, image: DecodedImage) -> LocalFeatures:
        """Find the features of one image; an image without any gives a record of 0 rows."""
        ...

    def extract_batch(self, images: Sequence[DecodedImage]) -> list[LocalFeatures]:
        """Find the features of several images, as extract does."""
        ...


def _check_float32(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != np.float32 or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, expected float32 {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; drop those features before")


def _check_descriptors(descriptors: npt.NDArray[Any], n: int) -> None:
    if descriptors.ndim != 2 or len(descriptors) != n or descriptors.shape[1] < 1:
        raise ValueError(f"descriptors have shape {descriptors.shape}, expected ({n}, D >= 1)")
    if descriptors.dtype not in DESCRIPTOR_DTYPES:
        raise ValueError(
            f"descriptors are {descriptors.dtype}, expected uint8, float16 or float32; convert them"
        )
    if descriptors.dtype != np.uint8 and not np.isfinite(descriptors).all():
        raise ValueError("descriptors hold NaN or infinity; drop those features before")
