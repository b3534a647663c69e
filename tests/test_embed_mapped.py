"""Arrays in mapped files: what is written block by block is what is read, and memory is let go."""

import os
from pathlib import Path

import numpy as np
import pytest

from embed.mapped import Place, find_map, gather, give_back, iterate_blocks, store_blocks


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_blocks_in_any_order_are_the_array(mapped: bool, dtype: type, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
    rows = np.random.default_rng(1).permutation(40) + 10
    places: list[Place] = [slice(0, 10), rows[:25], rows[25:]]
    blocks = ((place, array[place]) for place in places)
    stored = store_blocks(blocks, array.shape, dtype, tmp_path if mapped else None)
    np.testing.assert_array_equal(stored, array.astype(dtype))
    assert stored.dtype == dtype and (find_map(stored) is not None) == mapped
    assert not list(tmp_path.iterdir())  # the file has no name
    some = stored[:, 0]
    np.testing.assert_array_equal(gather(some, rows), array[rows, 0].astype(dtype))
    give_back(some)
    np.testing.assert_array_equal(stored, array.astype(dtype))


@pytest.mark.parametrize("size", [1, 6, 40, 10**6])
def test_blocks_follow_each_other_and_leave_out_no_row(size: int) -> None:
    array = np.arange(70).reshape(35, 2)
    blocks = list(iterate_blocks(array, size))
    assert [place.start for place, _ in blocks] == list(range(0, 35, max(size // 2, 1)))
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), array)
    assert all(np.shares_memory(block, array) for _, block in blocks)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_nothing_is_no_file(shape: tuple[int, int], tmp_path: Path) -> None:
    assert store_blocks(iter(()), shape, np.float32, tmp_path).shape == shape


def test_a_write_that_ends_early_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: write(file, content[:7], at))
    array = np.arange(30, dtype=np.float32).reshape(10, 3)
    stored = store_blocks(iter([(slice(0, 10), array)]), array.shape, np.float32, tmp_path)
    np.testing.assert_array_equal(stored, array)
