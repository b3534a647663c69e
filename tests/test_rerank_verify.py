"""Tests of verification from images to inliers."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from embed.decode import DecodedImage
from rerank.features import LocalFeatures
from rerank.settings import RerankSettings
from rerank.sift import SiftExtractor
from rerank.verify import verify_candidates

SIDE = 240


def _texture(seed: int) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(size=(SIDE, SIDE, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(smooth * 450 + 128, 0, 255).astype(np.uint8)


def _features(pixels: npt.NDArray[np.uint8]) -> LocalFeatures:
    pixels = np.ascontiguousarray(pixels)
    return SiftExtractor().extract(DecodedImage(pixels, (pixels.shape[1], pixels.shape[0])))


def _warped(pixels: npt.NDArray[np.uint8], transform: npt.NDArray[np.float64]) -> LocalFeatures:
    warped = cv2.warpAffine(pixels, transform[:2], (SIDE, SIDE), borderValue=(128, 128, 128))
    return _features(np.asarray(warped, np.uint8))


def test_same_texture_is_told_from_another_and_from_a_mirror_image() -> None:
    pixels = _texture(0)
    candidates = [
        _features(pixels),
        _features(np.rot90(pixels)),
        _features(_texture(1)),
        _features(pixels[:, ::-1]),
        _features(np.full_like(pixels, 128)),
    ]
    found = verify_candidates(_features(pixels), candidates, RerankSettings())
    same, turned, other, mirrored, flat = (record.n_inliers for record in found)
    assert same > 100
    assert turned > 60
    assert max(other, mirrored) < 10
    assert flat == 0
    assert found[-1].transform is None
    assert found[0].transform is not None
    np.testing.assert_allclose(found[0].transform, np.eye(3), atol=1e-3)
    assert found[0].residual < 1e-3


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_recovered(turns: int) -> None:
    pixels = _texture(3)
    turned = _features(np.rot90(pixels, turns))
    (found,) = verify_candidates(_features(pixels), [turned], RerankSettings())
    assert found.transform is not None
    assert found.n_inliers > 60
    # (x, y) -> (y, SIDE - 1 - x), as often as turned.
    once = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, SIDE - 1.0], [0.0, 0.0, 1.0]])
    expected = np.linalg.matrix_power(once, turns)
    np.testing.assert_allclose(found.transform[:2, :2], expected[:2, :2], atol=0.01)
    np.testing.assert_allclose(found.transform[:2, 2], expected[:2, 2], atol=1.5)


def _some_rows(features: LocalFeatures, rows: list[int]) -> LocalFeatures:
    return LocalFeatures(
        features.keypoints[rows],
        features.descriptors[rows],
        features.scores[rows],
        features.scales[rows],
        features.image_size,
    )


@pytest.mark.parametrize("rows", [[], [0], [0] * 50, [0, 1, 2] * 20])
def test_too_few_distinct_features_are_no_match_on_either_side(rows: list[int]) -> None:
    full = _features(_texture(0))
    few = _some_rows(full, rows)
    for query, candidate in [(full, few), (few, full), (few, few)]:
        (found,) = verify_candidates(query, [candidate], RerankSettings())
        assert found.transform is None
        assert found.n_inliers == 0


def test_features_on_a_line_are_no_match() -> None:
    full = _features(_texture(0))
    line = LocalFeatures(
        np.stack([full.keypoints[:, 0], np.full(len(full), 50, np.float32)], axis=1),
        full.descriptors,
        full.scores,
        full.scales,
        full.image_size,
    )
    (found,) = verify_candidates(line, [line], RerankSettings())
    assert len(found.matches) > 100
    assert found.transform is None


def test_known_warp_is_recovered_to_half_a_pixel() -> None:
    planted = np.array([[0.9, -0.3, 50.0], [0.25, 0.85, -8.0], [0.0, 0.0, 1.0]])
    pixels = _texture(2)
    (found,) = verify_candidates(_features(pixels), [_warped(pixels, planted)], RerankSettings())
    assert found.transform is not None
    centre = np.array([SIDE / 2, SIDE / 2, 1.0])
    np.testing.assert_allclose((found.transform @ centre)[:2], (planted @ centre)[:2], atol=0.5)


def test_a_candidate_does_not_depend_on_the_others() -> None:
    query = _features(_texture(0))
    candidates = [_features(_texture(seed)) for seed in (0, 1, 2)]
    together = verify_candidates(query, candidates, RerankSettings())
    for candidate, record in zip(candidates, together, strict=True):
        (alone,) = verify_candidates(query, [candidate], RerankSettings())
        np.testing.assert_array_equal(alone.matches, record.matches)
        np.testing.assert_array_equal(alone.inliers, record.inliers)


def test_no_candidates_give_no_records() -> None:
    assert verify_candidates(_features(_texture(0)), [], RerankSettings()) == []


def test_features_of_another_extractor_are_refused() -> None:
    query = _features(_texture(0))
    n = len(query)
    other = LocalFeatures(
        query.keypoints, np.ones((n, 40), np.float32), query.scores, query.scales, (SIDE, SIDE)
    )
    with pytest.raises(ValueError, match="extract both with the same extractor"):
        verify_candidates(query, [other], RerankSettings())
