"""Run a function over items in threads, each item on one core."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return function(item) of all items, in their order.

    The libraries below (OpenCV, BLAS) release the interpreter and would each start threads of
    their own; with one thread each, and one item a core, they do not wait for one another.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(function, items))
    finally:
        cv2.setNumThreads(threads)
