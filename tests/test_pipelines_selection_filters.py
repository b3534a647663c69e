"""Filters of classes against an obvious version with a Counter."""

from collections import Counter
from dataclasses import astuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.datasets.selection.filters import FilterStep, filter_images, find_classes
from pipelines.datasets.selection.order import order_keys
from pipelines.datasets.selection.settings import Filters

Ints = NDArray[np.int64]


def name_images(count: int) -> pa.ChunkedArray:
    return pa.chunked_array([[f"image{number}" for number in range(count)]], pa.string())


def label(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def keep_slowly(landmark_ids: list[int], filters: Filters) -> set[int]:
    """Return the classes that pass, one filter after the other."""
    low, high = filters.ids or (0, 10**9)
    kept = {i: n for i, n in Counter(landmark_ids).items() if low <= i < high}
    kept = {i: n for i, n in kept.items() if n >= (filters.min_count or 1)}
    kept = {i: n for i, n in kept.items() if n <= (filters.max_count or 10**9)}
    return set(sorted(kept, key=lambda i: (-kept[i], i))[: filters.top])


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=60),
    st.none() | st.tuples(st.integers(0, 3), st.integers(4, 8)),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(4, 9),
    st.none() | st.integers(1, 5),
)
def test_filters_keep_the_classes_that_one_by_one_would(
    values: list[int],
    ids: tuple[int, int] | None,
    least: int | None,
    most: int | None,
    top: int | None,
) -> None:
    filters = Filters(ids, least, most, top)
    expected = keep_slowly(values, filters)
    assume(expected)
    mask, steps = filter_images(name_images(len(values)), label(*values), filters, seed=0)
    assert mask.tolist() == [value in expected for value in values]
    assert (steps[0].images, steps[0].landmarks) == (len(values), len(set(values)))
    assert (steps[-1].images, steps[-1].landmarks) == (int(mask.sum()), len(expected))


def test_each_filter_says_what_it_left_in_the_stated_order() -> None:
    landmark_ids = label(*[5] * 9, *[6] * 4, *[7] * 4, *[8] * 2, *[90] * 9)
    filters = Filters(ids=(0, 10), min_count=3, max_count=8, top=1, cap=2)
    mask, steps = filter_images(name_images(28), landmark_ids, filters, seed=0)
    assert steps == (
        FilterStep("", 28, 5),
        FilterStep("--ids 0:10", 19, 4),
        FilterStep("--min-count 3", 17, 3),
        FilterStep("--max-count 8", 8, 2),
        FilterStep("--top 1", 4, 1),  # 6 and 7 are of one size: the smaller id
        FilterStep("--cap 2", 2, 1),
    )
    assert set(landmark_ids[mask]) == {6}


def test_without_filters_all_is_kept() -> None:
    mask, steps = filter_images(name_images(3), label(2, 2, 5), Filters(), seed=0)
    assert mask.all() and steps == (FilterStep("", 3, 2),)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters(ids=(100, 200)), "ids 100:200 leaves none of 2 .* go from 2 to 5: change it"),
        (Filters(min_count=4), "min-count 4 leaves none of 2 landmarks with 3 images; .* 1 to 2"),
        (Filters(ids=(5, 6), min_count=2), "min-count 2 leaves none of 1 landmarks with 1 images"),
    ],
)
def test_a_filter_that_leaves_nothing_is_an_error_with_the_numbers(
    filters: Filters, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        filter_images(name_images(3), label(2, 2, 5), filters, seed=0)


def test_an_empty_training_set_cannot_be_filtered() -> None:
    with pytest.raises(ValueError, match="no images to choose from"):
        filter_images(name_images(0), label(), Filters(top=1), seed=0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 3))
def test_a_cap_keeps_the_images_of_smallest_key(values: list[int], cap: int, seed: int) -> None:
    ids, landmark_ids = name_images(len(values)), label(*values)
    mask, _ = filter_images(ids, landmark_ids, Filters(cap=cap), seed)
    keys = order_keys(ids, seed)
    for landmark_id in set(values):
        rows = np.flatnonzero(landmark_ids == landmark_id)
        nearest = rows[np.argsort(keys[rows])][:cap]
        assert sorted(nearest) == np.flatnonzero(mask & (landmark_ids == landmark_id)).tolist()


def test_a_larger_cap_keeps_what_a_smaller_one_does() -> None:
    ids, landmark_ids = name_images(30), label(*[1] * 20, *[2] * 10)
    few, many = (filter_images(ids, landmark_ids, Filters(cap=n), 0)[0] for n in (4, 12))
    assert (few <= many).all() and (few.sum(), many.sum()) == (8, 22)


def test_classes_are_numbered_by_id() -> None:
    classes = find_classes(label(30, 10, 30))
    assert [part.tolist() for part in astuple(classes)] == [[1, 0, 1], [10, 30], [1, 2]]
