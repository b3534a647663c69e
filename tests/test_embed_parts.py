"""Parts: what is written comes back by image, and nothing else passes for a part."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed.parts import Part, join_rows, write_part

FAILURES = {"ü": ("corrupt", 'a "quoted"\nmessage, naïve'), "y": ("missing", "")}


def rows(ids: str, **metadata: str) -> pa.Table:
    columns = {"image_id": pa.array(ids, pa.string()), "n": pa.array(map(ord, ids), pa.int64())}
    return pa.table(columns).replace_schema_metadata(metadata)


@pytest.mark.parametrize("ids", ["", "a", "dbca"])
def test_a_part_comes_back_as_it_was(ids: str, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_part(path, rows(ids, of="mine"), FAILURES, "k", group_rows=2)
    part = Part.find(path, "k")
    assert part is not None
    assert (part.ids, part.failures) == (tuple(ids), FAILURES)
    assert part.images == (*ids, "ü", "y")
    found, failures = part.take(part.images)
    assert found.equals(rows(ids)) and failures == FAILURES
    assert found.schema.metadata[b"of"] == b"mine"


def test_some_images_of_a_part_keep_their_rows_and_failures(tmp_path: Path) -> None:
    write_part(tmp_path / "a", rows("dbca"), FAILURES, "k")
    part = Part.find(tmp_path / "a", "k")
    assert part is not None
    found, failures = part.take(["a", "y", "b"])
    assert found.equals(rows("ba")) and failures == {"y": FAILURES["y"]}
    assert part.take([])[0].equals(rows(""))


def test_the_same_rows_give_the_same_bytes_even_written_again(tmp_path: Path) -> None:
    for name in "ab":
        write_part(tmp_path / name, rows("dbca"), FAILURES, "k")
    part = Part.find(tmp_path / "a", "k")
    assert part is not None
    write_part(tmp_path / "c", *part.take(part.images), "k")
    first, *others = ((tmp_path / name).read_bytes() for name in "abc")
    assert others == [first, first]


def test_rows_of_no_readable_image_lack_columns_and_join(tmp_path: Path) -> None:
    unread = rows("").drop_columns("n")
    assert join_rows([unread, rows("ab", of="mine"), unread, rows("c")]).equals(rows("abc"))
    assert join_rows([unread, rows("a", of="mine")]).schema.metadata == {b"of": b"mine"}
    assert join_rows([unread]).equals(unread)


def test_an_image_twice_is_refused(tmp_path: Path) -> None:
    for ids, failures in (("aba", {}), ("ay", FAILURES)):
        with pytest.raises(ValueError, match="are not distinct"):
            write_part(tmp_path / "a", rows(ids), failures, "k")


def test_a_part_of_another_key_does_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_part(tmp_path / "a", rows("ab"), {}, "old")
    assert Part.find(tmp_path / "a", "old") is not None
    assert Part.find(tmp_path / "a", "new") is None
    assert Part.find(tmp_path / "gone", "old") is None
    assert not caplog.records


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.floats(0, 1, exclude_max=True))
def test_a_half_written_part_does_not_count(tmp_path: Path, share: float) -> None:
    path, whole = tmp_path / "cut.parquet", tmp_path / "whole.parquet"
    write_part(whole, rows("abcdefghi"), FAILURES, "k")
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert Part.find(path, "k") is None


GARBAGE = {
    "empty": b"",
    "text": b"garbage",
    "zeros": bytes(500),
    "bad footer": b"PAR1" + b"\x15" * 40 + b"\x20\0\0\0PAR1",
}


@pytest.mark.parametrize("kind", [*GARBAGE, "foreign"])
def test_garbage_does_not_count_and_is_logged(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "part.parquet"
    if kind == "foreign":
        pq.write_table(rows("ab", key="k"), path)
    else:
        path.write_bytes(GARBAGE[kind])
    with caplog.at_level(logging.WARNING):
        assert Part.find(path, "k") is None
    assert "is damaged" in caplog.text and "it is made again" in caplog.text
