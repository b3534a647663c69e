"""The base index against a full sort: ties, batches, and what it saves and refuses to load."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embed import mapped
from embed.errors import InputError, MissingFileError
from index import base
from index.base import VECTORS, BaseIndex, pair_cosines
from index.kernels import faiss
from tests.test_index_search import random_rows


def test_a_query_has_the_same_bytes_alone_and_among_others() -> None:
    xb, xq = random_rows(3000, seed=0, dim=48), random_rows(70, seed=1, dim=48)
    index = BaseIndex.build(xb)
    found = index.search(xq, 30)
    for row in range(0, 70, 7):
        alone = index.search(xq[row : row + 1], 30)
        np.testing.assert_array_equal(alone.rows[0], found.rows[row])
        np.testing.assert_array_equal(alone.scores[0], found.scores[row])
        np.testing.assert_array_equal(
            pair_cosines(xq[row : row + 1], xb[found.rows[row]][None])[0], found.scores[row]
        )


def test_copies_of_a_row_score_the_same_and_come_in_order() -> None:
    xb = np.repeat(random_rows(40, seed=3, dim=100), 60, axis=0)
    found = BaseIndex.build(xb).search(xb[::600], 70)
    np.testing.assert_array_equal(found.rows[:, :60], np.arange(0, 2400, 600)[:, None] + range(60))
    assert (found.scores[:, :60] == found.scores[:, :1]).all()


def test_numpy_finds_what_faiss_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    xb: NDArray[np.float32] = np.repeat(random_rows(60, seed=0), 4, axis=0)
    xq = random_rows(9, seed=1)
    for k in (1, 30, 240):
        monkeypatch.setattr(base, "FEW_PRODUCTS", xb.size)
        few = BaseIndex(xb).search(xq, k)
        monkeypatch.setattr(base, "FEW_PRODUCTS", 0)
        many = BaseIndex(xb).search(xq, k)
        np.testing.assert_array_equal(few.rows, many.rows)
        np.testing.assert_array_equal(few.scores, many.scores)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_saved_index_is_opened_without_being_read(tmp_path: Path, dtype: type) -> None:
    xb, xq = random_rows(200, seed=0), random_rows(9, seed=1)
    index = BaseIndex(xb.astype(dtype))
    assert index.save(tmp_path) == [VECTORS]
    opened = BaseIndex.load(tmp_path / VECTORS, None, {})
    assert isinstance(opened.exact, np.memmap) and opened.exact.dtype == dtype
    assert (opened.ntotal, opened.dim) == (200, 16)
    np.testing.assert_array_equal(opened.vectors(np.array([7, 3])), index.vectors(np.array([7, 3])))
    one, other = index.search(xq, 10), opened.search(xq, 10)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_size_of_blocks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    """Nor whether vectors are in a file; rows that tie lie on both sides of a cut."""
    xb: NDArray[np.floating] = np.repeat(random_rows(60, seed=0), 4, axis=0).astype(dtype)
    xq = random_rows(9, seed=1)
    expected = BaseIndex(xb).search(xq, 30)
    BaseIndex(xb).save(tmp_path)
    opened = BaseIndex.load(tmp_path / VECTORS, None, {})
    iterate = mapped.iterate_blocks
    read = list[int]()

    def count(array: Any, size: int = 0, *, keep: bool = False) -> Any:
        for place, block in iterate(array, rows * 16, keep=keep):
            read.append(len(block))
            yield place, block

    monkeypatch.setattr(base, "iterate_blocks", count)
    for rows in (7, 50, 240):
        read.clear()
        for index in (opened, BaseIndex(xb)):
            found = index.search(xq, 30)
            np.testing.assert_array_equal(found.rows, expected.rows)
            np.testing.assert_array_equal(found.scores, expected.scores)
        assert max(read) == rows


def test_a_gpu_is_asked_for_many_queries_and_for_no_more_than_it_can_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def knn_gpu(resources: object, xq: Any, xb: Any, k: int, **options: int) -> object:
        asked.append((len(xq), k))
        return faiss.knn(xq, xb, k, metric=options["metric"])

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    xb, xq = random_rows(3000, seed=0), random_rows(300, seed=1)
    index = BaseIndex.build(xb)
    many, few = index.search(xq, 100), index.search(xq[:9], 100)
    np.testing.assert_array_equal(many.rows[:9], few.rows)
    assert asked == [(300, 100 + base.MARGIN)]
    assert index.search(xq, 2500).rows.shape == (300, 2500)
    assert len(asked) == 1


def damaged(rows: NDArray[np.float32], kind: str) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, rows.astype({"integers": np.int32}.get(kind, np.float32)))
    content = file.getvalue()
    return {"short": content[:-9], "empty": b"", "other": b"\0" * 500}.get(kind, content)


@pytest.mark.parametrize("kind", ["short", "empty", "other", "integers"])
def test_a_file_that_is_no_matrix_of_vectors_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / VECTORS).write_bytes(damaged(random_rows(20, seed=0), kind))
    with pytest.raises(InputError, match=r"vectors\.npy is no index .*cairn index --redo"):
        BaseIndex.load(tmp_path / VECTORS, None, {})


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="run `cairn index` first"):
        BaseIndex.load(tmp_path / VECTORS, None, {})


def test_what_cannot_be_searched_is_refused() -> None:
    xb = random_rows(20, seed=0)
    index = BaseIndex.build(xb)
    with pytest.raises(InputError, match="no database embeddings"):
        BaseIndex.build(xb[:0])
    with pytest.raises(ValueError, match="database embedding 3 has length 0"):
        BaseIndex.build(np.where(np.arange(20)[:, None] == 3, 0, xb))
    with pytest.raises(ValueError, match="query embedding 0 has length nan"):
        index.search(np.full((1, 16), np.nan, np.float32), 1)
    with pytest.raises(ValueError, match="query dim 8 != index dim 16"):
        index.search(random_rows(1, seed=0, dim=8), 1)
    with pytest.raises(ValueError, match="k is 0"):
        index.search(xb[:1], 0)
