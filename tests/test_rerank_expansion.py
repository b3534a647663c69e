"""Query expansion and database augmentation against one vector at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.base import BaseIndex
from rerank import expansion
from rerank.expansion import DECAY, augment_database, expand_queries


def unit_rows(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def neighbors(
    queries: NDArray[np.float32], database: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    found = BaseIndex.build(database).search(queries, k)
    return found.rows, found.scores


def slow_expansion(
    queries: NDArray[np.float32], database: NDArray[np.float32], count: int, alpha: float
) -> NDArray[np.float64]:
    """Sort all cosines of each query; add the nearest, one at a time."""
    expanded = []
    for query in queries.astype(np.float64):
        cosines = database.astype(np.float64) @ query
        total = query.copy()
        for row in sorted(range(len(database)), key=lambda row: (-cosines[row], row))[:count]:
            if cosines[row] > 0:
                total += cosines[row] ** alpha * database[row]
        expanded.append(total / np.linalg.norm(total))
    return np.array(expanded)


def slow_augmentation(
    vectors: NDArray[np.float32], k: int, weights: tuple[float, ...]
) -> NDArray[np.float64]:
    augmented = []
    for own, vector in enumerate(vectors.astype(np.float64)):
        cosines = (vectors.astype(np.float64) @ vector).round(6)  # duplicates tie
        nearest = sorted(range(len(vectors)), key=lambda row: (-cosines[row], row))[:k]
        others = [row for row in nearest if row != own]
        total = weights[0] * vector
        for weight, row in zip(weights[1:], others, strict=False):
            total = total + weight * vectors[row]
        augmented.append(total / np.linalg.norm(total))
    return np.array(augmented)


@settings(max_examples=60)
@given(
    st.integers(0, 12),
    st.integers(1, 30),
    st.integers(1, 40),
    st.integers(0, 12),
    st.sampled_from([0.0, 1.0, 3.0, 8.5]),
    st.integers(0, 10**6),
)
def test_expansion_is_the_weighted_sum(
    queries: int, count: int, k: int, used: int, alpha: float, seed: int
) -> None:
    xq, xb = unit_rows(queries, 6, seed), unit_rows(count, 6, seed + 1)
    rows, scores = neighbors(xq, xb, k)
    found = expand_queries(xq, xb, rows, scores, count=used, alpha=alpha)
    expected = slow_expansion(xq, xb, min(used, k), alpha).reshape(queries, 6)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found.dtype == np.float32


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 14), st.integers(1, 12), st.integers(0, 10**6))
def test_augmentation_is_the_weighted_sum(count: int, k: int, used: int, seed: int) -> None:
    xb = unit_rows(count, 6, seed)
    rows, _ = neighbors(xb, xb, k)
    found = augment_database(xb, rows, weights=DECAY[:used])
    np.testing.assert_allclose(found, slow_augmentation(xb, k, DECAY[:used]), atol=2e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("chunk", [1, 60, 61, 10**6])
def test_the_size_of_chunks_changes_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    xb = unit_rows(50, 6, 0)
    rows, scores = neighbors(xb, xb, 10)
    expected = expand_queries(xb, xb, rows, scores, count=10, alpha=3), augment_database(xb, rows)
    monkeypatch.setattr(expansion, "CHUNK_VALUES", chunk)
    found = expand_queries(xb, xb, rows, scores, count=10, alpha=3), augment_database(xb, rows)
    for ours, whole in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, whole, rtol=0, atol=1e-7)


def test_an_image_comes_first_among_its_duplicates() -> None:
    # Rows 0 to 3 are equal: a search finds 0 first for each of them, and rows 2 and 3 not at all.
    xb = unit_rows(3, 4, 0)[[0, 0, 0, 0, 1, 2]]
    rows = np.array([[0, 1], [0, 1], [0, 1], [0, 1], [4, 0], [5, 4]])
    found = augment_database(xb, rows, weights=(1, 0.5))
    np.testing.assert_allclose(found[:4], xb[:4], atol=1e-6)
    expected = xb[5] + 0.5 * xb[4]
    np.testing.assert_allclose(found[5], expected / np.linalg.norm(expected), atol=1e-6)
    # The image itself last, or not at all: the others keep their weights.
    other = augment_database(xb, np.array([[4, 0]] * 4 + [[0, 4], [4, 0]]), weights=(1, 0.5))
    expected = xb[0] + 0.5 * xb[4]
    np.testing.assert_allclose(other[:4], [expected / np.linalg.norm(expected)] * 4, atol=1e-6)


def test_the_scale_of_weights_does_not_matter() -> None:
    xb = unit_rows(20, 5, 0)
    rows, _ = neighbors(xb, xb, 10)
    doubled = augment_database(xb, rows, weights=[2 * weight for weight in DECAY])
    np.testing.assert_allclose(doubled, augment_database(xb, rows), atol=1e-7)


def test_the_default_weights_are_the_published_ones() -> None:
    np.testing.assert_allclose(DECAY, np.logspace(0, -1.5, 10))


def test_padding_and_negative_cosines_count_nothing() -> None:
    xq, xb = unit_rows(4, 5, 0), unit_rows(3, 5, 1)
    rows = np.full((4, 6), -1)
    scores = np.full((4, 6), -np.inf, dtype=np.float32)
    for alpha in (0, 3):
        found = expand_queries(xq, xb, rows, scores, count=6, alpha=alpha)
        np.testing.assert_allclose(found, xq, atol=1e-6)
        rows[:, 0], scores[:, 0] = 2, -0.5
        found = expand_queries(xq, xb, rows, scores, count=6, alpha=alpha)
        np.testing.assert_allclose(found, xq, atol=1e-6)
    np.testing.assert_allclose(augment_database(xb, np.full((3, 2), -1)), xb, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_no_rows_and_one_row(count: int) -> None:
    rows = unit_rows(count, 5, 0)
    own = np.zeros((count, 1), dtype=np.int64)
    cosines = np.ones((count, 1), dtype=np.float32)
    found = expand_queries(rows, rows, own, cosines, count=3, alpha=3)
    np.testing.assert_allclose(found, rows, atol=1e-6)
    np.testing.assert_allclose(augment_database(rows, own), rows, atol=1e-6)


def test_inputs_are_left_as_they_were() -> None:
    xb = unit_rows(20, 5, 0)
    rows, scores = neighbors(xb, xb, 10)
    before = xb.tobytes(), rows.tobytes(), scores.tobytes()
    expand_queries(xb, xb, rows, scores, count=5, alpha=3)
    augment_database(xb, rows)
    assert (xb.tobytes(), rows.tobytes(), scores.tobytes()) == before


def test_what_does_not_fit_is_refused() -> None:
    xq, xb = unit_rows(4, 5, 0), unit_rows(3, 5, 1)
    rows, scores = neighbors(xq, xb, 2)
    with pytest.raises(ValueError, match=r"\(4, 5\) and \(3, 6\).*same model"):
        expand_queries(xq, unit_rows(3, 6, 0), rows, scores, count=1, alpha=3)
    with pytest.raises(ValueError, match=r"rows \(4, 2\) and scores \(4, 1\)"):
        expand_queries(xq, xb, rows, scores[:, :1], count=1, alpha=3)
    with pytest.raises(ValueError, match=r"rows have shape \(3, 2\), expected \[4, K\]"):
        expand_queries(xq, xb, rows[:3], scores[:3], count=1, alpha=3)
    with pytest.raises(ValueError, match="rows run from 3 to 3, expected -1 to 2"):
        expand_queries(xq, xb, np.full((4, 1), 3), np.ones((4, 1)), count=1, alpha=3)
    for count, alpha in ((-1, 3.0), (1, -1.0), (1, np.nan), (1, np.inf)):
        with pytest.raises(ValueError, match="expected 0 or more of both"):
            expand_queries(xq, xb, rows, scores, count=count, alpha=alpha)


@pytest.mark.parametrize("weights", [[], [0], [0, 1], [1, -1], [1, np.nan], [np.inf]])
def test_senseless_weights_are_refused(weights: list[float]) -> None:
    xb = unit_rows(3, 5, 1)
    with pytest.raises(ValueError, match="weights are"):
        augment_database(xb, np.zeros((3, 1), dtype=np.int64), weights=weights)
