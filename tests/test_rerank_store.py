"""Tests of stored features."""

import errno
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.errors import InputError, MissingFileError
from embed.sealed import SealedFile, write_sealed
from rerank.features import LocalFeatures
from rerank.places import PLACES
from rerank.store import FeatureStore, find_places
from tests.features import write_features_part

PRINT = "a" * 64


def _random(n: int, seed: int = 0, dtype: Any = np.uint8, dim: int = 16) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    return LocalFeatures(
        keypoints=rng.uniform(0, 99, (n, 2)).astype(np.float32),
        descriptors=rng.uniform(0, 255, (n, dim)).astype(dtype),
        scores=rng.random(n, np.float32),
        scales=rng.uniform(1, 9, n).astype(np.float32),
        image_size=(100 + seed, 80),
    )


def _assert_equal(found: LocalFeatures | None, expected: LocalFeatures) -> None:
    assert found is not None
    assert found.image_size == expected.image_size
    assert found.descriptors.dtype == expected.descriptors.dtype
    for name in ("keypoints", "descriptors", "scores", "scales"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("sizes", [[10], [4, 7, 1], [0, 3]])
def test_features_come_back_whatever_the_parts(
    tmp_path: Path, dtype: Any, sizes: list[int]
) -> None:
    expected: dict[str, LocalFeatures] = {}
    for part, size in enumerate(sizes):
        # Every third image has no features.
        records = {f"{part}-{row}": _random(row % 3 * 5, row, dtype=dtype) for row in range(size)}
        write_features_part(
            tmp_path / f"part-{part}.parquet", list(records), list(records.values()), PRINT
        )
        expected |= records
    store = FeatureStore(tmp_path, PRINT)
    assert len(store) == len(expected)
    for image_id, record in reversed(expected.items()):
        assert image_id in store
        _assert_equal(store.get(image_id), record)
    assert store.get("unknown") is None


def test_cache_keeps_the_latest_images_only(tmp_path: Path) -> None:
    write_features_part(
        tmp_path / "part-p.parquet", list("abc"), [_random(2, s) for s in range(3)], PRINT
    )
    store = FeatureStore(tmp_path, PRINT, cache_images=2)
    a, b = store.get("a"), store.get("b")
    assert store.get("a") is a
    store.get("c")  # b is the oldest now
    assert store.get("a") is a
    assert store.get("b") is not b


def test_same_features_give_the_same_bytes_and_no_temporary_file(tmp_path: Path) -> None:
    for name in ("x.parquet", "y.parquet", "y.parquet"):
        write_features_part(tmp_path / name, ["a", "b"], [_random(3), _random(4)], PRINT)
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.parquet", "y.parquet"]


def test_part_of_another_extractor_is_refused_with_the_remedy(tmp_path: Path) -> None:
    write_features_part(tmp_path / "part-p.parquet", ["a"], [_random(2)], "b" * 64)
    with pytest.raises(InputError, match=r"p\.parquet was made by extractor bbb.*") as caught:
        FeatureStore(tmp_path, PRINT)
    assert "go back to the settings it was made with, or extract features again" in str(
        caught.value
    )
    assert "delete" not in str(caught.value)  # it is whole


def test_foreign_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_id": ["a"]}), tmp_path / "part-p.parquet")
    with pytest.raises(ValueError, match=r"p\.parquet is damaged, or another program wrote it"):
        FeatureStore(tmp_path, PRINT)


@pytest.mark.parametrize("keep", [0, 3, 200, -10])
def test_truncated_part_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "part-p.parquet"
    write_features_part(path, ["a"], [_random(50)], PRINT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"p\.parquet is damaged: .*; delete it, and extract"):
        FeatureStore(tmp_path, PRINT)


def test_flipped_byte_of_a_descriptor_is_noticed(tmp_path: Path) -> None:
    path, record = tmp_path / "part-p.parquet", _random(50)
    write_features_part(path, ["a"], [record], PRINT)
    content = bytearray(path.read_bytes())
    content[content.index(record.descriptors.tobytes()) + 7] ^= 1
    path.write_bytes(content)
    store = FeatureStore(tmp_path, PRINT)
    with pytest.raises(ValueError, match=r"p\.parquet is damaged: .*; delete it, and extract"):
        store.get("a")


def test_a_sealed_file_of_other_things_is_refused(tmp_path: Path) -> None:
    write_sealed(pa.table({"image_id": ["a"]}), tmp_path / "part-p.parquet")
    with pytest.raises(InputError, match=r"p\.parquet is not a features part of format 2; move it"):
        FeatureStore(tmp_path, PRINT)


def test_a_flipped_bit_of_an_image_id_is_noticed_when_opening(tmp_path: Path) -> None:
    path = tmp_path / "part-p.parquet"
    write_features_part(path, ["first", "second"], [_random(2), _random(2)], PRINT)
    content = bytearray(path.read_bytes())
    content[content.index(b"second")] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"the sha256 of its image ids differs; delete it, and do this"
    ):
        FeatureStore(tmp_path, PRINT, remake="do this")


