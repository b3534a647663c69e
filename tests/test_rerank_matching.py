"""Tests of mutual matching against a slow version in plain loops."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from rerank.matching import match_mutual


def _oracle(
    descriptors0: npt.NDArray[Any], descriptors1: npt.NDArray[Any], ratio: float, limit: float
) -> list[list[int]]:
    rows0, rows1 = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        for rows in (descriptors0.astype(np.float64), descriptors1.astype(np.float64))
    )
    distance = np.array([[np.linalg.norm(a - b) for b in rows1] for a in rows0])
    matches = []
    for i in range(len(rows0) if len(rows1) else 0):
        j = int(distance[i].argmin())
        others = np.delete(distance[i], j)
        second = others.min() if len(others) else np.inf
        if distance[:, j].argmin() == i and distance[i, j] <= min(ratio * second, limit):
            matches.append([i, j])
    return matches


def _related(rng: np.random.Generator, dtype: Any, sizes: list[int]) -> list[npt.NDArray[Any]]:
    """Return noisy, shuffled copies of one set of random rows, so that some truly match."""
    base = rng.uniform(1, 200, (max(sizes), 16))
    return [
        (rng.permutation(base)[:n] + rng.normal(0, 25, (n, 16))).clip(0, 255).astype(dtype)
        for n in sizes
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize(("ratio", "limit"), [(1.0, 2.0), (0.85, 2.0), (0.7, 2.0), (1.0, 0.3)])
def test_matches_equal_those_of_plain_loops(dtype: Any, ratio: float, limit: float) -> None:
    query, *candidates = _related(np.random.default_rng(3), dtype, [40, 30, 45, 1, 0, 2])
    found = match_mutual(query, candidates, max_ratio=ratio, max_distance=limit)
    expected = [_oracle(query, candidate, ratio, limit) for candidate in candidates]
    assert [matches.tolist() for matches in found] == expected
    assert sum(map(len, expected)) > 5


def test_no_rows_on_either_side_give_no_matches() -> None:
    some, none = np.ones((3, 8), np.uint8), np.empty((0, 8), np.uint8)
    for query, candidate in [(some, none), (none, some), (none, none)]:
        (matches,) = match_mutual(query, [candidate])
        assert matches.shape == (0, 2)
        assert matches.dtype == np.int64
    assert match_mutual(some, []) == []


def test_one_row_on_each_side_passes_the_ratio() -> None:
    rows = np.ones((1, 8), np.uint8)
    assert match_mutual(rows, [rows])[0].tolist() == [[0, 0]]


def test_rows_that_tie_are_matched_once_to_the_lowest() -> None:
    unit = np.eye(4, dtype=np.uint8)
    assert match_mutual(unit[[0, 0, 1]], [unit[[0, 1]]])[0].tolist() == [[0, 0], [2, 1]]
    # Ambiguous in the candidate: distances 0 and 0 pass only the ratio that is off.
    assert match_mutual(unit[[0]], [unit[[0, 0]]], max_ratio=1.0)[0].tolist() == [[0, 0]]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), n=st.integers(1, 40))
def test_exact_copies_pass_any_ratio_whatever_the_rounding(seed: int, n: int) -> None:
    # Both distances are 0; the order of BLAS's sums makes either of them 0 or 5e-4.
    rows = np.random.default_rng(seed).normal(size=(n, 40)).astype(np.float32)
    (matches,) = match_mutual(rows, [np.repeat(rows, 3, axis=0)], max_ratio=0.5)
    np.testing.assert_array_equal(matches[:, 0], np.arange(n))
    np.testing.assert_array_equal(matches[:, 1] // 3, np.arange(n))


def test_threads_of_blas_change_nothing() -> None:
    query, *candidates = _related(np.random.default_rng(6), np.uint8, [300, 299, 257, 301])
    with threadpool_limits(1):
        alone = match_mutual(query, candidates)
    with threadpool_limits(2):
        shared = match_mutual(query, candidates)
    for expected, found in zip(alone, shared, strict=True):
        assert len(expected) > 50
        np.testing.assert_array_equal(expected, found)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 10.0))
def test_descriptor_norms_change_nothing(seed: int, factor: float) -> None:
    query, candidate = _related(np.random.default_rng(seed), np.float32, [20, 25])
    plain = match_mutual(query, [candidate])[0]
    scaled = match_mutual(query * np.float32(factor), [candidate])[0]
    np.testing.assert_array_equal(plain, scaled)


def test_other_candidates_change_nothing() -> None:
    query, *candidates = _related(np.random.default_rng(5), np.uint8, [50, 30, 60, 40])
    together = match_mutual(query, candidates)
    for candidate, matches in zip(candidates, together, strict=True):
        np.testing.assert_array_equal(match_mutual(query, [candidate])[0], matches)


def test_wrong_dim_and_limits_are_refused() -> None:
    rows = np.ones((2, 8), np.uint8)
    with pytest.raises(ValueError, match="candidate 1 has descriptors of dim 4"):
        match_mutual(rows, [rows, rows[:, :4]])
    with pytest.raises(ValueError, match=r"max_ratio 1\.5"):
        match_mutual(rows, [rows], max_ratio=1.5)
    with pytest.raises(ValueError, match="max_distance 0"):
        match_mutual(rows, [rows], max_distance=0.0)
