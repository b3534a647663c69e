"""Class sizes: percentiles, inequality and bins against slow, obvious versions."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.facts.class_sizes import describe_sizes

SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=60)
# The percentile table of the report "CS 231N Final Project: Landmark Recognition".
PUBLISHED = (4, 5, 7, 9, 14, 22, 34, 62, 142)


def percentile(sizes: Sequence[int], percent: int) -> int:
    """Return the least size that at least so many per cent of the classes do not exceed."""
    return min(
        size for size in sizes if 100 * sum(s <= size for s in sizes) >= percent * len(sizes)
    )


def test_a_planted_percentile_table_comes_back() -> None:
    generator = np.random.default_rng(0)
    planted = np.repeat([*PUBLISHED, 9000], 1000)
    found = describe_sizes(generator.permutation(planted))
    assert found.percentiles == tuple(zip(range(10, 100, 10), PUBLISHED, strict=True))
    assert (found.smallest, found.median, found.largest) == (4, 14, 9000)


@given(SIZES)
def test_percentiles_are_sizes_that_so_many_classes_do_not_exceed(sizes: list[int]) -> None:
    found = describe_sizes(np.array(sizes))
    assert found.percentiles == tuple((p, percentile(sizes, p)) for p in range(10, 100, 10))
    assert found.median == percentile(sizes, 50)


@given(SIZES)
def test_figures_are_those_of_counting(sizes: list[int]) -> None:
    found = describe_sizes(np.array(sizes))
    top = sorted(sizes)[-math.ceil(len(sizes) / 100) :]
    pairs = [abs(a - b) for a in sizes for b in sizes]
    assert (found.images, found.classes) == (sum(sizes), len(sizes))
    assert found.singletons == sizes.count(1)
    assert found.below_ten == sum(size < 10 for size in sizes)
    assert found.mean == pytest.approx(np.mean(sizes))
    assert found.top_share == pytest.approx(sum(top) / sum(sizes))
    assert found.gini == pytest.approx(np.mean(pairs) / (2 * np.mean(sizes)), abs=1e-12)


@given(SIZES)
def test_every_class_is_in_the_one_bin_of_its_size(sizes: list[int]) -> None:
    bins = describe_sizes(np.array(sizes)).histogram
    assert bins[0].low == 1
    assert all(a.high + 1 == b.low for a, b in pairwise(bins))
    assert bins[-1].low <= max(sizes) <= bins[-1].high
    assert [sum(bin.low <= size <= bin.high for size in sizes) for bin in bins] == [
        bin.classes for bin in bins
    ]


def test_two_tables_have_the_same_bins_as_far_as_both_go() -> None:
    few, many = (describe_sizes(np.array([1, most])).histogram for most in (20, 3000))
    assert [(bin.low, bin.high) for bin in few] == [(bin.low, bin.high) for bin in many[: len(few)]]


def test_one_class_is_described() -> None:
    found = describe_sizes(np.array([1]))
    assert (found.singletons, found.gini, found.top_share) == (1, 0.0, 1.0)
    assert set(dict(found.percentiles).values()) == {1}
    assert [(bin.low, bin.high, bin.classes) for bin in found.histogram] == [(1, 1, 1)]


@pytest.mark.parametrize("sizes", [[], [0, 3]])
def test_no_classes_and_empty_ones_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="class sizes, expected 1 or more, each 1 or more"):
        describe_sizes(np.array(sizes, dtype=np.int64))
