"""Large files are fetched once, go on where they were cut, and are what their md5 says."""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from embed.errors import InputError
from pipelines.sources.gldv2.catalog import RemoteFile, tar_file
from pipelines.sources.gldv2.fetch import Mirror, fetch_files, find_missing
from pipelines.sources.gldv2.transfer import Patience
from tests.gldv2_mirror import Server, serving

QUICK = Patience(attempts=3, first_wait=0.001, silence=5)
TAR = tar_file("train", 0)
BIG = bytes(range(256)) * 12_000  # 3 MB, more than a chunk
TABLE = RemoteFile("metadata/train_clean.csv")


@pytest.fixture
def server() -> Iterator[Server]:
    files = {TAR.path: BIG, TABLE.path: b"landmark_id,images\n"}
    files[str(TAR.md5_path)] = f"{hashlib.md5(BIG).hexdigest()}  images_000.tar\n".encode()
    with serving(files) as server:
        yield server


def fetch(server: Server, folder: Path, *files: RemoteFile) -> None:
    fetch_files(Mirror(folder, server.base + "/", patience=QUICK), files or [TAR])


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_there_and_verified_is_neither_fetched_nor_hashed_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(server, tmp_path, TAR, TABLE)
    assert (tmp_path / TAR.path).read_bytes() == BIG
    assert names(tmp_path) == {TAR.path, TABLE.path, "fetched.json", ".lock"}
    asked = len(server.asked)
    monkeypatch.setattr("pipelines.sources.gldv2.fetch.hash_md5", pytest.fail)
    fetch(server, tmp_path, TAR, TABLE)
    assert len(server.asked) == asked
    assert find_missing(tmp_path, [TAR, tar_file("train", 1)]) == [tar_file("train", 1)]


def test_a_cut_transfer_goes_on_with_the_bytes_that_are_not_there(
    server: Server, tmp_path: Path
) -> None:
    server.cuts[TAR.path] = [1_500_000, 700_000]
    fetch(server, tmp_path)
    assert (tmp_path / TAR.path).read_bytes() == BIG
    assert server.sent[TAR.path] == len(BIG)
    assert server.count("GET", TAR.path) == 3


def test_an_interrupted_fetch_goes_on_in_the_next_run(server: Server, tmp_path: Path) -> None:
    server.cuts[TAR.path] = [2_000_000, 0, 0, 0]
    with pytest.raises(InputError, match="3 times in a row; check the connection"):
        fetch(server, tmp_path)
    assert (tmp_path / f"{TAR.path}.part").stat().st_size == 2_000_000
    assert not (tmp_path / TAR.path).exists()
    server.cuts.clear()
    fetch(server, tmp_path)
    assert server.sent[TAR.path] == len(BIG)


def test_a_fetch_interrupted_after_the_last_byte_fetches_none(
    server: Server, tmp_path: Path
) -> None:
    server.cuts[TAR.path] = [2_000_000, 0, 0, 0]
    with pytest.raises(InputError):
        fetch(server, tmp_path)
    with (tmp_path / f"{TAR.path}.part").open("ab") as file:
        file.write(BIG[2_000_000:])
    server.cuts.clear()
    fetch(server, tmp_path)
    assert server.sent[TAR.path] == 2_000_000
    assert (tmp_path / TAR.path).read_bytes() == BIG


@pytest.mark.parametrize("fault", ["ranges", "versions"])
def test_without_ranges_or_versions_a_file_starts_again(
    server: Server, tmp_path: Path, fault: str
) -> None:
    setattr(server, fault, False)
    server.cuts[TAR.path] = [1_000_000]
    fetch(server, tmp_path)
    assert (tmp_path / TAR.path).read_bytes() == BIG
    assert server.sent[TAR.path] == 1_000_000 + len(BIG)


def test_a_server_that_always_cuts_and_starts_again_is_given_up(
    server: Server, tmp_path: Path
) -> None:
    server.ranges = False
    server.cuts[TAR.path] = [900_000, 800_000, 700_000, 600_000]
    with pytest.raises(InputError, match="3 times in a row"):
        fetch(server, tmp_path)


def test_the_rest_of_another_version_is_not_joined(server: Server, tmp_path: Path) -> None:
    server.cuts[TABLE.path] = [9, 0, 0, 0]
    with pytest.raises(InputError):
        fetch(server, tmp_path, TABLE)
    server.cuts.clear()
    server.files[TABLE.path] = b"landmark_id,images\n5,a b\n"
    fetch(server, tmp_path, TABLE)
    assert (tmp_path / TABLE.path).read_bytes() == server.files[TABLE.path]