def test_only_the_parts_that_are_named_are_opened(tmp_path: Path) -> None:
    paths = [tmp_path / f"part-{name}.parquet" for name in "ab"]
    for path in paths:
        write_features_part(path, [path.stem], [_random(2)], PRINT)
    assert "part-b" in FeatureStore(tmp_path, PRINT)
    assert "part-b" not in FeatureStore(tmp_path, PRINT, parts=paths[:1])


def test_image_in_two_parts_is_refused(tmp_path: Path) -> None:
    for name in ("part-p0.parquet", "part-p1.parquet"):
        write_features_part(tmp_path / name, ["a"], [_random(2)], PRINT)
    expected = r"image 'a' is in both .*p0\.parquet and .*p1\.parquet; move one of the two"
    with pytest.raises(InputError, match=expected):
        FeatureStore(tmp_path, PRINT)


def test_wrong_input_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "part-p.parquet"
    with pytest.raises(ValueError, match="2 image ids for 1 features"):
        write_features_part(path, ["a", "b"], [_random(1)], PRINT)
    with pytest.raises(ValueError, match="not distinct"):
        write_features_part(path, ["a", "a"], [_random(1), _random(1)], PRINT)
    with pytest.raises(ValueError, match="dims"):
        write_features_part(path, ["a", "b"], [_random(1), _random(1, dim=8)], PRINT)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_and_cache_of_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="extract features first"):
        FeatureStore(tmp_path / "none", PRINT)
    with pytest.raises(ValueError, match="cache_images 0"):
        FeatureStore(tmp_path, PRINT, cache_images=0)
    assert len(FeatureStore(tmp_path, PRINT)) == 0


