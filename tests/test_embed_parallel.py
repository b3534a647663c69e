"""Items are made ahead in threads: in order, few at a time, and none after the end."""

import os
import threading
import time
from collections.abc import Iterator

import cv2
import pytest
import torch

from embed.parallel import count_cores, map_ahead, map_parallel, run_parallel


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def wait(number: int) -> int:
        time.sleep(0.01 * (number % 3 == 0))  # these are done after those behind them
        return number

    assert list(map_ahead(wait, range(20), threads=threads, ahead=6)) == [*range(20)]


def test_no_more_items_are_taken_than_may_be_ahead() -> None:
    taken = 0

    def count() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    for done, _ in enumerate(map_ahead(str, count(), threads=2, ahead=5), 1):
        assert taken <= done + 5


def test_an_iterator_that_is_closed_starts_nothing_else_and_leaves_no_thread() -> None:
    started: list[int] = []
    before, opencv = threading.active_count(), cv2.getNumThreads()
    made = map_ahead(lambda number: started.append(number), range(1000), threads=2, ahead=8)
    next(made)
    assert cv2.getNumThreads() == 1
    made.close()
    assert len(started) <= 9
    assert (threading.active_count(), cv2.getNumThreads()) == (before, opencv)


def test_an_error_ends_the_iteration_where_its_item_is() -> None:
    made = map_ahead(lambda number: 1 // (number - 2), range(9), threads=2, ahead=4)
    assert [next(made), next(made)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_torch_starts_no_threads_within_those_of_one_core_each() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        made = list(map_ahead(lambda _: torch.get_num_threads(), range(4), threads=2, ahead=2))
        alone = map_ahead(
            lambda _: torch.get_num_threads(), range(4), threads=2, ahead=2, one_core=True
        )
        assert (made, list(alone), torch.get_num_threads()) == ([3] * 4, [1] * 4, 3)
        later = map_ahead(lambda _: torch.get_num_threads(), range(4), threads=2, ahead=2)
        assert list(later) == [3] * 4
    finally:
        torch.set_num_threads(before)


def test_a_single_item_is_computed_by_the_thread_that_asks_with_all_threads_below() -> None:
    def look(_: int) -> tuple[int, int]:
        return threading.get_ident(), cv2.getNumThreads()

    assert run_parallel(look, [0]) == [(threading.get_ident(), cv2.getNumThreads())]
    assert {threads for _, threads in run_parallel(look, range(4))} == {1}
    assert run_parallel(look, []) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads have no affinity here")
def test_pinned_threads_have_a_core_each_and_no_other_thread_has() -> None:
    allowed = os.sched_getaffinity(0)
    together = threading.Barrier(len(allowed))

    def look(_: int) -> tuple[int, frozenset[int]]:
        together.wait(20)
        return threading.get_ident(), frozenset(os.sched_getaffinity(0))

    found = dict(map_parallel(look, range(together.parties), pinned=True))
    assert sorted(map(len, found.values())) == [1] * together.parties
    assert frozenset.union(*found.values()) <= allowed
    assert len(set(found.values())) == together.parties
    assert os.sched_getaffinity(0) == allowed
    assert {frozenset(allowed)} == {
        cores for _, cores in map_parallel(look, range(together.parties))
    }


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads have no affinity here")
def test_where_threads_may_not_be_pinned_they_run_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert list(map_parallel(str, range(3), pinned=True)) == ["0", "1", "2"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads have no affinity here")
def test_there_are_as_many_threads_as_cores_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert count_cores() == 1
    assert len(set(map_parallel(lambda _: threading.get_ident(), range(9)))) == 1
