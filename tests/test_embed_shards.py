"""Embedding shards: what is written comes back, and nothing else passes for a shard."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed import shards
from embed.failure import Failure
from embed.head_scores import HeadScores
from embed.parts import write_part
from embed.shards import (
    Embeddings,
    make_rows,
    map_vectors,
    read_embeddings,
    read_failures,
    write_failures,
    write_images,
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


def write_shard(path: Path, written: Embeddings, dtype: str = "float32") -> None:
    write_part(
        path, make_rows(written.ids, written.vectors, written.head, dtype, written.regions), {}, "k"
    )


def read(paths: list[Path], *tables: Embeddings) -> Embeddings:
    """Read shards in the order, and with the labels, of the tables one after the other."""
    images, table = paths[0].with_name("images.parquet"), Embeddings.concatenate(tables)
    write_images(images, table.ids, table.landmark_ids)
    return read_embeddings(paths, images)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_shard_comes_back_as_it_was(dtype: str, count: int, tmp_path: Path) -> None:
    written = embeddings(count)
    path = tmp_path / "part-0.parquet"
    write_shard(path, written, dtype)
    found = read([path], written)
    assert found.ids == written.ids
    np.testing.assert_array_equal(found.landmark_ids, written.landmark_ids)
    assert found.landmark_ids.dtype == np.int64 and found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, written.vectors.astype(dtype).astype(np.float32))
    assert found.vectors.shape == written.vectors.shape


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_vector_column_has_a_fixed_size(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "part-0.parquet"
    write_shard(path, embeddings(3), dtype)
    value = {"float16": pa.float16(), "float32": pa.float32()}[dtype]
    assert pq.read_schema(path).field("embedding").type == pa.list_(value, 4)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_shards_are_read_in_the_order_of_the_table(order: list[int], tmp_path: Path) -> None:
    parts = [embeddings(count, seed=count) for count in (3, 0, 5)]
    paths = [tmp_path / f"part-{number}.parquet" for number in range(3)]
    for path, part in zip(paths, parts, strict=True):
        write_shard(path, part)
    table = Embeddings.concatenate([parts[i] for i in order])
    for given in (paths, paths[::-1]):
        found = read(given, table)
        assert found.ids == table.ids
        assert found.landmark_ids.tolist() == table.landmark_ids.tolist()
        np.testing.assert_array_equal(found.vectors, table.vectors)
        np.testing.assert_array_equal(found.head.scores, table.head.scores)


def test_images_of_the_table_that_no_shard_holds_are_those_that_failed(tmp_path: Path) -> None:
    whole, path = embeddings(6), tmp_path / "part-0.parquet"
    write_shard(path, whole.take(np.array([4, 1, 2])))
    found, expected = read([path], whole), whole.take(np.array([1, 2, 4]))
    assert found.ids == expected.ids
    assert found.landmark_ids.tolist() == expected.landmark_ids.tolist()
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    with pytest.raises(ValueError, match="names 2 of the 3 images of the shards"):
        read([path], whole.take(slice(1, 3)))


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1)])
def test_a_shard_without_a_readable_image_reads_beside_one_with_head_scores(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    scored, unread = embeddings(3), replace(embeddings(0), head=HeadScores.none(0))
    paths = [tmp_path / "part-0.parquet", tmp_path / "part-1.parquet"]
    for path, part in zip(paths, (scored, unread), strict=True):
        write_shard(path, part)
    found = read([paths[place] for place in order], scored if 0 in order else unread)
    assert found.ids == (scored.ids if 0 in order else ())
    assert found.head.labels.shape == ((3, 3) if 0 in order else (0, 0))


def test_the_size_of_shards_changes_nothing(tmp_path: Path) -> None:
    whole = embeddings(10)
    for size in (1, 3, 10):
        paths = []
        for first in range(0, 10, size):
            part = whole.take(slice(first, first + size))
            paths.append(tmp_path / f"{size}-{first}.parquet")
            write_shard(paths[-1], part)
        found = read(paths, whole)
        assert found.ids == whole.ids
        np.testing.assert_array_equal(found.vectors, whole.vectors)


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_shard(tmp_path / name, embeddings(5), "float16")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_file_is_no_shard(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(b"garbage")
    pq.write_table(pa.table({"id": pa.array([1])}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"embedding": pa.array([[1.0]])}), tmp_path / "2.parquet")
    for number in range(3):
        with pytest.raises(ValueError, match=r"no embedding shard .* run `cairn embed --redo`"):
            read([tmp_path / f"{number}.parquet"], embeddings(1))


def test_an_error_of_the_system_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> pa.Table:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(shards, "read_parquet", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        read([tmp_path / "0.parquet"], embeddings(1))


def test_shards_of_different_dims_do_not_mix(tmp_path: Path) -> None:
    for dim in (3, 4):
        path = tmp_path / f"{dim}.parquet"
        write_shard(path, embeddings(2, dim))
    with pytest.raises(ValueError, match="no embedding shard"):
        read([tmp_path / "3.parquet", tmp_path / "4.parquet"], embeddings(2))


def test_missing_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `cairn embed`"):
        read_embeddings([], tmp_path / "images.parquet")
    with pytest.raises(FileNotFoundError, match="gone"):
        read([tmp_path / "gone.parquet"], embeddings(1))


def test_ids_labels_and_vectors_must_be_equally_many() -> None:
    labels, vectors = np.zeros(2, np.int64), np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="1 ids, 2 labels, 2 vectors and head scores of 2"):
        Embeddings(("a",), labels, vectors, HeadScores.none(2))
    with pytest.raises(ValueError, match="2 ids, 2 labels, 2 vectors and head scores of 1"):
        Embeddings(("a", "b"), labels, vectors, HeadScores.none(1))


def test_head_scores_come_back_and_may_be_missing(tmp_path: Path) -> None:
    written = embeddings(5)
    write_shard(tmp_path / "a.parquet", written, "float16")
    found = read([tmp_path / "a.parquet"], written).head
    for name in ("labels", "scores", "probabilities"):
        assert getattr(found, name).tobytes() == getattr(written.head, name).tobytes()
    headless = replace(written, head=HeadScores.none(5))
    write_shard(tmp_path / "b.parquet", headless, "float16")
    assert read([tmp_path / "b.parquet"], headless).head.labels.shape == (5, 0)


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


def with_regions(written: Embeddings, each: int) -> Embeddings:
    regions = np.stack([np.roll(written.vectors, by + 1, axis=1) for by in range(each)], axis=1)
    return replace(written, regions=regions)


@pytest.mark.parametrize("count", [0, 1, 50])
def test_regions_lie_beside_the_descriptor_of_their_image(count: int, tmp_path: Path) -> None:
    written = with_regions(embeddings(count), 3)
    path, other = tmp_path / "part-0.parquet", tmp_path / "part-1.parquet"
    write_shard(path, written)
    assert read([path], written).all_vectors.shape == (count, 4, 4)
    np.testing.assert_array_equal(read([path], written).all_vectors, written.all_vectors)
    np.testing.assert_array_equal(written.all_vectors[:, 0], written.vectors)
    # Shards in another order than their table.
    more = with_regions(embeddings(5, seed=1), 3)
    write_shard(other, more)
    both = Embeddings.concatenate([written, more])
    np.testing.assert_array_equal(read([other, path], written, more).regions, both.regions)
    np.testing.assert_array_equal(both.take([count + 2]).regions, more.all_vectors[2:3, 1:])


def test_a_shard_without_regions_has_no_column_for_them(tmp_path: Path) -> None:
    written = embeddings(4)
    path = tmp_path / "part-0.parquet"
    write_shard(path, written)
    assert "regions" not in pq.read_schema(path).names
    assert read([path], written).regions is None
    np.testing.assert_array_equal(written.all_vectors, written.vectors[:, None])


def test_regions_of_other_images_or_another_length_are_refused() -> None:
    written = with_regions(embeddings(4), 3)
    with pytest.raises(ValueError, match=r"regions have shape \(4, 3, 2\), expected \[4, R, 4\]"):
        replace(written, regions=written.all_vectors[:, 1:, :2])
    with pytest.raises(ValueError, match="regions"):
        Embeddings.concatenate([written, embeddings(2, seed=1)])


@pytest.mark.parametrize("regions", [0, 3])
def test_vectors_that_are_mapped_are_those_that_are_read(regions: int, tmp_path: Path) -> None:
    """Whatever order parts are in, and with images that none holds."""
    parts = [embeddings(count, seed=count) for count in (6, 0, 5)]
    if regions:
        parts = [with_regions(part, regions) for part in parts]
    whole = Embeddings.concatenate([parts[2], parts[0]])
    parts[0] = parts[0].take(np.array([4, 1, 2]))
    paths = [tmp_path / f"part-{number}.parquet" for number in range(3)]
    for path, part in zip(paths, parts, strict=True):
        write_shard(path, part, "float16")
    for given in (paths, paths[::-1]):
        found = read(given, whole)
        mapped = map_vectors(given, tmp_path / "images.parquet", tmp_path)
        assert tuple(mapped.ids.to_pylist()) == found.ids
        np.testing.assert_array_equal(mapped.landmark_ids, found.landmark_ids)
        np.testing.assert_array_equal(mapped.vectors, found.all_vectors)
        assert isinstance(mapped.vectors, np.memmap)
    some = [found.ids[row] for row in (7, 2, 5)]
    taken = read_embeddings(paths, tmp_path / "images.parquet", some)
    assert taken.ids == tuple(found.ids[row] for row in (2, 5, 7))
    np.testing.assert_array_equal(taken.all_vectors, found.all_vectors[[2, 5, 7]])
    assert read_embeddings(paths, tmp_path / "images.parquet", []).ids == ()
    with pytest.raises(FileNotFoundError, match=r"gone.*run `cairn embed`"):
        map_vectors([tmp_path / "gone.parquet"], tmp_path / "images.parquet", tmp_path)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"image_id": list(parts[2].ids)}), other)
    with pytest.raises(ValueError, match=r"no embedding shard .* run `cairn embed --redo`"):
        map_vectors([other], tmp_path / "images.parquet", tmp_path)
