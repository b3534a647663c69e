"""Tests of SIFT extraction."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from embed.decode import DecodedImage
from rerank.features import FeatureExtractor
from rerank.sift import SiftExtractor, root_sift


def _texture(side: int = 200, seed: int = 0) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(size=(side, side, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.clip(smooth * 400 + 128, 0, 255).astype(np.uint8)


def _blob(width: int, height: int, x: float, y: float, sigma: float) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    gray = 220 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(gray[:, :, None], 3, axis=2).astype(np.uint8)


def test_sift_is_a_feature_extractor() -> None:
    extractor: FeatureExtractor = SiftExtractor()
    assert (extractor.name, extractor.dim) == ("sift", 128)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (40, 60), (700, 20)])
def test_image_without_texture_gives_no_rows(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 77, np.uint8)
    features = SiftExtractor().extract(DecodedImage(pixels, (shape[1], shape[0])))
    assert features.keypoints.shape == (0, 2)
    assert features.descriptors.shape == (0, 128)


def test_blob_is_found_at_its_centre_to_a_tenth_of_a_pixel() -> None:
    image = DecodedImage(_blob(140, 120, 61.0, 44.0, 5.0), (140, 120))
    features = SiftExtractor().extract(image)
    np.testing.assert_allclose(features.keypoints[0], [61.0, 44.0], atol=0.1)


@pytest.mark.parametrize("max_side", [512, 160])
def test_keypoints_are_in_pixels_of_the_original(max_side: int) -> None:
    # Pixels decoded at half size: centre c of the original lies at (c + 0.5) / 2 - 0.5.
    x, y = 240.0, 130.0
    pixels = _blob(200, 160, (x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5, 8.0)
    features = SiftExtractor(max_side=max_side).extract(DecodedImage(pixels, (400, 320)))
    np.testing.assert_allclose(features.keypoints[0], [x, y], atol=0.35)
    full = SiftExtractor().extract(DecodedImage(_blob(400, 320, x, y, 16.0), (400, 320)))
    np.testing.assert_allclose(features.scales[0], full.scales[0], rtol=0.05)
    assert features.image_size == (400, 320)


def test_strongest_features_at_distinct_locations_come_first() -> None:
    image = DecodedImage(_texture(), (200, 200))
    many, few = SiftExtractor(max_features=150), SiftExtractor(max_features=40)
    features = many.extract(image)
    assert 120 < len(features) <= 150
    assert (np.diff(features.scores) <= 0).all()
    assert len(np.unique(features.keypoints, axis=0)) == len(features)
    fewer = few.extract(image).keypoints
    assert 30 < len(fewer) <= 40
    np.testing.assert_array_equal(fewer, features.keypoints[: len(fewer)])


def test_two_runs_and_any_number_of_threads_give_the_same_bytes() -> None:
    image = DecodedImage(_texture(), (200, 200))
    before = cv2.getNumThreads()
    runs = []
    try:
        for threads in (1, 2, 2):
            cv2.setNumThreads(threads)
            features = SiftExtractor().extract(image)
            runs.append(features.keypoints.tobytes() + features.descriptors.tobytes())
    finally:
        cv2.setNumThreads(before)
    assert runs[0] == runs[1] == runs[2]


def test_root_sift_error_stays_within_what_is_documented() -> None:
    image = DecodedImage(_texture(), (200, 200))
    gray = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY)
    _, raw = cv2.SIFT.create().detectAndCompute(gray, np.empty(0, np.uint8))
    histograms = np.asarray(raw, np.float32)
    exact = np.sqrt(histograms / histograms.sum(axis=1, keepdims=True))
    error = np.linalg.norm(root_sift(histograms) / 512.0 - np.minimum(exact, 255 / 512), axis=1)
    assert error.max() <= 0.011
    assert np.median(error) <= 0.0065
    assert root_sift(np.zeros((1, 128), np.float32)).tolist() == [[0] * 128]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_side": 8},
        {"max_features": 0},
        {"contrast_threshold": -0.1},
        {"edge_threshold": 1.0},
    ],
)
def test_setting_out_of_range_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SiftExtractor(**settings)  # type: ignore[arg-type]
