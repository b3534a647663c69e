"""How many images of a class each part gets."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.datasets.selection.quotas import apportion, compute_quotas, leave_for_training
from pipelines.datasets.selection.settings import SIZES, Split, make_split

Ints = NDArray[np.int64]


def sizes(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def divide_slowly(count: int, shares: list[Fraction]) -> list[int]:
    """Divide with whole numbers alone: a part after the other, the largest remainder first."""
    exact = [count * share for share in shares]
    parts = [math.floor(value) for value in exact]
    for part in sorted(range(3), key=lambda i: (parts[i] - exact[i], -i))[: count - sum(parts)]:
        parts[part] += 1
    return parts


@given(st.integers(0, 12_000), st.integers(0, 99), st.integers(0, 99))
@example(3360, 31, 94)  # remainders of 0.6 that differ in the last binary digits
def test_shares_are_divided_by_largest_remainders(count: int, first: int, second: int) -> None:
    validation, test = min(first, second), abs(first - second)
    shares = [
        Fraction(100 - validation - test, 100),
        Fraction(validation, 100),
        Fraction(test, 100),
    ]
    parts = apportion(sizes(count), np.array([[float(share) for share in shares]]))
    assert parts.tolist() == [divide_slowly(count, shares)]
    exact = [count * share for share in shares]
    assert all(abs(got - share) < 1 for got, share in zip(parts[0].tolist(), exact, strict=True))


def test_shares_of_a_report_come_out_as_it_says() -> None:
    # 90/6/4 of a class of 50 and of 183, the smallest of either set.
    assert compute_quotas(sizes(50, 183), make_split("shares")).tolist() == [
        [45, 3, 2],
        [165, 11, 7],
    ]


def test_by_size_takes_the_share_of_the_size_and_then_validation_of_the_rest() -> None:
    counts = sizes(1, 2, 4, 9, 10, 100, 101, 1000)
    quotas = compute_quotas(counts, make_split("by-size", validation=0))
    # A quarter up to 9 images, a twentieth up to 100, a hundredth above; halves are rounded up.
    assert quotas[:, 2].tolist() == [0, 1, 1, 2, 1, 5, 1, 10]
    quotas = compute_quotas(sizes(1000), make_split("by-size", validation=0.2))
    assert quotas.tolist() == [[792, 198, 10]]
    assert SIZES[0][0] == 9 and SIZES[1][0] == 100


def test_per_class_takes_the_same_number_of_each_as_far_as_it_goes() -> None:
    quotas = compute_quotas(sizes(1, 2, 3, 4, 50), Split("per-class", validation=2, test=1))
    assert quotas.tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 1], [1, 2, 1], [47, 2, 1]]


def test_random_divides_all_images_as_one_class() -> None:
    assert compute_quotas(sizes(1, 1, 8), Split("random", 0.3, 0.2)).tolist() == [[5, 3, 2]]


def test_without_a_split_all_images_are_for_training() -> None:
    assert compute_quotas(sizes(3, 1), Split()).tolist() == [[3, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(("keep", "left"), [(0, 0), (1, 1), (3, 3), (9, 5)])
def test_what_a_class_keeps_is_taken_from_validation_first(keep: int, left: int) -> None:
    parts = leave_for_training(np.array([[0, 2, 3]]), sizes(5), keep)
    assert parts.sum() == 5 and parts[0, 0] == left
    assert parts[0, 2] == min(3, 5 - left)


def test_no_classes_ask_for_nothing() -> None:
    for method in ("by-size", "per-class", "shares", "none"):
        assert compute_quotas(sizes(), make_split(method)).shape == (0, 3)
