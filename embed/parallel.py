"""Run a function over items in threads, each item on one core."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import lru_cache, partial
from itertools import count
from typing import Any, TypeVar

import cv2
from threadpoolctl import ThreadpoolController

AHEAD = 16  # items a core that are done, or being done, beyond the one that is asked for

Item = TypeVar("Item")
Result = TypeVar("Result")


def count_cores() -> int:
    """Return the cores that this process may use, of those that there are."""
    return len(_list_cores()) or os.cpu_count() or 1


def _list_cores() -> list[int]:
    """Return the cores that this process may use; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def run_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return function(item) of all items, in their order; as map_parallel.

    A single item is computed here, and the libraries below keep all of their threads for it.
    """
    if len(items) == 1:
        return [function(items[0])]
    return list(map_parallel(function, items))


def map_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], *, pinned: bool = False
) -> Generator[Result]:
    """Yield function(item) of all items, in their order, one item a core.

    The libraries below (OpenCV, BLAS) release the interpreter and would each start threads of
    their own; with one thread each they do not wait for one another. However many items there are,
    few are in memory.

    Args:
        function: releases the interpreter for most of its time.
        items: taken one by one.
        pinned: each thread stays on one core. Threads that take the interpreter from one another
            many times a millisecond are put on the same core by Linux: seen to halve the speed.
    """
    cores = count_cores()
    made = map_ahead(function, items, threads=cores, ahead=AHEAD * cores, pinned=pinned)
    with _one_blas_thread(), closing(made):
        yield from made


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    ahead: int,
    one_core: bool = False,
    pinned: bool = False,
) -> Generator[Result]:
    """Yield function(item) of each item, in their order, while threads make the next ones.

    What torch and BLAS do beside it keeps its threads. An iterator that is closed, or whose
    consumer fails, starts no other item and ends with those that are being made.

    Args:
        function: releases the interpreter for most of its time; its error ends the iteration.
        items: taken one by one, by the thread that iterates.
        threads: that make them; 0 makes each when it is asked for.
        ahead: items that are made, or being made, beyond the one that is asked for.
        one_core: torch starts no further threads for what the function computes.
        pinned: see map_parallel.
    """
    if not threads:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
    torch: Any = sys.modules.get("torch") if one_core else None  # a function without it needs none
    torch_threads = torch.get_num_threads() if torch else 0

    def prepare() -> None:
        if torch:
            torch.set_num_threads(1)
        if pinned:
            _keep_core()

    pool = ThreadPoolExecutor(threads, initializer=prepare)
    try:
        with one_opencv_thread():
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        if torch:  # each thread has a number of its own, but new ones begin with what was set last
            torch.set_num_threads(torch_threads)


# Of threads that keep a core: each takes the next one. Processes with few threads begin apart.
_turns = count(os.getpid())


def _keep_core() -> None:
    cores = _list_cores()
    with suppress(OSError):  # a sandbox may forbid it, and a container lose a core
        if cores:
            os.sched_setaffinity(0, {cores[next(_turns) % len(cores)]})


class _Shared:
    """A setting of the process, changed while any thread is in the block, and set back after."""

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        """Take what changes it, and returns what sets it back."""
        self._change, self._lock = change, threading.Lock()
        self._inside = 0
        self._set_back: Callable[[], None] = lambda: None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._set_back = self._change()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._set_back()


def _limit_opencv() -> Callable[[], None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    return partial(cv2.setNumThreads, threads)


@lru_cache(maxsize=1)
def _find_libraries(modules: int) -> ThreadpoolController:
    """Find the libraries that have threads, which takes a millisecond or two: modules load them."""
    return ThreadpoolController()


def _limit_blas() -> Callable[[], None]:
    limits = _find_libraries(len(sys.modules)).limit(limits=1)
    return lambda: limits.restore_original_limits()


one_opencv_thread, _one_blas_thread = _Shared(_limit_opencv), _Shared(_limit_blas)
