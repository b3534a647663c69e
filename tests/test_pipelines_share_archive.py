"""Archives of runs: what is written comes out again, and what no `cairn pack` wrote is refused."""

import hashlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import InputError, MissingFileError
from pipelines.artifacts import sign
from pipelines.runs.packed import FORMAT, LISTING
from pipelines.share.archive import Archive, writing_archive
from pipelines.share.names import check_names

FILES = {
    "run.json": b"{}\n",
    "index/vectors.npy": bytes(range(256)) * 40,
    "dataset/images/caf\u00e9.jpg": b"",
}
Entry = tuple[str | zipfile.ZipInfo, bytes]


def write(path: Path, files: Mapping[str, bytes] = FILES) -> Path:
    with writing_archive(path, {"runs": 3}) as writer:
        for name, content in files.items():
            writer.add_bytes(name, content)
    return path


def unpack(path: Path, folder: Path) -> dict[str, bytes]:
    """Return what comes out of an archive, besides the listing."""
    folder.mkdir()
    with Archive.open(path) as archive:
        archive.extract(folder, lambda count: None)
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != LISTING
    }


def make_entry(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def forge(path: Path, entries: list[Entry], **listed: Any) -> Path:
    """Write a ZIP by hand, with a listing that is signed as those of `cairn pack` are."""
    names = [(each if isinstance(each, str) else each.filename, data) for each, data in entries]
    values = {"format": FORMAT, "runs": 3, "files": [make_entry(*each) for each in names], **listed}
    with zipfile.ZipFile(path, "w") as file:
        for each, data in entries:
            file.writestr(each, data)
        file.writestr(LISTING, sign(values))
    return path


def test_what_was_packed_comes_out_and_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "run.zip")
    assert unpack(path, tmp_path / "out") == FILES
    assert write(tmp_path / "again.zip").read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}


def test_an_archive_is_whole_or_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "run.zip")
    before = path.read_bytes()
    with pytest.raises(InputError, match="leads out"):
        write(path, {"../run.json": b""})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.zip"]


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def device(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
    return info


def packed(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("../out.json", b"")], "leads out of the folder"),
        ([("a/../../out.json", b"")], "leads out of the folder"),
        ([("/etc/out.json", b"")], "leads out of the folder"),
        ([("C:/out.json", b"")], "a character that some systems give a meaning"),
        ([("a\\b.json", b"")], "a character that some systems give a meaning"),
        ([("a//b.json", b"")], "an empty part"),
        ([("./a.json", b"")], "an empty part"),
        ([("a /b.json", b"")], "a character that some systems give a meaning"),
        ([("model/checkpoint-1.pt", b"")], "is of no kind that a run has"),
        ([("model/model.pkl", b"")], "is of no kind that a run has"),
        ([("sitecustomize.py", b"")], "is of no kind that a run has"),
        ([(".json", b"")], "is of no kind that a run has"),
        ([(f"{'x' * 256}.json", b"")], "a part of more than 255 bytes"),
        ([("a.json", b""), ("A.json", b"")], "two files have the name"),
        ([("caf\u00e9.json", b""), ("cafe\u0301.json", b"")], "two files have the name"),
        ([("a/x.json", b""), ("A/y.json", b"")], "two folders have the name"),
        ([("a.json", b""), ("a.json/b.json", b"")], "is a file, and a folder"),
        ([(link("run.json"), b"/etc/passwd")], "is no plain file"),
        ([(device("run.json"), b"")], "is no plain file"),
        ([("folder/", b"")], "is no plain file"),
        ([(packed("run.json"), bytes(10**6))], "compressed or encrypted"),
    ],
)
def test_what_no_pack_wrote_is_refused_before_anything_is_written(
    entries: list[Entry], said: str, tmp_path: Path
) -> None:
    path = forge(tmp_path / "run.zip", entries)
    with pytest.raises(InputError, match=said):
        unpack(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [make_entry("a.json", b"1")]
    path = forge(tmp_path / "run.zip", [("a.json", b"1"), ("a.json", b"2")], files=files)
    with pytest.raises(InputError, match=r"has two files 'a\.json'"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "is not there, or not as long"),
        ([make_entry("run.json", b"12")], "is not there, or not as long"),
        ([make_entry("run.json", b"1"), make_entry("b.json", b"")], "is not there, or not as long"),
        ([make_entry("run.json", b"2")], r"run\.json is not as it was packed"),
        (None, "does not list its files"),
        ([{"name": "run.json"}], "does not list its files"),
        ([{"name": 1, "bytes": 1, "sha256": ""}], "does not list its files"),
        ([{"name": "run.json", "bytes": True, "sha256": ""}], "does not list its files"),
    ],
)
def test_members_are_those_of_the_listing(files: Any, said: str, tmp_path: Path) -> None:
    path = forge(tmp_path / "run.zip", [("run.json", b"1")], files=files)
    with pytest.raises(InputError, match=said):
        unpack(path, tmp_path / "out")


