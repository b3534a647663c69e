"""Artifacts: whole or not at all, and complete only with a manifest that fits."""

import errno
import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.artifacts import (
    Manifest,
    find_complete,
    hash_file,
    hash_values,
    invalidate,
    is_disk_full,
    load_manifest,
    make_key,
    record_file,
    save_manifest,
    write_json,
    writing,
)


def make_artifact(folder: Path, **changes: object) -> str:
    """Write an artifact of one file and its manifest; return the key."""
    folder.mkdir(parents=True)
    (folder / "values.txt").write_text("some values\n")
    values: dict[str, object] = {
        "stage": "embed",
        "key": "k1",
        "settings": {"size": 3},
        "recipe": "demo",
        "recipe_sha256": "0" * 64,
        "inputs": {"train": "abc"},
        "outputs": [record_file(folder / "values.txt", rows=1)],
        "counts": {"requested": 3, "written": 2, "failed": 1},
    }
    save_manifest(Manifest(**{**values, **changes}), folder)  # type: ignore[arg-type]
    return "k1"


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


def test_hashes_are_sha256_of_bytes_and_of_sorted_json(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    # sha256("abc"): FIPS 180-2, appendix B.1
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_values({"b": 1, "a": 2}) == hashlib.sha256(b'{"a": 2, "b": 1}').hexdigest()
    assert hash_values({"b": 1, "a": 2}) == hash_values({"a": 2, "b": 1})


def test_the_key_depends_on_stage_settings_and_inputs() -> None:
    keys = {
        make_key("embed", {"a": 1}, {"x": "1"}),
        make_key("index", {"a": 1}, {"x": "1"}),
        make_key("embed", {"a": 2}, {"x": "1"}),
        make_key("embed", {"a": 1}, {"x": "2"}),
        make_key("embed", {"a": 1}, {}),
    }
    assert len(keys) == 5
    assert make_key("s", {"a": 1, "b": 2}, {}) == make_key("s", {"b": 2, "a": 1}, {})


def test_a_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    key = make_artifact(tmp_path / "a")
    manifest = find_complete(tmp_path / "a", key)
    assert manifest is not None
    assert manifest.outputs == [record_file(tmp_path / "a" / "values.txt", rows=1)]
    assert manifest.counts == {"requested": 3, "written": 2, "failed": 1}
    assert {"torch", "timm", "numpy"} <= manifest.libraries.keys()


def test_nothing_is_complete_without_its_manifest(tmp_path: Path) -> None:
    key = make_artifact(tmp_path / "a")
    assert find_complete(tmp_path / "a", "another") is None
    assert find_complete(tmp_path / "absent", key) is None
    invalidate(tmp_path / "a")
    assert find_complete(tmp_path / "a", key) is None
    assert (tmp_path / "a" / "values.txt").is_file()


@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "folder"])
def test_nothing_is_complete_without_its_files(damage: str, tmp_path: Path) -> None:
    key = make_artifact(tmp_path / "a")
    path = tmp_path / "a" / "values.txt"
    text = path.read_text()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_text(text[:-1] if damage == "shorter" else text + "x")
    assert find_complete(tmp_path / "a", key) is None


def test_counts_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    counts = {"requested": 3, "written": 1, "failed": 1}
    with pytest.raises(ValueError, match="embed: counts do not add up"):
        make_artifact(tmp_path / "a", counts=counts)
    assert load_manifest(tmp_path / "a") is None


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"", b"[]", b"3", b'{"format": 1}'])
def test_a_damaged_manifest_says_what_to_delete(content: bytes, tmp_path: Path) -> None:
    make_artifact(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"manifest\.json is damaged; delete {tmp_path / 'a'}"):
        load_manifest(tmp_path / "a")


def test_a_manifest_of_another_format_counts_as_none(tmp_path: Path) -> None:
    key = make_artifact(tmp_path / "a")
    path = tmp_path / "a" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 999}))
    assert find_complete(tmp_path / "a", key) is None


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json({"näme": 1}, tmp_path / "a.json")
    with pytest.raises(TypeError):
        write_json({"a": object()}, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"näme": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_paths_that_are_no_utf8_are_read_back_from_json(tmp_path: Path) -> None:
    values = {"data": os.fsdecode(b"caf\xe9"), "name": "Köln 大阪"}
    write_json(values, tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text) == values
    assert "Köln 大阪" in text