# Opens and reads more parts than files may be open, and says how many stay mapped into memory.
MANY = """
import resource, sys
from pathlib import Path
from rerank.store import OPEN_PARTS, FeatureStore
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
store = FeatureStore(Path(sys.argv[1]), "a" * 64)
for number in range(len(store)):
    assert store.get(str(number)).image_size == (100, 80)
mapped = Path("/proc/self/maps").read_text().count("part-")
print(len(store), mapped <= OPEN_PARTS, len(list(Path("/proc/self/fd").iterdir())) < 32)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_thousand_parts_need_few_files_and_little_memory(tmp_path: Path) -> None:
    for number in range(1200):
        path = tmp_path / f"part-{number:05d}.parquet"
        write_features_part(path, [str(number)], [_random(2)], PRINT)
    found = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "1200 True True\n", found.stderr


def test_two_threads_read_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = {name: _random(3, seed) for seed, name in enumerate("abcd")}
    for part in ("ab", "cd"):
        write_features_part(
            tmp_path / f"part-{part}.parquet", list(part), [records[i] for i in part], PRINT
        )
    store, together = FeatureStore(tmp_path, PRINT), threading.Barrier(2)
    read = SealedFile.read_group

    def wait(file: SealedFile, group: int, columns: Sequence[str]) -> pa.Table:
        together.wait(timeout=30)  # fails unless another thread is reading, too
        return read(file, group, columns)

    monkeypatch.setattr(SealedFile, "read_group", wait)
    with ThreadPoolExecutor(2) as pool:
        for pair in ("ab", "cd", "ac"):  # of one part; of another; what both have read already
            for image_id, found in zip(pair, pool.map(store.get, pair), strict=True):
                _assert_equal(found, records[image_id])


def test_many_threads_get_what_one_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerank.store.OPEN_PARTS", 2)
    records = {f"{part}{row}": _random(part + row, row) for part in range(5) for row in range(9)}
    for part in range(5):
        ids = [f"{part}{row}" for row in range(9)]
        write_features_part(
            tmp_path / f"part-{part}.parquet", ids, [records[i] for i in ids], PRINT
        )
    store = FeatureStore(tmp_path, PRINT, cache_images=3)
    asked = np.random.default_rng(0).choice(list(records), 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        for image_id, found in zip(asked, pool.map(store.get, asked), strict=True):
            _assert_equal(found, records[image_id])


def test_a_part_that_was_written_anew_is_not_read_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rerank.store.OPEN_PARTS", 1)
    for name in "ab":
        write_features_part(tmp_path / f"part-{name}.parquet", [name], [_random(2)], PRINT)
    store = FeatureStore(tmp_path, PRINT)
    write_features_part(tmp_path / "part-a.parquet", ["c", "a"], [_random(3), _random(2)], PRINT)
    with pytest.raises(InputError, match=r"part-a\.parquet was written anew since it was opened"):
        store.get("a")
    (tmp_path / "part-b.parquet").unlink()
    with pytest.raises(MissingFileError, match=r"part-b\.parquet is missing; extract features"):
        store.get("b")


def test_a_limit_of_the_system_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part-a.parquet"
    write_features_part(path, ["a"], [_random(2)], PRINT)

    def refuse(name: str) -> None:
        raise OSError(errno.EMFILE, f"Failed to open local file '{name}'")

    monkeypatch.setattr(pa, "memory_map", refuse)
    with pytest.raises(OSError, match="Failed to open") as caught:
        FeatureStore(tmp_path, PRINT)
    assert not isinstance(caught.value, InputError)
    assert (caught.value.errno, caught.value.filename) == (errno.EMFILE, str(path))


def test_places_that_were_written_open_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = {f"{part}{row}": _random(row, part) for part in range(4) for row in range(part)}
    for part in range(4):
        ids = [f"{part}{row}" for row in range(part)]
        write_features_part(
            tmp_path / f"part-{part}.parquet", ids, [records[i] for i in ids], PRINT
        )
    parts = sorted(tmp_path.glob("part-*"))
    find_places(parts, PRINT).save(tmp_path / PLACES, PRINT)
    opened: list[Path] = []
    opening = SealedFile.__init__

    def count(file: SealedFile, path: Path) -> None:
        opened.append(path)
        opening(file, path)

    monkeypatch.setattr(SealedFile, "__init__", count)
    store = FeatureStore(tmp_path, PRINT, places=tmp_path / PLACES)
    assert (len(store), opened) == (6, [])
    assert "20" in store and "40" not in store and not opened
    asked = ["32", "nothing", "10", "31", "20", "10"]
    for image_id, found in zip(asked, store.get_many(asked), strict=True):
        if image_id == "nothing":
            assert found is None
        else:
            _assert_equal(found, records[image_id])
    assert opened == parts[1:]  # each once, in the order of the files


def test_places_of_other_parts_are_noticed_when_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "part-0.parquet"
    write_features_part(path, ["a", "b"], [_random(2), _random(3)], PRINT)
    find_places([path], PRINT).save(tmp_path / PLACES, PRINT)
    write_features_part(path, ["b", "a"], [_random(3), _random(2)], PRINT)
    store = FeatureStore(tmp_path, PRINT, places=tmp_path / PLACES)
    with pytest.raises(InputError, match=r"part-0\.parquet was written anew since it was opened"):
        store.get("a")
    with pytest.raises(InputError, match=r"places\.arrow is of features by extractor aaaa"):
        FeatureStore(tmp_path, "b" * 64, places=tmp_path / PLACES)
    (tmp_path / PLACES).write_bytes((tmp_path / PLACES).read_bytes()[:100])
    with pytest.raises(InputError, match=r"places\.arrow is damaged .*; delete it, and do this"):
        FeatureStore(tmp_path, PRINT, places=tmp_path / PLACES, remake="do this")
    (tmp_path / PLACES).unlink()
    with pytest.raises(MissingFileError, match=r"places\.arrow is missing; extract features"):
        FeatureStore(tmp_path, PRINT, places=tmp_path / PLACES)