def test_a_newer_format_is_told_in_one_line(tmp_path: Path) -> None:
    path = forge(tmp_path / "run.zip", [], format=FORMAT + 1, files={"of another": "kind"})
    with pytest.raises(InputError) as refused:
        unpack(path, tmp_path / "out")
    assert str(refused.value) == (
        f"{path} was packed by a newer version of Cairn (format {FORMAT + 1}, this one reads "
        f"{FORMAT}); update Cairn"
    )


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip" * 100, b"PK\5\6" + bytes(18)])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no packed run"):
        unpack(path, tmp_path / "out")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")


def test_a_listing_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "run.zip")
    content = bytearray(path.read_bytes())
    content[-10:-6] = struct.pack("<L", (64 << 20) + 1)  # bytes of the central directory
    path.write_bytes(content)
    with pytest.raises(InputError, match="its listing has 67,108,865 bytes"):
        unpack(path, tmp_path / "out")


def test_members_that_overlap_do_not_unpack_into_more_than_the_archive(tmp_path: Path) -> None:
    """Fifield's bomb: many names in the listing of the ZIP for the same bytes."""
    data, names = bytes(1 << 20), [f"{number}.json" for number in range(8)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(names[0], data)
        first = file.infolist()[0]
        for name in names[1:]:
            info = zipfile.ZipInfo(name)
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = len(data)
            file.filelist.append(info)
            file.NameToInfo[name] = info
        values = {"format": FORMAT, "files": [make_entry(name, data) for name in names]}
        file.writestr(LISTING, sign(values))
    path = tmp_path / "run.zip"
    path.write_bytes(stream.getvalue())
    with pytest.raises(InputError, match="its files are larger than itself"):
        unpack(path, tmp_path / "out")


def flip(content: bytearray, random: np.random.Generator) -> None:
    content[random.integers(len(content))] ^= 1 << random.integers(8)


def cut(content: bytearray, random: np.random.Generator) -> None:
    del content[random.integers(len(content)) :]


def swap(content: bytearray, random: np.random.Generator) -> None:
    place = random.integers(len(content))
    content[place : place + 16] = random.bytes(16)


def insert(content: bytearray, random: np.random.Generator) -> None:
    content[(place := random.integers(len(content))) : place] = random.bytes(3)


@pytest.mark.parametrize("damage", [flip, cut, swap, insert])
def test_damage_is_refused_or_changes_no_file(
    damage: Callable[[bytearray, np.random.Generator], None], tmp_path: Path
) -> None:
    whole, refused = write(tmp_path / "run.zip").read_bytes(), 0
    path = tmp_path / "damaged.zip"
    for seed in range(100):
        content = bytearray(whole)
        damage(content, np.random.default_rng(seed))
        path.write_bytes(content)
        try:
            found = unpack(path, tmp_path / f"out{seed}")
        except InputError:
            refused += 1
        else:  # a time, say, or a mode: what is unpacked has none
            assert found == FILES
    assert refused > 80


@given(st.lists(st.text(st.characters(exclude_characters="/"), max_size=8), max_size=4))
def test_any_name_that_is_accepted_stays_in_its_folder(parts: list[str]) -> None:
    name = "/".join([*parts, "x.json"])
    try:
        check_names([name])
    except InputError:
        return
    assert (Path("/run") / name).resolve().is_relative_to("/run")
    assert "\\" not in name and ":" not in name and "\0" not in name
    name.encode()
