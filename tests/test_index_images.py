"""Search of images with several vectors, against a comparison of all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.base import BaseIndex
from index.images import ImageIndex, keep_nearest

from .test_index_search import exact_rows, random_rows


def draw(images: int, each: int, seed: int, dim: int = 8) -> NDArray[np.float32]:
    """Return [images, each, dim] vectors whose products no order of sums can change."""
    return exact_rows(images * each, seed, dim).reshape(images, each, dim)


def slow_search(
    images: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compare every vector with every other; sort by falling score, then by rising image."""
    rows, scores = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    for query, vectors in enumerate(queries.astype(np.float64)):
        best = [float((vectors @ image.T).max()) for image in images.astype(np.float64)]
        order = sorted(range(len(images)), key=lambda row: (-best[row], row))[:k]
        rows[query, : len(order)], scores[query, : len(order)] = order, np.array(best)[order]
    return rows, scores


@settings(max_examples=80, deadline=None)
@given(
    *(st.integers(1, 40), st.integers(1, 6), st.integers(0, 8), st.integers(1, 6)),
    *(st.integers(1, 60), st.integers(0, 10**6)),
)
def test_images_come_out_as_if_all_pairs_had_been_compared(
    count: int, per_image: int, queries: int, each: int, k: int, seed: int
) -> None:
    images, asked = draw(count, per_image, seed), draw(queries, each, seed + 1)
    index = ImageIndex.build(images)
    found = index.search(asked, k)
    rows, scores = slow_search(images, asked, k)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)
    assert found.rows.dtype == np.int64 and found.scores.dtype == np.float32
    nearest = index.nearest_cosines(asked, k)
    np.testing.assert_array_equal(nearest, scores[:, : min(k, count)])


def test_an_image_whose_regions_fill_the_first_hits_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All twenty vectors of image 1 are nearer than any of the others.
    images = np.tile(np.eye(8, dtype=np.float32)[1], (5, 20, 1))
    images[1], images[3, 7] = np.eye(8)[0], [0.8, 0.6, 0, 0, 0, 0, 0, 0]
    asked = np.eye(8, dtype=np.float32)[None, :1]
    for most in (1, 1 << 22):  # one query at a time, and all together
        monkeypatch.setattr("index.images.MOST_NUMBERS", most)
        found = ImageIndex.build(images).search(np.repeat(asked, 2, axis=0), 4)
        assert found.rows.tolist() == [[1, 3, 0, 2]] * 2
        np.testing.assert_allclose(found.scores[0], [1, 0.8, 0, 0], atol=1e-6)


def test_images_of_one_vector_are_searched_as_ever() -> None:
    images, asked = random_rows(50, seed=0), random_rows(7, seed=1)
    expected = BaseIndex.build(images).search(asked, 9)
    found = ImageIndex.build(images[:, None]).search(asked[:, None], 9)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_the_vectors_of_an_image_are_read_back() -> None:
    images = random_rows(12, seed=2).reshape(4, 3, 16)
    index = ImageIndex.build(images)
    assert len(index) == 4
    np.testing.assert_array_equal(index.whole(np.array([3, 0])), images[[3, 0], 0])
    np.testing.assert_array_equal(index.vectors(np.array([3, 0])), images[[3, 0]])
    assert index.vectors(np.empty(0, np.int64)).shape == (0, 3, 16)


def test_the_best_pair_of_vectors_is_the_one_that_gave_the_score() -> None:
    images, asked = random_rows(12, seed=3).reshape(4, 3, 16), random_rows(2, seed=4)
    index = ImageIndex.build(images)
    found = index.search(asked[None], 4)
    cosines = index.cosines(asked, found.rows[0])
    np.testing.assert_allclose(cosines, found.scores[0], atol=1e-6)
    for row, score in zip(found.rows[0], found.scores[0], strict=True):
        mine, other = index.best_pair(asked, int(row))
        assert float(asked[mine] @ images[row, other]) == pytest.approx(float(score), abs=1e-6)


def test_hits_of_one_image_count_once_by_the_best() -> None:
    found = np.array([[2, 0, 0, 2, 1, -1]])
    scores = np.array([[0.5, 0.25, 0.125, 0.75, 0.25, -np.inf]], np.float32)
    images, best = keep_nearest(found, scores, k=4)
    assert images.tolist() == [[2, 0, 1, -1]]
    assert best.tolist() == [[0.75, 0.25, 0.25, -np.inf]]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_nearest_cosines_are_the_largest(count: int) -> None:
    vectors = random_rows(20, 0)
    index = ImageIndex.build(vectors[:7, None])
    expected = -np.sort(-(vectors @ vectors[:7].T), axis=1)[:, :count]
    np.testing.assert_allclose(index.nearest_cosines(vectors[:, None], count), expected, atol=1e-6)
    assert index.nearest_cosines(vectors[:0, None], count).shape == (0, min(count, 7))
