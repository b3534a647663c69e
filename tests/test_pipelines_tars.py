"""Images are read out of tars as tarfile would unpack them, and damage is told, not guessed at."""

import gzip
import io
import logging
import os
import pickle
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.decode import decode_image
from embed.image_file import FileSlice, read_image_file
from pipelines.datasets.tars import build as tar_build
from pipelines.datasets.tars.build import build_tar_index
from pipelines.datasets.tars.index import TarIndex
from pipelines.datasets.tars.scan import TarMembers, find_tars, scan_tar
from tests.images import encode, photo


def write_tar(
    path: Path, files: Mapping[str, bytes] | Sequence[tuple[str, bytes]], format: int = 1
) -> Path:
    """Write a tar of named contents, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = list(files.items()) if isinstance(files, Mapping) else files
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in items:
            add(tar, name, content)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **attributes: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def build(images: Path) -> TarIndex:
    build_tar_index(images)
    return TarIndex.load(images / "tars.parquet")


def content(place: FileSlice | None) -> bytes:
    assert place is not None
    return read_image_file(place, 1 << 20)


def test_an_image_in_a_tar_gives_the_pixels_of_its_file(tmp_path: Path) -> None:
    data = encode(photo(40, 56), "JPEG")
    (tmp_path / "abc0.jpg").write_bytes(data)
    write_tar(
        tmp_path / "images/train/images_000.tar", {"0/a/b/x.jpg": b"x", "a/b/c/abc0.jpg": data}
    )
    place = build(tmp_path / "images").locate("abc0")
    assert place is not None
    pixels = decode_image(place).pixels
    np.testing.assert_array_equal(pixels, decode_image(tmp_path / "abc0.jpg").pixels)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_slices_are_what_tarfile_extracts(tmp_path: Path, format: int) -> None:
    names = ["short.jpg", "a/b/c/nested.JPEG", "d" * 90 + "/" + "n" * 80 + ".png"]
    if format != tarfile.USTAR_FORMAT:
        names += ["é" * 150 + ".webp", "x/" * 120 + "deep.jpg"]  # longer than a header has room for
    files = {name: name.encode() * 50 for name in names}
    tar = write_tar(tmp_path / "t.tar", files, format)
    index = build(tmp_path)
    with tarfile.open(tar) as reader:
        for name in names:
            extracted = reader.extractfile(name)
            assert extracted is not None
            assert content(index.locate(Path(name).stem)) == extracted.read()
    assert len(index) == len(names)


@given(ids=st.lists(st.text("abé-0 .", min_size=1, max_size=6).filter(lambda i: i[0] != ".")))
@settings(max_examples=25)
def test_ids_are_found_as_in_a_dictionary(
    ids: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tars")
    files = [
        (f"{image_id}.jpg", f"{image_id} {place}".encode()) for place, image_id in enumerate(ids)
    ]
    write_tar(folder / "b.tar", files[::2])
    write_tar(folder / "a.tar", files[1::2])
    first: dict[str, bytes] = {}
    for name, data in files[1::2] + files[::2]:
        first.setdefault(name[:-4], data)
    index = build(folder)
    asked = [*ids, "absent", "", "zz"]
    places = index.locate_all(asked)
    for image_id, place in zip(asked, places, strict=True):
        assert index.locate(image_id) == place
        assert (place and content(place)) == first.get(image_id)
    assert index.ids.to_pylist() == sorted(ids)


def test_places_are_small_when_they_go_to_a_worker(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", {f"{number:04d}.jpg": b"x" for number in range(2000)})
    index = build(tmp_path)
    places = index.locate_all(index.ids)
    data = pickle.dumps(places)
    assert len(data) < 25 * len(places)
    assert list(pickle.loads(data)[5:7]) == [index.locate("0005"), index.locate("0006")]
    assert [places[-1], len(places[::2])] == [index.locate("1999"), 1000]
    with pytest.raises(IndexError):
        places[2000]


def test_a_cut_tar_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    files = {"one.jpg": b"1" * 700, "e.jpg": b"", "n" * 120 + ".jpg": b"2" * 512}
    whole = write_tar(tmp_path / "whole.tar", files, tarfile.GNU_FORMAT).read_bytes()
    expected = scan_tar(tmp_path / "whole.tar")
    end = len(whole.rstrip(b"\0"))  # within the last content
    cut = tmp_path / "cut.tar"
    for length in [*range(1, end, 173), end, *range(512, end, 512)]:
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is no whole tar"):
            scan_tar(cut)
    cut.write_bytes(whole[: -(-end // 512) * 512 + 512])  # one empty block ends it well enough
    assert scan_tar(cut).ids == expected.ids


def damage_header(data: bytearray) -> None:
    data[1024 + 148] ^= 0x55  # checksum of the second member


def make_size_negative(data: bytearray) -> None:
    header = data[1024:1536]
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # base 256: -1024
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[1024:1536] = header


@pytest.mark.parametrize("damage", [damage_header, make_size_negative])
def test_a_damaged_header_is_not_taken_for_the_end(
    tmp_path: Path, damage: Callable[[bytearray], None]
) -> None:
    tar = write_tar(tmp_path / "t.tar", {"a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c"})
    data = bytearray(tar.read_bytes())
    damage(data)
    tar.write_bytes(data)
    with pytest.raises(ValueError, match="is no whole tar"):
        scan_tar(tar)


@pytest.mark.parametrize("junk", [b"", b"no tar at all", bytes(100), bytes(range(256)) * 20])
def test_what_is_no_tar_is_refused(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "t.tar").write_bytes(junk)
    with pytest.raises(ValueError, match="is no whole tar"):
        scan_tar(tmp_path / "t.tar")


def test_a_compressed_tar_is_refused_with_the_command_that_helps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tar = write_tar(tmp_path / "plain.tar", {"a.jpg": b"a"})
    (tmp_path / "z.tar.gz").write_bytes(gzip.compress(tar.read_bytes()))
    (tmp_path / "named-wrongly.tar").write_bytes(gzip.compress(tar.read_bytes()))
    report = build_tar_index(tmp_path)
    assert set(report.damaged) == {"z.tar.gz", "named-wrongly.tar"}
    assert "gzip -d z.tar.gz" in report.damaged["z.tar.gz"]
    assert "left out all images of z.tar.gz: it is compressed" in caplog.text
    assert TarIndex.load(tmp_path / "tars.parquet").ids.to_pylist() == ["a"]


def test_only_regular_images_count_and_the_rest_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        add(tar, "0/", type=tarfile.DIRTYPE)
        add(tar, "0/good.jpg", b"good")
        add(tar, "sym.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "hard.jpg", type=tarfile.LNKTYPE, linkname="0/good.jpg")
        add(tar, "pipe.jpg", type=tarfile.FIFOTYPE)
        add(tar, "readme.txt", b"text")
        add(tar, "._good.jpg", b"of a Mac")
        add(tar, ".jpg", b"no name")
        add(tar, "new\nline.jpg", b"n")
        add(tar, "bad\udcff.jpg", b"no UTF-8")
        add(tar, "back\\slash.jpg", b"b")
    report = build_tar_index(tmp_path)
    assert report.images == 1
    assert report.ignored == {"links": 2, "other files": 4, "files with unusable names": 3}
    assert "2 links" in caplog.text


def test_a_sparse_member_is_left_out(tmp_path: Path) -> None:
    tar = tmp_path / "t.tar"
    write_tar(tar, {"s.jpg": b"data", "after.jpg": b"after"}, tarfile.GNU_FORMAT)
    data = bytearray(tar.read_bytes())
    header = data[:512]
    header[156:157] = b"S"  # old GNU format: one run of 4 bytes from 0, real size 1000
    header[257:265] = b"ustar  \0"
    header[386:410] = b"%011o\0%011o\0" % (0, 4)
    header[483:495] = b"%011o\0" % 1000
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[:512] = header
    tar.write_bytes(data)
    members = scan_tar(tar)
    assert members.ids == ("after",)
    assert members.ignored == {"sparse files": 1}


def test_hostile_names_are_ids_and_nothing_else(tmp_path: Path) -> None:
    names = ["../../up.jpg", "/etc/absolute.jpg", "a/../b/dots.jpg", "c:/drive.jpg"]
    write_tar(tmp_path / "images/t.tar", {name: name.encode() for name in names})
    index = build(tmp_path / "images")
    assert index.ids.to_pylist() == ["absolute", "dots", "drive", "up"]
    assert content(index.locate("up")) == b"../../up.jpg"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["images", "t.tar", "tars.parquet"]


def test_the_first_of_two_images_of_an_id_is_used_also_after_a_rebuild(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tar(tmp_path / "a.tar", {"x.jpg": b"of a"})
    write_tar(tmp_path / "b.tar", {"x.jpg": b"of b", "x.png": b"png of b"})
    assert build_tar_index(tmp_path).repeated == 2
    assert "2 images repeat the id" in caplog.text
    assert content(TarIndex.load(tmp_path / "tars.parquet").locate("x")) == b"of a"
    (tmp_path / "a.tar").unlink()
    index = build(tmp_path)
    assert content(index.locate("x")) == b"of b"
    assert index.locate_all(["x"])[0] == index.locate("x")


def test_only_new_and_changed_tars_are_read_again(tmp_path: Path) -> None:
    write_tar(tmp_path / "train/a.tar", {"a.jpg": b"a"})
    write_tar(tmp_path / "train/b.tar", {"b.jpg": b"b"})
    assert build_tar_index(tmp_path).scanned == 2
    assert build_tar_index(tmp_path).scanned == 0
    write_tar(tmp_path / "train/b.tar", {"b2.jpg": b"b2", "b3.jpg": b"b3"})
    os.utime(tmp_path / "train/b.tar", ns=(0, 0))
    write_tar(tmp_path / "test/c.tar", {"c.jpg": b"c"})
    report = build_tar_index(tmp_path)
    assert (report.scanned, report.images, report.tars) == (2, 4, 3)
    step_by_step = (tmp_path / "tars.parquet").read_bytes()
    (tmp_path / "tars.parquet").unlink()
    build_tar_index(tmp_path)
    assert (tmp_path / "tars.parquet").read_bytes() == step_by_step


def test_a_tar_that_has_changed_or_is_gone_is_not_read_by_old_offsets(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "images/a.tar", {"a.jpg": b"a"})
    index = tmp_path / "images/tars.parquet"
    build_tar_index(tmp_path / "images")
    os.utime(tar, ns=(5, 5))
    with pytest.raises(ValueError, match=r"a\.tar has changed since .* build it again"):
        TarIndex.load(index)
    tar.unlink()
    with pytest.raises(ValueError, match=r"a\.tar cannot be read \(no such file"):
        TarIndex.load(index)
    assert build_tar_index(tmp_path / "images").images == 0
    assert not index.exists()


def test_an_interrupted_build_goes_on_after_its_last_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write_tar(tmp_path / f"{number}.tar", {f"{number}.jpg": b"x"})
    monkeypatch.setattr(tar_build, "BATCH", 2)

    def interrupt(path: Path) -> TarMembers:
        if path.name == "3.tar":
            raise KeyboardInterrupt
        return scan_tar(path)

    with monkeypatch.context() as patch:
        patch.setattr(tar_build, "scan_tar", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_tar_index(tmp_path)
    report = build_tar_index(tmp_path)
    assert (report.scanned, report.images) == (3, 5)


def test_a_tar_without_images_may_go_and_a_link_may_lead_nowhere(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"a.jpg": b"a"})
    write_tar(tmp_path / "empty.tar", {})
    build_tar_index(tmp_path)
    (tmp_path / "empty.tar").unlink()
    (tmp_path / "z.tar").symlink_to(tmp_path / "gone.tar")
    assert build_tar_index(tmp_path).damaged == {
        "z.tar": "cannot be read: No such file or directory"
    }
    assert TarIndex.load(tmp_path / "tars.parquet").locate("a") is not None


def test_a_damaged_index_is_refused_by_readers_and_replaced_by_a_build(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"a.jpg": b"a"})
    index = tmp_path / "tars.parquet"
    for damage in (b"", b"PAR1 no parquet", None):
        if damage is None:
            pq.write_table(pa.table({"id": ["a"]}), index)
        else:
            index.write_bytes(damage)
        with pytest.raises(ValueError, match="is no index of tars"):
            TarIndex.load(index)
        assert build_tar_index(tmp_path).images == 1
        assert TarIndex.load(index).locate("a") is not None
    with pytest.raises(FileNotFoundError):
        TarIndex.load(tmp_path / "none.parquet")


def test_a_tar_without_images_is_an_empty_index(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {})
    index = build(tmp_path)
    assert len(index) == 0 and index.locate("a") is None
    assert list(index.locate_all(["a", "b"])) == [None, None]
    assert list(index.locate_all([])) == []
    assert build_tar_index(tmp_path).scanned == 0


def test_tars_are_found_through_links_but_not_among_unpacked_images(tmp_path: Path) -> None:
    write_tar(tmp_path / "mirror/train/b.tar", {"b.jpg": b"b"})
    write_tar(tmp_path / "images/a.tar", {})
    write_tar(tmp_path / "images/0/1/2/c.tar", {})
    write_tar(tmp_path / "images/.hidden.tar", {})
    (tmp_path / "images/train").symlink_to(tmp_path / "mirror/train")
    (tmp_path / "images/round").symlink_to(tmp_path / "images")
    assert find_tars(tmp_path / "images") == ["a.tar", "train/b.tar"]


def test_a_build_without_tars_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert build_tar_index(tmp_path).tars == 0
    assert not caplog.text
