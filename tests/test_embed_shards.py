"""Embedding shards: what is written comes back, and nothing else passes for a shard."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed.failure import Failure
from embed.head_scores import HeadScores
from embed.shards import (
    Embeddings,
    read_embeddings,
    read_failures,
    read_shard_failures,
    write_failures,
    write_shard,
)

FAILURES = [Failure(3, "corrupt", 'a "quoted"\nmessage, naïve'), Failure(7, "missing", "")]


def embeddings(count: int, dim: int = 4, seed: int = 0) -> Embeddings:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = tuple(f"ü{seed}-{row}" for row in range(count))
    scores = generator.random((count, 3), dtype=np.float32)
    halves = (scores / 2).astype(np.float32)
    head = HeadScores(generator.integers(0, 2**40, (count, 3)), scores, halves)
    return Embeddings(ids, generator.integers(-1, 2**40, count), vectors.astype(np.float32), head)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_shard_comes_back_as_it_was(dtype: str, count: int, tmp_path: Path) -> None:
    written = embeddings(count)
    path = tmp_path / "part-0.parquet"
    write_shard(path, written, FAILURES, dtype=dtype, key="k")
    found = read_embeddings([path])
    assert found.ids == written.ids
    np.testing.assert_array_equal(found.landmark_ids, written.landmark_ids)
    assert found.landmark_ids.dtype == np.int64 and found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, written.vectors.astype(dtype).astype(np.float32))
    assert found.vectors.shape == written.vectors.shape
    assert read_shard_failures(path, "k") == FAILURES


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_vector_column_has_a_fixed_size(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "part-0.parquet"
    write_shard(path, embeddings(3), [], dtype=dtype, key="k")
    value = {"float16": pa.float16(), "float32": pa.float32()}[dtype]
    assert pq.read_schema(path).field("embedding").type == pa.list_(value, 4)


def test_shards_are_read_in_the_given_order(tmp_path: Path) -> None:
    parts = [embeddings(count, seed=count) for count in (3, 0, 5)]
    paths = [tmp_path / f"part-{number}.parquet" for number in range(3)]
    for path, part in zip(paths, parts, strict=True):
        write_shard(path, part, [], dtype="float32", key="k")
    for order in ([0, 1, 2], [2, 1, 0]):
        found = read_embeddings([paths[i] for i in order])
        assert found.ids == sum((parts[i].ids for i in order), ())
        expected = np.concatenate([parts[i].vectors for i in order])
        np.testing.assert_array_equal(found.vectors, expected)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1)])
def test_a_shard_without_a_readable_image_reads_beside_one_with_head_scores(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    scored, unread = embeddings(3), replace(embeddings(0), head=HeadScores.none(0))
    paths = [tmp_path / "part-0.parquet", tmp_path / "part-1.parquet"]
    for path, part in zip(paths, (scored, unread), strict=True):
        write_shard(path, part, [], dtype="float32", key="k")
    found = read_embeddings([paths[place] for place in order])
    assert found.ids == (scored.ids if 0 in order else ())
    assert found.head.labels.shape == ((3, 3) if 0 in order else (0, 0))


def test_the_size_of_shards_changes_nothing(tmp_path: Path) -> None:
    whole = embeddings(10)
    for size in (1, 3, 10):
        paths = []
        for first in range(0, 10, size):
            part = whole.take(slice(first, first + size))
            paths.append(tmp_path / f"{size}-{first}.parquet")
            write_shard(paths[-1], part, [], dtype="float32", key="k")
        found = read_embeddings(paths)
        assert found.ids == whole.ids
        np.testing.assert_array_equal(found.vectors, whole.vectors)


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_shard(tmp_path / name, embeddings(5), FAILURES, dtype="float16", key="k")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_shard_of_another_job_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "part-0.parquet"
    write_shard(path, embeddings(3), [], dtype="float32", key="old")
    assert read_shard_failures(path, "old") == []
    assert read_shard_failures(path, "new") is None
    assert read_shard_failures(tmp_path / "gone.parquet", "old") is None


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.floats(0, 1, exclude_max=True))
def test_a_half_written_shard_does_not_count(tmp_path: Path, share: float) -> None:
    path, whole = tmp_path / "cut.parquet", tmp_path / "whole.parquet"
    write_shard(whole, embeddings(9), FAILURES, dtype="float32", key="k")
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert read_shard_failures(path, "k") is None


GARBAGE = {
    "empty": b"",
    "text": b"garbage",
    "zeros": bytes(500),
    "bad footer": b"PAR1" + b"\x15" * 40 + b"\x20\0\0\0PAR1",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_neither_a_shard_nor_embeddings(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "part-0.parquet"
    path.write_bytes(GARBAGE[kind])
    assert read_shard_failures(path, "k") is None
    with pytest.raises(ValueError, match="holds a file that is no embedding shard"):
        read_embeddings([path])


def test_another_parquet_file_is_neither_a_shard_nor_embeddings(tmp_path: Path) -> None:
    for number, column in enumerate((pa.array([1]), pa.array([[1.0]]))):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"embedding" if number else "id": column}), path)
        assert read_shard_failures(path, "k") is None
        with pytest.raises(ValueError, match=r"no embedding shard .* run `cairn embed --redo`"):
            read_embeddings([path])


def test_shards_of_different_dims_do_not_mix(tmp_path: Path) -> None:
    for dim in (3, 4):
        path = tmp_path / f"{dim}.parquet"
        write_shard(path, embeddings(2, dim), [], dtype="float32", key="k")
    with pytest.raises(ValueError, match="no embedding shard"):
        read_embeddings([tmp_path / "3.parquet", tmp_path / "4.parquet"])


def test_missing_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `cairn embed`"):
        read_embeddings([])
    with pytest.raises(FileNotFoundError, match="gone"):
        read_embeddings([tmp_path / "gone.parquet"])


def test_ids_labels_and_vectors_must_be_equally_many() -> None:
    labels, vectors = np.zeros(2, np.int64), np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="1 ids, 2 labels, 2 vectors and head scores of 2"):
        Embeddings(("a",), labels, vectors, HeadScores.none(2))
    with pytest.raises(ValueError, match="2 ids, 2 labels, 2 vectors and head scores of 1"):
        Embeddings(("a", "b"), labels, vectors, HeadScores.none(1))


def test_head_scores_come_back_and_may_be_missing(tmp_path: Path) -> None:
    written = embeddings(5)
    write_shard(tmp_path / "a.parquet", written, [], dtype="float16", key="k")
    found = read_embeddings([tmp_path / "a.parquet"]).head
    for name in ("labels", "scores", "probabilities"):
        assert getattr(found, name).tobytes() == getattr(written.head, name).tobytes()
    headless = replace(written, head=HeadScores.none(5))
    write_shard(tmp_path / "b.parquet", headless, [], dtype="float16", key="k")
    assert read_embeddings([tmp_path / "b.parquet"]).head.labels.shape == (5, 0)


def test_taken_and_joined_embeddings_are_those_of_the_images(tmp_path: Path) -> None:
    whole = embeddings(6)
    parts = [whole.take(np.array([4, 1])), whole.take(slice(2, 3))]
    joined = Embeddings.concatenate(parts)
    assert joined.ids == tuple(whole.ids[row] for row in (4, 1, 2))
    rows = [4, 1, 2]
    assert joined.landmark_ids.tolist() == whole.landmark_ids[rows].tolist()
    assert joined.vectors.tobytes() == whole.vectors[rows].tobytes()
    assert joined.head.labels.tolist() == whole.head.labels[rows].tolist()


@pytest.mark.parametrize("failures", [[], FAILURES])
def test_failures_come_back_by_image_id(failures: list[Failure], tmp_path: Path) -> None:
    path, ids = tmp_path / "failures.parquet", [f"id{number}" for number in range(9)]
    write_failures(path, ids, failures)
    expected = {f"id{f.position}": (f.reason, f.message) for f in failures}
    assert read_failures(path) == expected
