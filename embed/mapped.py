"""Arrays larger than memory: written in blocks to a file without a name, then mapped.

What is read of a mapped file counts as memory until its pages are given back; the system would take
them when it runs short, but whoever shares the machine sees them taken until then. Writes into any
folder it is given; the file is gone when nothing has it open, however a process ends.
"""

import itertools
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 1 << 24  # numbers that are read at a time: 64 MiB of float32
# Numbers of single rows that are read at a time: with each the system maps 64 KiB of its file.
GATHERED = 1 << 18

Place = slice | NDArray[np.int64]


def store_blocks(
    blocks: Iterable[tuple[Place, NDArray[Any]]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    folder: Path | None,
) -> NDArray[Any]:
    """Return an array that is given block by block.

    Args:
        blocks: rows of the array, each once, and what they hold; converted where it is of another
            type. Rows are numbers [n], or a slice with a start.
        shape: of the array, whose first dimension is of rows.
        dtype: of the array.
        folder: of the file; None to hold the array in memory.

    Raises:
        OSError: the disk is full.
    """
    if folder is None or not prod(shape):
        array = np.empty(shape, dtype)
        for rows, values in blocks:
            array[rows] = values
        return array
    size = prod(shape[1:]) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for rows, values in blocks:
            content = np.ascontiguousarray(values, dtype)
            for row, run in _iterate_runs(rows, content):
                _write(file.fileno(), memoryview(run.reshape(-1).view(np.uint8).data), row * size)
        return np.memmap(file, dtype, "r", shape=shape)


def _iterate_runs(rows: Place, values: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row of each run of rows that follow each other, and what they hold."""
    if isinstance(rows, slice):
        yield int(rows.start), values
        return
    cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    for start, stop in itertools.pairwise(cuts):
        if start < stop:
            yield int(rows[start]), values[start:stop]


def _write(descriptor: int, content: memoryview, offset: int) -> None:
    while len(content):  # at most 2 GiB are written at once
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def iterate_blocks(
    array: NDArray[Any], size: int = BLOCK, *, keep: bool = False
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield which rows, and the rows [n, ...], of an array block by block.

    How many depends on the length of a row alone: the same blocks, mapped or not.

    Args:
        array: [N, ...].
        size: numbers of a block, which has a row at least.
        keep: whether pages of a block stay when the next one is asked for.
    """
    step = max(size // max(prod(array.shape[1:]), 1), 1)
    for start in range(0, len(array), step):
        rows = slice(start, min(start + step, len(array)))
        yield rows, array[rows]
        if not keep:
            give_back(array)


def gather(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return [n, ...] some rows of an array, in memory."""
    if find_map(array) is None:
        return np.asarray(array[rows])
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    step = max(GATHERED // max(prod(array.shape[1:]), 1), 1)
    for start in range(0, len(rows), step):
        found[start : start + step] = array[rows[start : start + step]]
        give_back(array)
    return found


def give_back(array: NDArray[Any]) -> None:
    """Let the pages go that reading a mapped array has taken; it can be read again."""
    if (file := find_map(array)) is not None:
        file.madvise(mmap.MADV_DONTNEED)


def find_map(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the mapping of the file that an array lies in; None of one in memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
