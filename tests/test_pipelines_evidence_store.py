"""Stored evidence: what was written comes back, and a file that is no evidence is refused."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classify_head.evidence import Evidence
from classify_head.evidence_store import read_evidence, write_evidence
from tests.conftest import Tiny
from tests.datasets import QUERIES
from tests.small_evidence import query, random_evidence, stack

NO_POOL = replace(
    random_evidence(2),
    query_pool=np.empty((6, 0), dtype=np.float32),
    neighbor_pool=np.empty((6, 8, 0), dtype=np.float32),
)
NO_HEAD = replace(
    random_evidence(3),
    head_labels=np.empty((6, 0), dtype=np.int64),
    head_scores=np.empty((6, 0), dtype=np.float32),
)
NO_LANDMARK_HEAD = replace(random_evidence(5), landmark=np.full(6, np.nan, dtype=np.float32))
RECORDS = {
    "all there is": random_evidence(0),
    "one query": random_evidence(1).take(slice(0, 1)),
    "no query": random_evidence(1).take(slice(0, 0)),
    "no pool": NO_POOL,
    "no pool and no query": NO_POOL.take(slice(0, 0)),
    "no head": NO_HEAD,
    "no landmark head": NO_LANDMARK_HEAD,
    "no neighbours": query([], []),
    "padding alone": query([], [], padding=3),
    "odd ids": stack(query([1], [0.5]), query([2], [0.25])),
}


def assert_same(found: Evidence, expected: Evidence) -> None:
    assert found.query_ids == expected.query_ids
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_written_comes_back(name: str, tmp_path: Path) -> None:
    ids = tuple(f"Köln, 写真 [{row}]" for row in range(len(RECORDS[name])))
    record = replace(RECORDS[name], query_ids=ids)
    path = tmp_path / "evidence.parquet"
    write_evidence(record, path)
    assert_same(read_evidence(path), record)


def test_the_same_evidence_is_the_same_bytes(tmp_path: Path) -> None:
    hashes = set()
    for name in ("a", "b"):
        write_evidence(random_evidence(4), tmp_path / name)
        hashes.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_a_file_of_before_the_landmark_head_knows_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "evidence.parquet"
    write_evidence(random_evidence(5), path)
    pq.write_table(pq.read_table(path).drop_columns(["landmark"]), path)
    assert_same(read_evidence(path), NO_LANDMARK_HEAD)


def test_a_submission_keeps_the_evidence_of_all_its_queries(finished: Tiny) -> None:
    evidence = read_evidence(finished.run / "evidence.parquet")
    assert evidence.query_ids == QUERIES
    table = pq.read_table(finished.run / "verified.parquet")
    assert (evidence.inliers >= 0).sum() == table.num_rows
    assert evidence.inliers[evidence.inliers >= 0].tolist() == table["inliers"].to_pylist()


def test_a_file_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no evidence at .*: cairn submit --redo --run /"):
        read_evidence(tmp_path / "evidence.parquet")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def spoil_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4:1000] = bytes(996)
    path.write_bytes(data)


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)


def write_other_table(path: Path) -> None:
    pq.write_table(pa.table({"query_id": ["q"], "landmark_id": [1]}), path)


def drop_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["inliers"]), path)


def add_column(path: Path) -> None:
    table = pq.read_table(path)
    notes = {**table.schema.metadata, b"shape of more": b"8"}
    more = table.append_column("more", table["inliers"])
    pq.write_table(more.replace_schema_metadata(notes), path)


def shrink_shape(path: Path) -> None:
    table = pq.read_table(path)
    notes = {**table.schema.metadata, b"shape of inliers": b"7"}
    pq.write_table(table.replace_schema_metadata(notes), path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"nothing"),
        shorten,
        spoil_pages,
        flip_one_bit,
        write_other_table,
        drop_column,
        add_column,
        shrink_shape,
    ],
)
def test_a_damaged_file_says_what_to_do(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "evidence.parquet"
    write_evidence(random_evidence(0), path)
    damage(path)
    with pytest.raises(
        ValueError, match=r"(?s)evidence\.parquet is no evidence .*submit --redo --run /"
    ):
        read_evidence(path)
