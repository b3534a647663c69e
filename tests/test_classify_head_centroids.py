"""Centroids against the mean taken class by class, and a plain product against the search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.centroids import class_centroids, nearest_centroids


def unit_vectors(seed: int, count: int, dim: int = 4) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dim))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.asarray(unit, dtype=np.float32)


@given(st.integers(1, 30), st.integers(0, 99))
def test_centroids_are_the_means_made_unit(count: int, seed: int) -> None:
    vectors = unit_vectors(seed, count)
    labels = np.random.default_rng(seed + 1).integers(0, 5, count) * 10
    found, centroids = class_centroids(vectors, labels)
    assert found.tolist() == sorted(set(labels.tolist())) and centroids.dtype == np.float32
    for label, centroid in zip(found, centroids, strict=True):
        mean = vectors[labels == label].mean(axis=0)
        assert centroid == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)


def test_at_most_so_many_images_of_a_landmark_are_drawn() -> None:
    vectors, labels = np.eye(64, dtype=np.float32), np.repeat([3, 4], [60, 4])
    _, centroids = class_centroids(vectors, labels, most=10, seed=1)
    assert (centroids > 0).sum(axis=1).tolist() == [10, 4]
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1)
    again = class_centroids(vectors, labels, most=10, seed=1)[1]
    other = class_centroids(vectors, labels, most=10, seed=2)[1]
    assert np.array_equal(centroids, again) and not np.array_equal(centroids[0], other[0])
    assert np.array_equal(centroids[1], other[1])


def test_descriptors_that_cancel_out_leave_0() -> None:
    vectors = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    assert class_centroids(vectors, np.array([5, 5]))[1].tolist() == [[0.0, 0.0]]


def test_no_descriptors_have_no_centroids() -> None:
    labels, centroids = class_centroids(np.empty((0, 3), np.float32), np.empty(0, np.int64))
    assert labels.shape == (0,) and centroids.shape == (0, 3)
    found = nearest_centroids(unit_vectors(0, 2, 3), labels, centroids)
    assert found.labels.shape == (2, 0)


@given(st.integers(0, 4), st.integers(1, 15), st.integers(1, 20), st.integers(0, 99))
def test_the_nearest_are_those_of_all_products_sorted(
    queries: int, classes: int, count: int, seed: int
) -> None:
    asked, centroids = unit_vectors(seed, queries), unit_vectors(seed + 1, classes)
    labels = np.random.default_rng(seed).permutation(classes) + 100
    found = nearest_centroids(asked, labels, centroids, count)
    cosines = asked @ centroids.T
    order = np.argsort(-cosines, axis=1)[:, :count]
    assert found.labels.shape == (queries, min(count, classes)) and found.largest == 1.0
    if queries:
        assert np.array_equal(found.labels, labels[order])
        assert found.scores == pytest.approx(np.take_along_axis(cosines, order, 1), abs=1e-6)


def test_equal_centroids_come_by_label() -> None:
    centroids = np.ones((3, 1), np.float32)
    found = nearest_centroids(np.ones((1, 1), np.float32), np.array([9, 2, 5]), centroids)
    assert found.labels.tolist() == [[2, 5, 9]]


def test_shapes_that_do_not_fit_are_named() -> None:
    vectors = unit_vectors(0, 3)
    with pytest.raises(ValueError, match=r"vectors \(3, 4\), labels \(2,\)"):
        class_centroids(vectors, np.array([1, 2]))
    with pytest.raises(ValueError, match=r"queries \(3, 4\), labels \(2,\)"):
        nearest_centroids(vectors, np.array([1, 2]), vectors)
    with pytest.raises(ValueError, match="count is 0"):
        nearest_centroids(vectors, np.arange(3), vectors, count=0)
