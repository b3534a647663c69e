"""Tests of matching against several images at once, by a KD-tree and plain loops."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from embed.decode import DecodedImage
from rerank.aggregated import (
    build_aggregated_index,
    match_aggregated,
    verify_aggregated,
)
from rerank.cosines import unit_rows
from rerank.features import LocalFeatures
from rerank.settings import RerankSettings
from rerank.sift import SiftExtractor


def _record(descriptors: npt.NDArray[Any], seed: int = 0) -> LocalFeatures:
    n = len(descriptors)
    keypoints = np.random.default_rng(seed).uniform(0, 200, (n, 2)).astype(np.float32)
    ones = np.ones(n, np.float32)
    return LocalFeatures(keypoints, descriptors, ones, ones, (200, 200))


def _related(seed: int, sizes: list[int], dtype: Any = np.float32) -> list[npt.NDArray[Any]]:
    """Return noisy copies of random rows of one small set, so that some occur several times."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(1, 200, (12, 16))
    return [
        (base[rng.integers(0, 12, n)] + rng.normal(0, 20, (n, 16))).clip(1, 255).astype(dtype)
        for n in sizes
    ]


def _oracle(
    query: npt.NDArray[Any], images: list[npt.NDArray[Any]], neighbors: int, limit: float
) -> list[list[list[int]]]:
    places = [(image, row) for image in range(len(images)) for row in range(len(images[image]))]
    tree = cKDTree(unit_rows(np.concatenate(images)).astype(np.float64))
    distances, entries = tree.query(
        unit_rows(query).astype(np.float64), range(1, neighbors + 1), distance_upper_bound=limit
    )
    found = sorted(
        (distance, i, *places[entry])
        for i in range(len(query))
        for distance, entry in zip(distances[i], entries[i], strict=True)
        if entry < len(places)
    )
    nearest: dict[tuple[int, int], tuple[int, int]] = {}
    for _, i, image, row in found:
        nearest.setdefault((image, i), (image, row))
    matches: dict[tuple[int, int], int] = {}
    for _, i, image, row in found:
        if nearest[image, i] == (image, row):
            matches.setdefault((image, row), i)
    return [
        sorted([i, row] for (where, row), i in matches.items() if where == image)
        for image in range(len(images))
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize(("count", "limit"), [(10, 0.8), (1, 0.8), (10, 0.3), (90, 2.0)])
def test_matches_equal_those_of_a_tree_and_plain_loops(
    dtype: Any, count: int, limit: float
) -> None:
    query, *images = _related(4, [30, 25, 40, 1, 20], dtype)
    index = build_aggregated_index([_record(image) for image in images])
    found = match_aggregated(query, index, nearest=count, max_distance=limit)
    expected = _oracle(query, images, count, limit)
    assert [matches.tolist() for matches in found] == expected
    assert sum(map(len, expected)) > 5


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_order_of_images_changes_nothing(seed: int) -> None:
    query, *images = _related(seed, [20, 15, 10, 25])
    plain = match_aggregated(query, build_aggregated_index([_record(image) for image in images]))
    turned = build_aggregated_index([_record(image) for image in images[::-1]])
    for expected, found in zip(plain, match_aggregated(query, turned)[::-1], strict=True):
        np.testing.assert_array_equal(expected, found)


def test_a_descriptor_matches_every_image_that_has_it() -> None:
    unit = np.eye(6, dtype=np.uint8)
    index = build_aggregated_index([_record(unit[[0, 1]]), _record(unit[[3, 0]]), _record(unit)])
    found = match_aggregated(unit[[0]], index)
    assert [matches.tolist() for matches in found] == [[[0, 0]], [[0, 1]], [[0, 0]]]
    # Looking at two neighbours only, ties go to the images that come first.
    found = match_aggregated(unit[[0]], index, nearest=2)
    assert [matches.tolist() for matches in found] == [[[0, 0]], [[0, 1]], []]


def test_repeated_descriptors_of_one_image_match_once() -> None:
    unit = np.eye(4, dtype=np.uint8)
    index = build_aggregated_index([_record(unit[[1, 0, 0]])])
    assert match_aggregated(unit[[0, 0, 1]], index)[0].tolist() == [[0, 1], [2, 0]]


def test_no_rows_on_either_side_give_no_matches() -> None:
    some, none = np.ones((3, 8), np.uint8), np.empty((0, 8), np.uint8)
    for query, images in [(some, [none, none]), (none, [some, none]), (none, [none])]:
        index = build_aggregated_index([_record(image) for image in images])
        found = match_aggregated(query, index)
        assert [matches.shape for matches in found] == [(0, 2)] * len(images)
        assert all(matches.dtype == np.int64 for matches in found)
        records = verify_aggregated(_record(query), index, RerankSettings(max_distance=0.8))
        assert [record.n_inliers for record in records] == [0] * len(images)
    assert match_aggregated(some, build_aggregated_index([])) == []


def test_descriptors_of_length_zero_match_nothing() -> None:
    rows = np.eye(4, dtype=np.float32)
    rows[1] = 0
    index = build_aggregated_index([_record(rows)])
    assert match_aggregated(rows, index, max_distance=2.0)[0].tolist() == [[0, 0], [2, 2], [3, 3]]


def test_wrong_input_is_refused() -> None:
    rows = np.ones((2, 8), np.uint8)
    with pytest.raises(ValueError, match=r"dims \[4, 8\]"):
        build_aggregated_index([_record(rows), _record(rows[:, :4])])
    index = build_aggregated_index([_record(rows)])
    with pytest.raises(ValueError, match="query descriptors have dim 4, the index 8"):
        match_aggregated(rows[:, :4], index)
    with pytest.raises(ValueError, match="nearest 0"):
        match_aggregated(rows, index, nearest=0)
    with pytest.raises(ValueError, match=r"max_distance 2\.5"):
        match_aggregated(rows, index, max_distance=2.5)


def _texture(seed: int) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(size=(200, 200, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(smooth * 450 + 128, 0, 255).astype(np.uint8)


def test_photos_of_the_same_are_told_from_others() -> None:
    pixels = _texture(0)
    images = [pixels, np.rot90(pixels), _texture(1), np.full_like(pixels, 128)]
    features = [
        SiftExtractor(max_features=300).extract(DecodedImage(np.ascontiguousarray(x), (200, 200)))
        for x in images
    ]
    found = verify_aggregated(
        features[0], build_aggregated_index(features), RerankSettings(max_distance=0.8)
    )
    same, turned, other, flat = found
    assert same.transform is not None
    np.testing.assert_allclose(same.transform, np.eye(3), atol=1e-2)
    assert same.n_inliers > 100
    assert turned.n_inliers > 60
    assert other.n_inliers < 15
    assert flat.transform is None
