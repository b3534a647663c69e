"""Extract SIFT features of one decoded image as RootSIFT descriptors in uint8.

Knows nothing of matching or storage. Reads and writes no files.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import numpy.typing as npt

from embed.decode import DecodedImage

from .features import LocalFeatures

# RootSIFT values are 0 to 1 and rarely above 0.5, so 512 spends the 8 bits well.
DESCRIPTOR_GAIN = 512.0
# About one keypoint in six repeats a location with another orientation (1.2 on photos).
ORIENTATIONS_PER_LOCATION = 1.25


@dataclass(frozen=True)
class SiftExtractor:
    """SIFT with RootSIFT descriptors, the strongest features first.

    The order is that of falling response, then y, x, size and angle, so it does not depend on
    threads. A location with several orientations keeps the one of least angle: the budget is
    better spent on other locations. Small images are not enlarged: that found no more evidence.

    Source: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004;
    Arandjelovic and Zisserman, "Three things everyone should know to improve object retrieval",
    CVPR 2012, section 3 (RootSIFT). Descriptors differ by the 8 bits of `root_sift`.

    Raises:
        ValueError: a setting is out of its range.
    """

    max_side: int = 512  # pixels, longer side of the image that is searched
    max_features: int = 600  # features an image, the strongest by response
    contrast_threshold: float = 0.04  # least response; Lowe's 0.03 is 0.09 here
    edge_threshold: float = 10.0  # largest ratio of principal curvatures, Lowe's r

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.max_side < 16:
            raise ValueError(f"max_side {self.max_side} is below 16 pixels")
        if self.max_features < 1:
            raise ValueError(f"max_features {self.max_features} is below 1")
        if self.contrast_threshold < 0 or self.edge_threshold <= 1:
            raise ValueError(
                f"contrast_threshold {self.contrast_threshold} must be >= 0 and "
                f"edge_threshold {self.edge_threshold} > 1"
            )

    @property
    def name(self) -> str:
        """The name in recipes and messages."""
        return "sift"

    @property
    def fingerprint(self) -> str:
        """Sha256 of the name and the settings."""
        text = json.dumps({"name": self.name, "version": 1, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def dim(self) -> int:
        """Values in one descriptor."""
        return 128

    def extract(self, image: DecodedImage) -> LocalFeatures:
        """Find the SIFT features of one image.

        Args:
            image: pixels [H, W, 3] uint8 RGB, perhaps smaller than the original.

        Returns:
            At most max_features features, a few less where many locations repeat; keypoints and
            scales (blob diameters) in pixels of the original image, descriptors [N, 128] uint8 as
            `root_sift` makes them.
        """
        gray = self._resized_gray(image.pixels)
        detector = cv2.SIFT.create(
            nfeatures=round(self.max_features * ORIENTATIONS_PER_LOCATION),
            contrastThreshold=self.contrast_threshold,
            edgeThreshold=self.edge_threshold,
            # Without it OpenCV's keypoints lie a quarter of a pixel to the lower right.
            enable_precise_upscale=True,
        )
        found, raw = detector.detectAndCompute(gray, None)
        if not found:
            raw = np.empty((0, self.dim), np.float32)
        table = _keypoint_table(found)
        order = _strongest_locations(table, self.max_features)
        table = table[order]
        width, height = image.original_size
        ratio = np.array([width / gray.shape[1], height / gray.shape[0]], np.float32)
        return LocalFeatures(
            keypoints=((table[:, :2] + 0.5) * ratio - 0.5).astype(np.float32),
            descriptors=root_sift(np.asarray(raw, np.float32)[order]),
            scores=table[:, 4].astype(np.float32),
            scales=(table[:, 2] * np.sqrt(ratio.prod())).astype(np.float32),
            image_size=(width, height),
        )

    @property
    def min_side(self) -> int:
        """Longer side of the image that is searched, in pixels."""
        return self.max_side

    @property
    def batch_size(self) -> int:
        """1: OpenCV takes one image at a time."""
        return 1

    def extract_batch(self, images: Sequence[DecodedImage]) -> list[LocalFeatures]:
        """Find the features of several images, one after the other."""
        return [self.extract(image) for image in images]

    def _resized_gray(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        height, width = gray.shape
        factor = self.max_side / max(height, width)
        if factor < 1:
            size = (max(1, round(width * factor)), max(1, round(height * factor)))
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        return np.asarray(gray, np.uint8)


def root_sift(raw: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Turn SIFT histograms into RootSIFT, stored in 8 bits.

    Each row is divided by its sum, its square root taken, multiplied by 512, rounded, and clipped
    at 255 (0.498). Rounding moves a value by at most 1/1024, so a row of length 1 by at most 0.011
    and typically 0.006 (sqrt(128 / 12) / 512); true matches lie 0.13 to 0.43 apart.

    Args:
        raw: [N, 128] float32, >= 0, as OpenCV gives them.

    Returns:
        [N, 128] uint8, rows of length about 512.
    """
    total = np.maximum(raw.sum(axis=1, keepdims=True), 1e-12)
    scaled: npt.NDArray[np.float32] = np.rint(np.sqrt(raw / total) * DESCRIPTOR_GAIN)
    return np.minimum(scaled, 255.0).astype(np.uint8)


def _keypoint_table(found: Sequence[cv2.KeyPoint]) -> npt.NDArray[np.float64]:
    """Return [N, 5] float64: x, y, size, angle, response."""
    rows = [(*point.pt, point.size, point.angle, point.response) for point in found]
    return np.array(rows, np.float64).reshape(-1, 5)


def _strongest_locations(table: npt.NDArray[np.float64], max_features: int) -> npt.NDArray[np.intp]:
    """Return the rows to keep: distinct locations by falling response, at most max_features."""
    x, y, size, angle, response = table.T
    order = np.lexsort((angle, size, x, y, -response))
    _, first = np.unique(table[order, :2], axis=0, return_index=True)
    return order[np.sort(first)][:max_features]
