"""Search against a full sort, above all where scores are equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.base import BaseIndex
from index.neighbors import Neighbors


def exact_rows(count: int, seed: int, dim: int = 8) -> NDArray[np.float32]:
    """Draw rows of four entries +-0.5: length 1, and cosines that no order of sums can change."""
    generator = np.random.default_rng(seed)
    rows = np.zeros((count, dim), np.float32)
    for row in rows:
        row[generator.permutation(dim)[:4]] = generator.choice([-0.5, 0.5], 4)
    return rows


def random_rows(count: int, seed: int, dim: int = 16) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def find(xb: NDArray[np.float32], xq: NDArray[np.float32], k: int) -> Neighbors:
    return BaseIndex.build(xb).search(xq, k)


def slow_search(
    xb: NDArray[np.float32], xq: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sort all rows of every query by falling score, then by rising row; pad to k."""
    rows = np.full((len(xq), k), -1)
    scores = np.full((len(xq), k), -np.inf)
    for query, vector in enumerate(xq.astype(np.float64)):
        cosines = xb.astype(np.float64) @ vector
        best = sorted(range(len(xb)), key=lambda row: (-cosines[row], row))[:k]
        rows[query, : len(best)], scores[query, : len(best)] = best, cosines[best]
    return rows, scores


@settings(max_examples=60)
@given(st.integers(1, 80), st.integers(0, 30), st.integers(1, 90), st.integers(0, 10**6))
def test_many_equal_scores_come_out_as_if_all_had_been_sorted(
    count: int, queries: int, k: int, seed: int
) -> None:
    xb, xq = exact_rows(count, seed), exact_rows(queries, seed + 1)
    found = find(xb, xq, k)
    rows, scores = slow_search(xb, xq, k)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)
    assert found.rows.dtype == np.int64 and found.scores.dtype == np.float32


@pytest.mark.parametrize("queries", [1, 5, 40])  # FAISS computes many queries another way
@pytest.mark.parametrize("k", [1, 4, 5, 6, 50, 300])
def test_duplicated_rows_around_k_come_lowest_row_first(queries: int, k: int) -> None:
    # 5 rows are nearest, then 200 equal ones at once, shuffled among 95 far ones.
    base = exact_rows(3, seed=0)
    base[:, :] = 0
    base[0, :4], base[1, 1:5], base[2, 4:] = 0.5, 0.5, 0.5
    kinds = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], (5, 200, 95)))
    found = find(base[kinds], np.repeat(base[:1], queries, axis=0), k)
    expected = np.concatenate([np.flatnonzero(kinds == kind) for kind in (0, 1, 2)])[:k]
    np.testing.assert_array_equal(found.rows, np.tile(expected, (queries, 1)))


@pytest.mark.parametrize("queries", [1, 30])
def test_random_vectors_are_found_in_order(queries: int) -> None:
    xb, xq = random_rows(500, seed=0), random_rows(queries, seed=1)
    found = find(xb, xq, 20)
    rows, scores = slow_search(xb, xq, 20)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


def test_duplicates_of_random_vectors_keep_their_order() -> None:
    xb = np.repeat(random_rows(10, seed=0), 30, axis=0)
    for queries in (1, 30):
        found = find(xb, random_rows(queries, seed=1), 45)
        groups = found.rows // 30
        for row, group in zip(found.rows, groups, strict=True):
            assert row[:30].tolist() == list(range(group[0] * 30, group[0] * 30 + 30))
            assert row[30:].tolist() == list(range(group[30] * 30, group[30] * 30 + 15))


def test_permuted_queries_give_permuted_neighbours() -> None:
    xb, xq = exact_rows(60, seed=0), exact_rows(25, seed=1)
    order = np.random.default_rng(2).permutation(len(xq))
    found, permuted = find(xb, xq, 7), find(xb, xq[order], 7)
    np.testing.assert_array_equal(permuted.rows, found.rows[order])
    np.testing.assert_array_equal(permuted.scores, found.scores[order])


def test_fewer_neighbours_are_the_first_of_more() -> None:
    xb, xq = exact_rows(60, seed=0), exact_rows(9, seed=1)
    most = find(xb, xq, 70)
    for k in (1, 2, 10, 59, 60):
        np.testing.assert_array_equal(find(xb, xq, k).rows, most.rows[:, :k])


def test_a_small_database_is_padded() -> None:
    xb = exact_rows(2, seed=0)
    found = find(xb, xb[:1], 4)
    assert found.rows[0, 2:].tolist() == [-1, -1] and np.isneginf(found.scores[0, 2:]).all()
    assert found.rows[0, 0] == 0 and found.scores[0, 0] == 1


def test_one_row_and_no_query() -> None:
    xb = exact_rows(1, seed=0)
    assert find(xb, xb, 1).rows.tolist() == [[0]]
    assert find(xb, xb[:0], 3).rows.shape == (0, 3)


def test_float16_storage_is_accepted() -> None:
    xb = random_rows(50, seed=0, dim=256)
    found = find(xb.astype(np.float16).astype(np.float32), xb, 1)
    assert found.rows[:, 0].tolist() == list(range(50))


def test_another_dim_names_both() -> None:
    with pytest.raises(ValueError, match=r"query dim 16 != index dim 8; embed both with the same"):
        find(exact_rows(3, seed=0), random_rows(1, seed=0), 1)


@pytest.mark.parametrize("bad", [0.0, 1.0, np.nan, np.inf])
def test_vectors_that_are_not_of_length_1_are_refused(bad: float) -> None:
    xb = exact_rows(5, seed=0)
    xb[3] = bad
    with pytest.raises(ValueError, match=r"database embedding 3 has length .*, want 1"):
        BaseIndex.build(xb)
    with pytest.raises(ValueError, match=r"query embedding 3 has length .*, want 1"):
        find(exact_rows(5, seed=0), xb, 1)


def test_empty_and_flat_arrays_and_k_below_1_are_refused() -> None:
    xb = exact_rows(5, seed=0)
    with pytest.raises(ValueError, match="no database embeddings"):
        BaseIndex.build(xb[:0])
    with pytest.raises(ValueError, match=r"database embeddings have shape \(8,\), want \[N, dim\]"):
        BaseIndex.build(xb[0])
    with pytest.raises(ValueError, match="k is 0"):
        find(xb, xb, 0)


INF = float("inf")


@pytest.mark.parametrize(
    ("rows", "scores", "message"),
    [
        ([[0, 1]], [[0.9]], "want"),
        ([0, 1], [0.9, 0.8], "want"),
        ([[0, 1]], [[0.8, 0.9]], "descend"),
        ([[0, 1]], [[0.8, float("nan")]], "nan"),
        ([[0, -1]], [[0.8, 0.7]], "padded"),
        ([[0, 1]], [[0.8, -INF]], "padded"),
    ],
)
def test_a_record_that_is_not_as_documented_is_refused(
    rows: list[object], scores: list[object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Neighbors(np.array(rows, np.int64), np.array(scores, np.float32))
