"""Files are written whole or not at all, and a full disk is told from other errors."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from embed.errors import InputError
from embed.files import is_disk_full, writing


def test_writing_replaces_the_file_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        with writing(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent
            assert temporary.suffix == path.suffix
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("existed", [True, False])
def test_writing_leaves_the_old_file_and_nothing_else_on_error(
    existed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    if existed:
        path.write_text("old")
    with pytest.raises(OSError, match="disk"), writing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "disk")
    assert os.listdir(tmp_path) == (["a.txt"] if existed else [])
    assert not existed or path.read_text() == "old"


def test_writing_clears_away_what_a_killed_process_left(tmp_path: Path) -> None:
    with writing(tmp_path / "a[1].txt") as temporary:
        stray = temporary.with_name(temporary.name.replace(str(os.getpid()), "1"))
        temporary.write_text("a")
    stray.touch()
    with writing(tmp_path / "a[1].txt") as temporary:
        temporary.write_text("b")
    assert os.listdir(tmp_path) == ["a[1].txt"]


def test_a_name_of_the_caller_s_is_written_over_and_looks_for_no_strays(tmp_path: Path) -> None:
    stray, own = tmp_path / ".a.txt.1.tmp.txt", tmp_path / ".a.txt.tmp"
    stray.touch()
    own.write_text("of a killed process")
    with writing(tmp_path / "a.txt", own, sync=False) as temporary:
        assert temporary == own
        temporary.write_text("a")
    assert sorted(os.listdir(tmp_path)) == [stray.name, "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "a"


@pytest.mark.parametrize("sync", [True, False])
def test_the_disk_is_waited_for_before_the_file_has_its_name(
    sync: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, named = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda _: named.append(path.exists()))
    with writing(path, sync=sync) as temporary:
        temporary.write_text("a")
    assert named == ([False] if sync else [])


@pytest.mark.parametrize("above", ["file", "file/deeper", "/proc/nowhere"])
def test_a_folder_that_cannot_be_made_is_named(above: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / above / "a.txt"
    with (
        pytest.raises(InputError, match=rf"{above} cannot be made \(.*\); name another"),
        writing(path),
    ):
        pass


def test_writing_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path / "a.txt"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("[enforce fail at inline_container.cc] . No space left on device"),
        pa.ArrowInvalid("IOError: [Errno 28] Error writing bytes: No space left on device"),
        ValueError("Disk quota exceeded"),
        # torch.save to a file that cannot grow
        RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 128 vs 0"),
    ],
)
def test_a_full_disk_is_recognised(error: Exception) -> None:
    assert is_disk_full(error)


def test_a_full_disk_is_recognised_below_other_errors() -> None:
    full = OSError(errno.ENOSPC, "full")
    caused, during = RuntimeError("cannot write"), ValueError("and then")
    caused.__cause__ = full
    during.__context__ = caused
    assert is_disk_full(caused)
    assert is_disk_full(during)


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "no"), ValueError("no space"), RuntimeError("disk"), KeyError()]
)
def test_other_errors_are_no_full_disk(error: Exception) -> None:
    assert not is_disk_full(error)
