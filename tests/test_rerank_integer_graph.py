"""Tests of products of integers against float32, which holds them exactly."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from rerank import integer_graph
from rerank.cosines import MAX_EXACT_DIM, list_cosines, unit_rows
from rerank.integer_graph import ROW_STEP, IntegerGraph, find_graph
from rerank.matching import match_mutual

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install -e '.[openvino]'")

SIZES = (0, 1, ROW_STEP - 1, ROW_STEP, ROW_STEP + 1, 257)


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    find_graph.cache_clear()
    yield
    find_graph.cache_clear()


def _rows(n: int, dim: int = 128, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, dim), dtype=np.uint8)


def _load(monkeypatch: pytest.MonkeyPatch, dim: int) -> IntegerGraph:
    monkeypatch.setattr(integer_graph, "WORTH_LOADING", 0)
    graph = find_graph(dim).get(1)
    assert graph is not None
    return graph


@pytest.mark.parametrize("dim", [1, 40, 128, MAX_EXACT_DIM])
def test_integers_give_the_bits_of_float32(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, candidates = _rows(131, dim), [_rows(n, dim, seed=n) for n in SIZES]
    query[:2] = np.array([[255], [0]])  # the largest sums, and a row without a direction
    candidates[-1][:2] = query[:2]
    expected = [found.copy() for found in list_cosines(query, candidates)]
    graph = _load(monkeypatch, dim)
    found = [found.copy() for found in list_cosines(query, candidates)]
    assert [each.shape for each in found] == [(131, n) for n in SIZES]
    for ours, theirs, candidate in zip(found, expected, candidates, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(ours, unit_rows(query) @ unit_rows(candidate).T, atol=1e-5)
    (alone,) = graph.list_cosines(query[:0], candidates[1:2])
    assert alone.shape == (0, 1)


def test_matches_stay_the_same_once_the_graph_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    query, *candidates = (_rows(n, seed=n) for n in (300, 299, 301, 12))
    candidates.append(np.roll(query, 7, axis=0) ^ _rows(300, seed=5) // 64)
    before = match_mutual(query, candidates)
    _load(monkeypatch, 128)
    after = match_mutual(query, candidates)
    assert len(after[-1]) > 200
    for expected, found in zip(before, after, strict=True):
        np.testing.assert_array_equal(expected, found)


def test_threads_do_not_overwrite_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [_rows(200, seed=seed) for seed in range(8)]
    candidates = [_rows(n, seed=n) for n in (200, 130, 200)]
    expected = [[found.copy() for found in list_cosines(query, candidates)] for query in queries]
    _load(monkeypatch, 128)

    def compare(number: int) -> None:
        for _ in range(5):
            found = list_cosines(queries[number], candidates)
            for ours, theirs in zip(found, expected[number], strict=True):
                np.testing.assert_array_equal(ours, theirs)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compare, range(8)))


def test_one_photo_does_not_load_the_graph() -> None:
    match_mutual(_rows(600), [_rows(600)] * 20)
    assert find_graph(128).get(0) is None


@pytest.mark.parametrize("reason", [RuntimeError("clips"), ImportError("no such library")])
def test_what_cannot_be_loaded_is_said_and_float32_goes_on(
    reason: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise reason

    monkeypatch.setattr(IntegerGraph, "_check", fail)
    monkeypatch.setattr(integer_graph, "WORTH_LOADING", 0)
    query = _rows(50)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert match_mutual(query, [query])[0].tolist() == [[i, i] for i in range(50)]
    assert caplog.text.count(str(reason)) == 1


def test_clipped_sums_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def clip(*_: object) -> Iterator[NDArray[np.float32]]:
        yield np.zeros((ROW_STEP, ROW_STEP), np.float32)

    monkeypatch.setattr(IntegerGraph, "list_cosines", clip)
    with pytest.raises(RuntimeError, match="clips sums"):
        IntegerGraph(128)


def test_without_the_runtime_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_graph, "has_runtime", lambda: False)
    monkeypatch.setattr(integer_graph, "WORTH_LOADING", 0)
    assert find_graph(128).get(1) is None
