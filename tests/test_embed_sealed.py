"""Sealed Parquet files: whatever is changed is noticed, and each group is checked alone."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.sealed import BrokenSealError, SealedFile, read_seal, write_sealed

TABLE = pa.table({"id": ["a", "b", "c", "d", "e"], "n": [1, 2, 3, 4, 5]}).replace_schema_metadata(
    {"key": "k"}
)


def test_a_sealed_file_is_a_parquet_file_and_reads_group_by_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_sealed(TABLE, path, group_rows=2)
    assert pq.read_table(path).equals(TABLE)
    file = SealedFile(path)
    file.check()
    assert (file.groups, file.group_rows, file.metadata[b"key"]) == (3, 2, b"k")
    assert file.read_group(1, ["n"])["n"].to_pylist() == [3, 4]
    assert file.read_unchecked(["id"])["id"].to_pylist() == list("abcde")
    assert file.seal == read_seal(path)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_same_table_gives_the_same_bytes_and_another_another_seal(
    rows: int, tmp_path: Path
) -> None:
    for name in "ab":
        write_sealed(TABLE[:rows], tmp_path / name, group_rows=2)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    write_sealed(TABLE[:rows].append_column("m", pa.array(range(rows))), tmp_path / "c")
    assert read_seal(tmp_path / "a") != read_seal(tmp_path / "c")
    SealedFile(tmp_path / "a").check()


def test_no_bit_flips_unseen_and_no_byte_is_lost_or_added_unseen(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_sealed(TABLE, path, group_rows=4)
    content = path.read_bytes()
    changed = [content[:size] for size in range(len(content))] + [content + b"x"]
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        changed.append(bytes(flipped))
    for each in changed:
        path.write_bytes(each)
        with pytest.raises(BrokenSealError, match=r"a\.parquet is damaged"):
            SealedFile(path).check()


def test_damage_to_one_group_leaves_the_others_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_sealed(TABLE, path, group_rows=2)
    content = bytearray(path.read_bytes())
    content[6] ^= 1  # a page header of the first group: no checksum of Parquet's own covers it
    path.write_bytes(content)
    file = SealedFile(path)
    assert file.read_group(2, ["id"])["id"].to_pylist() == ["e"]
    with pytest.raises(BrokenSealError, match="the checksum of row group 1 of 3 differs"):
        file.read_group(0, ["id"])


def test_a_file_of_another_program_has_no_seal(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    with pytest.raises(BrokenSealError, match="it has no seal"):
        SealedFile(tmp_path / "a.parquet")
    with pytest.raises(FileNotFoundError):
        SealedFile(tmp_path / "b.parquet")