def test_a_wrong_md5_is_fetched_once_more_and_then_an_error(server: Server, tmp_path: Path) -> None:
    other = tar_file("train", 1)
    server.files[other.path] = b"not what was hashed"
    server.files[str(other.md5_path)] = b"0" * 32 + b"  images_001.tar\n"
    with pytest.raises(ValueError, match=r"1 of 2 files .* train/images_001\.tar: fetched twice"):
        fetch(server, tmp_path, other, TAR)
    assert server.count("GET", other.path) == 2
    assert names(tmp_path) == {TAR.path, "fetched.json", ".lock"}  # the good one is there


def test_a_file_damaged_once_on_its_way_is_whole_in_the_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = iter(["0" * 32, hashlib.md5(BIG).hexdigest()])
    monkeypatch.setattr("pipelines.sources.gldv2.fetch.hash_md5", lambda path: next(hashes))
    fetch(server, tmp_path)
    assert server.sent[TAR.path] == 2 * len(BIG)


@pytest.mark.parametrize("whole", [True, False])
def test_a_tar_that_came_in_another_way_is_verified_once(
    server: Server, tmp_path: Path, whole: bool
) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / TAR.path).write_bytes(BIG if whole else BIG[:-1])
    fetch(server, tmp_path)
    assert (tmp_path / TAR.path).read_bytes() == BIG
    assert server.sent[TAR.path] == (0 if whole else len(BIG))
    asked = len(server.asked)
    fetch(server, tmp_path)
    assert len(server.asked) == asked


def test_a_tar_changed_since_is_verified_again(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / TAR.path).write_bytes(b"overwritten")
    fetch(server, tmp_path)
    assert (tmp_path / TAR.path).read_bytes() == BIG


def test_an_overloaded_server_is_asked_again_and_a_missing_file_is_not(
    server: Server, tmp_path: Path
) -> None:
    server.statuses[TAR.path] = [503, 500]
    fetch(server, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"images_009\.tar cannot be had: 404"):
        fetch(server, tmp_path, tar_file("train", 9))
    assert server.count("HEAD", "train/images_009.tar") == 1


def test_an_optional_table_may_be_missing(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(server, tmp_path, RemoteFile("metadata/none.csv", optional=True), TABLE)
    assert (tmp_path / TABLE.path).is_file()
    assert "goes on without metadata/none.csv" in caplog.text


def test_no_byte_is_fetched_where_the_disk_has_no_room(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match=r"1 file, 0\.00 GB, .* 0\.0 GB free; take fewer, --tars"):
        fetch(server, tmp_path)
    assert server.count("GET", TAR.path) == 0


def test_the_sum_and_each_file_are_told(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        fetch(server, tmp_path, TAR, TABLE)
    assert "fetching 2 files, 0.00 GB, from http://127.0.0.1" in caplog.text
    assert "2 of 2 files" in caplog.text


def test_a_server_that_compresses_is_refused(server: Server, tmp_path: Path) -> None:
    server.encoding = "gzip"
    with pytest.raises(ValueError, match=r"train_clean\.csv comes compressed \(gzip\)"):
        fetch(server, tmp_path, TABLE)


def test_two_processes_do_not_fetch_into_one_mirror(server: Server, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process fetches"):
            fetch(server, tmp_path)


def test_bad_addresses_and_records_are_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no address like https://s3"):
        Mirror(tmp_path, "file:///etc")
    server.files[str(TAR.md5_path)] = b"<html>sorry</html>"
    with pytest.raises(ValueError, match=r"holds no md5 but '<html>sorry"):
        fetch(server, tmp_path)
    (tmp_path / "fetched.json").write_text("{")
    with pytest.raises(ValueError, match=r"fetched\.json is damaged; delete it"):
        fetch(server, tmp_path)


def test_the_time_of_a_file_counts_not_its_content_at_each_start(
    server: Server, tmp_path: Path
) -> None:
    fetch(server, tmp_path)
    asked = len(server.asked)
    os.utime(tmp_path / TAR.path, ns=(7, 7))
    fetch(server, tmp_path)  # hashed again: one more look at the md5, no byte of the tar
    assert server.asked[asked:] == [("GET", TAR.md5_path, None)]
