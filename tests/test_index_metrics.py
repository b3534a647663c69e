"""Retrieval metrics against published values and slow, obvious versions."""

import doctest
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index import metrics

# The retrieval data of the public DELF metrics test (tensorflow/models, research/delf,
# google_landmarks_dataset/metrics_test.py), index ids shortened to their last two digits.
RANKED = np.array([[-1, -1], [0, 10], [40, -1], [30, 40]])
RELEVANT = [{10, 20}, {10}, {30, 40, 50}, {30}]


@st.composite
def searches(draw: st.DrawFn) -> tuple[np.ndarray, list[set[int]]]:
    """Draw [Q, K] ranked ids with padding and repeats, and relevant sets, some empty."""
    size, width = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    ranked = np.full((size, width), -1, dtype=np.int64)
    for row in ranked:
        ids = draw(st.lists(st.integers(0, 6), max_size=width))
        row[: len(ids)] = ids
    relevant = draw(st.lists(st.sets(st.integers(0, 6)), min_size=size, max_size=size))
    relevant[-1] = relevant[-1] or {0}
    return ranked, relevant


def slow_hits(row: np.ndarray, truth: set[int], k: int) -> list[bool]:
    seen: set[int] = set()
    found = []
    for item in row.tolist()[:k]:
        found.append(item in truth and item not in seen)
        seen.add(item)
    return found


def slow_average_precision(found: list[bool], n_relevant: int, k: int) -> float:
    terms = [sum(found[: i + 1]) / (i + 1) for i in range(len(found)) if found[i]]
    return sum(terms) / min(n_relevant, k)


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(metrics)
    assert result.attempted >= 6
    assert result.failed == 0


def test_the_values_of_the_public_delf_test_are_reproduced() -> None:
    assert metrics.map_at_100(RANKED, RELEVANT) == pytest.approx(0.458333, abs=1e-6)
    assert metrics.mean_average_precision(RANKED, RELEVANT, 1) == pytest.approx(0.5)
    assert metrics.mean_precision_at_k(RANKED, RELEVANT, 1) == pytest.approx(0.5)
    assert metrics.mean_precision_at_k(RANKED, RELEVANT, 2) == pytest.approx(0.375)
    assert metrics.first_hit_position(RANKED, RELEVANT) == (26.25, 1.5)
    assert metrics.first_hit_position(RANKED, RELEVANT, 1) == (1.5, 1.5)


@given(searches(), st.integers(1, 8))
def test_every_metric_equals_the_slow_loop(
    search: tuple[np.ndarray, list[set[int]]], k: int
) -> None:
    ranked, relevant = search
    pairs = [(row, truth) for row, truth in zip(ranked, relevant, strict=True) if truth]
    found = [slow_hits(row, truth, k) for row, truth in pairs]
    sizes = [len(truth) for _, truth in pairs]
    positions = [row.index(True) + 1 if any(row) else k + 1 for row in found]
    average = [slow_average_precision(f, n, k) for f, n in zip(found, sizes, strict=True)]

    recall = metrics.recall_at_k(ranked, relevant, k)
    assert recall == pytest.approx(np.mean([any(row) for row in found]))
    precision = metrics.mean_precision_at_k(ranked, relevant, k)
    assert precision == pytest.approx(np.mean([sum(row) / k for row in found]))
    mean_average = metrics.mean_average_precision(ranked, relevant, k)
    assert mean_average == pytest.approx(np.mean(average))
    mean, median = metrics.first_hit_position(ranked, relevant, k)
    assert (mean, median) == pytest.approx((np.mean(positions), np.median(positions)))


@given(searches(), st.randoms())
def test_the_order_of_queries_and_the_names_of_ids_change_nothing(
    search: tuple[np.ndarray, list[set[int]]], random: Random
) -> None:
    ranked, relevant = search
    order = list(range(len(relevant)))
    random.shuffle(order)
    far = 2**62  # ids near the limit of int64 must not overflow
    moved = np.where(ranked == -1, -1, far + ranked)[order]
    renamed = [{far + i for i in relevant[row]} for row in order]
    expected = metrics.map_at_100(ranked, relevant)
    assert metrics.map_at_100(moved, renamed) == pytest.approx(expected)
    assert metrics.recall_at_k(moved, renamed, 2) == metrics.recall_at_k(ranked, relevant, 2)


def test_map_at_100_divides_by_at_most_100() -> None:
    ranked = np.arange(120)[None]
    assert metrics.map_at_100(ranked, [set(range(120))]) == pytest.approx(1)
    assert metrics.map_at_100(ranked, [set(range(100, 120))]) == 0


def test_a_repeated_id_is_a_hit_only_once() -> None:
    ranked = np.array([[1, 1, 1]])
    assert metrics.mean_precision_at_k(ranked, [{1, 2, 3}], 3) == pytest.approx(1 / 3)


def test_relevant_ids_may_be_a_list_with_repeats() -> None:
    ranked = np.array([[1, 2]])
    assert metrics.map_at_100(ranked, [[1, 1, 2]]) == metrics.map_at_100(ranked, [{1, 2}]) == 1


def test_queries_without_relevant_ids_are_left_out() -> None:
    ranked = np.array([[1], [1]])
    assert metrics.recall_at_k(ranked, [{1}, set()], 1) == 1
    assert metrics.first_hit_position(ranked, [{1}, set()]) == (1, 1)


@pytest.mark.parametrize(
    ("ranked", "relevant"), [(np.zeros((0, 3), np.int64), []), (np.array([[1]]), [set()])]
)
def test_no_query_with_relevant_ids_is_refused(
    ranked: np.ndarray, relevant: list[set[int]]
) -> None:
    with pytest.raises(ValueError, match=f"none of the {len(relevant)} queries has a relevant id"):
        metrics.map_at_100(ranked, relevant)


@pytest.mark.parametrize(
    ("ranked", "relevant", "k", "message"),
    [
        (np.array([[1]]), [{1}], 0, "k is 0, expected 1 or more"),
        (np.array([1]), [{1}], 1, r"ranked has shape \(1,\)"),
        (np.array([[1]]), [{1}, {2}], 1, r"expected \[2, K\] int64"),
        (np.array([[1.0]]), [{1}], 1, "dtype float64"),
        (np.array([[-2]]), [{1}], 1, "ranked holds the id -2"),
        (np.array([[-1, 4]]), [{1}], 1, r"row 0 of ranked goes on after padding: \[-1, 4\]"),
        (np.array([[1]]), [{-1}], 1, "relevant id -1 is below 0"),
    ],
)
def test_malformed_input_is_refused(
    ranked: np.ndarray, relevant: list[set[int]], k: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.recall_at_k(ranked, relevant, k)
