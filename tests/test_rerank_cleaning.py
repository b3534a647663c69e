"""Cleaning rules against slow obvious ones, and what they look at of the features."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rerank.cleaning import (
    CleaningSettings,
    count_inliers,
    count_verified,
    keep_classes,
    keep_images,
    same_label_candidates,
)
from rerank.features import LocalFeatures
from rerank.settings import RerankSettings

GEOMETRY = RerankSettings()


def random_search(seed: int, images: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels [N] and neighbours [N, k] in random order, padded where k > N."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, images)
    neighbors = np.full((images, k), -1, dtype=np.int64)
    for row in neighbors:
        row[: min(k, images)] = rng.permutation(images)[:k]
    return labels, neighbors


@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 16), st.integers(1, 6))
def test_candidates_are_the_first_neighbours_of_the_same_label(
    seed: int, images: int, k: int, most: int
) -> None:
    labels, neighbors = random_search(seed, images, k)
    found = same_label_candidates(labels, np.arange(images), neighbors, most)
    for row in range(images):
        own = [n for n in neighbors[row] if n >= 0 and n != row and labels[n] == labels[row]]
        assert found[row].tolist() == (own + [-1] * most)[:most]


def test_some_images_get_the_candidates_they_get_among_all() -> None:
    labels, neighbors = random_search(0, 9, 9)
    every = same_label_candidates(labels, np.arange(9), neighbors)
    some = np.array([7, 2])
    assert (same_label_candidates(labels, some, neighbors[some]) == every[some]).all()


def test_no_images_have_no_candidates() -> None:
    nothing = np.empty(0, dtype=np.int64)
    found = same_label_candidates(nothing, nothing, np.empty((0, 5), dtype=np.int64), 3)
    assert found.shape == (0, 3)


def test_candidates_need_an_image_for_each_row() -> None:
    labels, neighbors = random_search(0, 4, 3)
    with pytest.raises(ValueError, match=r"images \(3,\) and neighbors \(4, 3\)"):
        same_label_candidates(labels, np.arange(3), neighbors)
    with pytest.raises(ValueError, match="most is 0"):
        same_label_candidates(labels, np.arange(4), neighbors, 0)


def test_an_image_is_kept_by_enough_candidates_of_enough_inliers() -> None:
    inliers = np.array([[30, 30, 0], [30, 29, 29], [0, 90, 31], [-1, -1, -1]])
    assert keep_images(inliers).tolist() == [True, False, True, False]
    assert keep_images(inliers, min_images=3, min_inliers=29).tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert count_verified(inliers).tolist() == [2, 1, 2, 0]


def test_asking_for_more_keeps_no_image_that_was_left_out() -> None:
    inliers = np.random.default_rng(0).integers(-1, 60, (200, 5))
    for images, count in ((1, 10), (2, 30), (3, 30)):
        kept = keep_images(inliers, images, count)
        assert not (keep_images(inliers, images + 1, count) & ~kept).any()
        assert not (keep_images(inliers, images, count + 5) & ~kept).any()


def test_images_without_candidates_are_not_kept() -> None:
    assert keep_images(np.empty((2, 0), dtype=np.int64)).tolist() == [False, False]
    assert keep_images(np.empty((0, 100), dtype=np.int64)).tolist() == []


def test_padding_never_counts() -> None:
    with pytest.raises(ValueError, match="min_inliers 0"):
        keep_images(np.array([[-1, -1]]), min_inliers=0)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=20), st.integers(1, 3))
def test_a_class_stays_with_enough_kept_images(images: list[tuple[int, bool]], least: int) -> None:
    labels = np.array([label for label, _ in images], dtype=np.int64)
    kept = np.array([good for _, good in images], dtype=np.bool_)
    expected = [good and images.count((label, True)) >= least for label, good in images]
    assert keep_classes(labels, kept, least).tolist() == expected


def test_classes_need_a_label_for_each_image() -> None:
    with pytest.raises(ValueError, match=r"labels \(2,\) and kept \(3,\)"):
        keep_classes(np.zeros(2, dtype=np.int64), np.ones(3, dtype=np.bool_))


def features(seed: int, shift: float = 0.0) -> LocalFeatures:
    """Return 60 features of an image; equal seeds show the same thing, shifted by pixels."""
    rng = np.random.default_rng(seed)
    return LocalFeatures(
        keypoints=(rng.uniform(20, 480, (60, 2)) + shift).astype(np.float32),
        descriptors=rng.standard_normal((60, 32)).astype(np.float32),
        scores=np.ones(60, dtype=np.float32),
        scales=np.ones(60, dtype=np.float32),
        image_size=(512, 512),
    )


def watched(seeds: tuple[int, ...], taken: list[int]) -> Iterator[LocalFeatures]:
    """Yield candidates, and note which were taken."""
    for seed in seeds:
        taken.append(seed)
        yield features(seed, shift=5)


@pytest.mark.parametrize(
    ("seeds", "looked_at"),
    [((1, 1, 1, 1), 2), ((1, 2, 2, 1, 1), 4), ((2, 3, 1, 2, 3), 5), ((1,), 1), ((), 0)],
)
def test_no_candidate_is_looked_at_after_the_image_is_sure_to_be_kept(
    seeds: tuple[int, ...], looked_at: int
) -> None:
    taken: list[int] = []
    inliers = count_inliers(features(1), watched(seeds, taken), GEOMETRY, CleaningSettings())
    assert taken == list(seeds[:looked_at])
    assert [count >= 30 for count in inliers] == [seed == 1 for seed in taken]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_images": 0}, "min_images is 0, must be at least 1"),
        ({"min_inliers": 0}, "min_inliers is 0"),
        ({"neighbors": 0}, "neighbors is 0"),
        ({"min_images": 3, "candidates": 2}, "at most 2 neighbours are verified"),
        ({"min_images": 101}, "at most 100 neighbours are verified"),
    ],
)
def test_settings_that_keep_nothing_or_everything_are_refused(
    values: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CleaningSettings(**values)
