"""Re-ranking by refined descriptors: against one candidate at a time, and what changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from embed.parallel import map_parallel
from index.base import BaseIndex
from index.neighbors import Neighbors
from rerank import superglobal
from rerank.superglobal import refine_similarities, rerank_neighbors

Rows = NDArray[np.float32]


def unit_rows(*shape: int, seed: int = 0) -> Rows:
    """Draw directions that lie to one side, so that most cosines are positive but not all."""
    rows = np.random.default_rng(seed).normal(0.3, 1, size=shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


def slow_refine(query: Rows, candidates: Rows, nearest: int, beta: float) -> NDArray[np.float64]:
    """Refine one candidate after the other, then the query, of [D] and [M, D]."""
    known = candidates.astype(np.float64)
    refined = []
    for own, vector in enumerate(known):
        cosines = known @ vector
        others = sorted((row for row in range(len(known)) if row != own), key=lambda r: -cosines[r])
        total = vector.copy()
        for other in others[:nearest]:
            total += beta * max(cosines[other], 0) * known[other]
        refined.append(total / np.linalg.norm(total))
    first = np.array(refined) @ query.astype(np.float64)
    best = sorted(range(len(known)), key=lambda row: -first[row])[: nearest + 1]
    expanded = np.max([refined[row] for row in best], axis=0)
    return np.asarray((first + np.array(refined) @ (expanded / np.linalg.norm(expanded))) / 2)


@settings(max_examples=60)
@given(
    total=st.integers(1, 4),
    many=st.integers(1, 30),
    dim=st.integers(2, 20),
    nearest=st.integers(1, 40),
    beta=st.floats(0, 3),
)
def test_it_equals_one_candidate_at_a_time(
    total: int, many: int, dim: int, nearest: int, beta: float
) -> None:
    queries = unit_rows(total, dim, seed=many)
    candidates = unit_rows(total, many, dim, seed=dim)
    found = refine_similarities(queries, candidates, nearest=nearest, beta=beta)
    assert found.dtype == np.float32
    for row in range(total):
        expected = slow_refine(queries[row], candidates[row], nearest, beta)
        np.testing.assert_allclose(found[row], expected, atol=2e-5)


def test_it_is_the_value_of_its_formula() -> None:
    query = np.array([[1, 0]], dtype=np.float32)
    candidates = np.array([[[0.8, 0.6], [0.6, 0.8], [0, 1]]], dtype=np.float32)
    # Cosines among them: .96, .6 and .8. With one neighbour each and beta .5, by hand:
    # (.8, .6) + .48 (.6, .8) = (1.088, .984), of length 1.46697; (.6, .8) + .48 (.8, .6) =
    # (.984, 1.088), the same; (0, 1) + .4 (.6, .8) = (.24, 1.32), of length 1.34164.
    refined = np.array([[1.088, 0.984], [0.984, 1.088], [0.24, 1.32]])
    refined /= np.array([[1.46697], [1.46697], [1.34164]])
    expanded = np.array([1.088, 1.088]) / np.hypot(1.088, 1.088)  # of the two that are nearest
    expected = (refined[:, 0] + refined @ expanded) / 2
    found = refine_similarities(query, candidates, nearest=1, beta=0.5)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@settings(max_examples=30)
@given(st.integers(2, 30), st.integers(0, 10), st.integers(1, 12))
def test_neither_order_nor_padding_nor_the_batch_changes_a_similarity(
    many: int, padding: int, nearest: int
) -> None:
    queries, candidates = unit_rows(3, 16, seed=many), unit_rows(3, many, 16)
    found = refine_similarities(queries, candidates, nearest=nearest, beta=0.5)
    assert (np.abs(found) <= 1).all()
    order = np.random.default_rng(many).permutation(many + padding)
    padded = np.concatenate([candidates, np.zeros((3, padding, 16), np.float32)], axis=1)
    moved = refine_similarities(queries, padded[:, order], nearest=nearest, beta=0.5)
    expected = np.concatenate([found, np.zeros((3, padding))], axis=1)[:, order]
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    alone = refine_similarities(queries[1:2], candidates[1:2], nearest=nearest, beta=0.5)
    assert alone.tobytes() == found[1:2].tobytes()


@pytest.mark.parametrize("nearest", [1, 3, 9])
def test_copies_of_one_image_are_all_alike(nearest: int) -> None:
    query, candidates = unit_rows(1, 8), unit_rows(1, 6, 8)
    candidates = np.concatenate([candidates, candidates[:, :3], candidates[:, :3]], axis=1)
    found = refine_similarities(query, candidates, nearest=nearest, beta=0.3)
    np.testing.assert_allclose(found[0, 6:9], found[0, :3], atol=1e-6)
    np.testing.assert_allclose(found[0, 9:], found[0, :3], atol=1e-6)


def test_images_of_one_thing_pass_a_nearer_one_that_stands_alone() -> None:
    thing, clutter, *others = np.eye(8, dtype=np.float32)
    query = thing + clutter
    candidates = np.stack(
        [clutter + 0.6 * others[5], *(thing + 0.7 * other for other in others[:5])]
    )
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    query /= np.linalg.norm(query)
    assert (candidates @ query).argmax() == 0
    found = refine_similarities(query[None], candidates[None], nearest=3, beta=0.5)
    assert found[0].argmin() == 0


def neighbors_of(queries: Rows, database: Rows, k: int) -> Neighbors:
    return BaseIndex.build(database).search(queries, k)


@pytest.mark.parametrize("chunk", [1, 1 << 23])
@pytest.mark.parametrize("count", [1, 5, 12, 20, 100])
def test_only_the_first_change_places(
    count: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superglobal, "CHUNK_VALUES", chunk)
    queries, database = unit_rows(5, 16, seed=1), unit_rows(12, 16)
    found = neighbors_of(queries, database, 20)  # 8 are padding
    ranked = rerank_neighbors(
        found, queries, database.__getitem__, count=count, nearest=3, beta=0.5
    )
    np.testing.assert_array_equal(ranked.rows[:, count:], found.rows[:, count:])
    np.testing.assert_array_equal(np.sort(ranked.rows), np.sort(found.rows))
    assert (ranked.scores[:, count:] <= found.scores[:, count:]).all()
    first = np.minimum(count, 12)
    for row in range(5):
        expected = slow_refine(queries[row], database[found.rows[row, :first]], 3, 0.5)
        order = np.argsort(-expected)
        np.testing.assert_array_equal(ranked.rows[row, :first], found.rows[row, order])
        np.testing.assert_allclose(ranked.scores[row, :first], expected[order], atol=1e-5)


def test_ties_stay_in_their_order() -> None:
    database = np.repeat(unit_rows(2, 8), 4, axis=0)
    found = neighbors_of(unit_rows(1, 8, seed=3), database, 8)
    ranked = rerank_neighbors(
        found, unit_rows(1, 8, seed=3), database.__getitem__, count=8, nearest=2, beta=0
    )
    assert (np.diff(ranked.rows[0][:4]) > 0).all() and (np.diff(ranked.rows[0][4:]) > 0).all()


def test_blas_has_its_threads_again_whichever_of_two_blocks_ends_last() -> None:
    def count() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    other, database = map_parallel(str, range(3)), unit_rows(12, 16)

    def find(rows: NDArray[np.int64]) -> Rows:
        other.close()
        return database[rows]

    found = neighbors_of(database[:1], database, 4)
    with threadpool_limits(2, user_api="blas"):
        assert next(other) == "0" and {*count()} == {1}
        rerank_neighbors(found, database[:1], find, count=3, nearest=3, beta=0.5)
        assert {*count()} == {2}


def test_no_queries_are_no_neighbours() -> None:
    database = unit_rows(12, 16)
    found = neighbors_of(database[:0], database, 4)
    ranked = rerank_neighbors(
        found, database[:0], database.__getitem__, count=3, nearest=3, beta=0.5
    )
    assert ranked.rows.shape == ranked.scores.shape == (0, 4)


@pytest.mark.parametrize(
    ("queries", "candidates", "nearest", "beta", "message"),
    [
        ((2, 8), (2, 8), 3, 0.1, r"queries \(2, 8\) and candidates \(2, 8\), expected"),
        ((2, 8), (3, 5, 8), 3, 0.1, r"expected \[Q, D\] and \[Q, M, D\]"),
        ((2, 7), (2, 5, 8), 3, 0.1, r"queries \(2, 7\)"),
        ((2, 8), (2, 0, 8), 3, 0.1, "no candidates"),
        ((2, 8), (2, 5, 8), 0, 0.1, "nearest is 0"),
        ((2, 8), (2, 5, 8), 3, -1.0, "beta -1.0"),
        ((2, 8), (2, 5, 8), 3, float("nan"), "beta nan"),
    ],
)
def test_what_does_not_fit_is_refused(
    queries: tuple[int, ...], candidates: tuple[int, ...], nearest: int, beta: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        refine_similarities(
            unit_rows(*queries), np.ones(candidates, np.float32), nearest=nearest, beta=beta
        )
