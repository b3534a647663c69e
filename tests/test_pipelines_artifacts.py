"""Artifacts: whole or not at all, and complete only with a manifest that fits."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from embed.errors import InputError
from pipelines.artifacts import (
    Manifest,
    hash_file,
    hash_values,
    invalidate,
    load_manifest,
    make_key,
    read_signed,
    record_file,
    remedy,
    remedy_file,
    save_manifest,
    write_json,
    write_signed,
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
    make_artifact(tmp_path / "a")
    manifest = load_manifest(tmp_path / "a")
    assert manifest is not None
    assert manifest.outputs == [record_file(tmp_path / "a" / "values.txt", rows=1)]
    assert manifest.counts == {"requested": 3, "written": 2, "failed": 1}
    assert {"torch", "timm", "numpy"} <= manifest.libraries.keys()
    invalidate(tmp_path / "a")
    assert load_manifest(tmp_path / "a") is None
    assert (tmp_path / "a" / "values.txt").is_file()


def test_counts_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    counts = {"requested": 3, "written": 1, "failed": 1}
    with pytest.raises(ValueError, match="embed: counts do not add up"):
        make_artifact(tmp_path / "a", counts=counts)
    assert load_manifest(tmp_path / "a") is None


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"", b"[]", b"3", b'{"format": 2}'])
def test_a_damaged_manifest_names_the_command(content: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "index"
    make_artifact(folder)
    (folder / "manifest.json").write_bytes(content)
    expected = (
        f"{folder}/manifest.json is damaged: it does not end with its sha256; make it anew: "
        f"cairn index --redo --run {tmp_path / 'run'}"
    )
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        load_manifest(folder)


def test_a_manifest_of_another_version_names_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    make_artifact(folder)
    values = read_signed(folder / "manifest.json")
    write_signed({**values, "format": 1}, folder / "manifest.json")
    with pytest.raises(InputError, match=r"another version of Cairn \(format 1, .* index --redo"):
        load_manifest(folder)


def test_no_bit_of_signed_json_flips_unseen(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_signed({"näme": [1, 2.5, None], "b": {}}, path)
    content = path.read_bytes()
    assert read_signed(path) == {"näme": [1, 2.5, None], "b": {}}
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(InputError, match=r"a\.json is damaged"):
            read_signed(path)


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("r/model", "train --redo --run r"),
        ("r/delf", "train --redo --run r"),
        ("r/index", "index --redo --run r"),
        ("r/decision", "index --redo --run r"),
        ("r/submit", "submit --redo --run r"),
        ("r/members/index/model", "train --redo --run r"),
        ("r/members/features/model", "train --redo --run r"),
        ("my runs/r/index", "index --redo --run 'my runs/r'"),
    ],
)
def test_the_remedy_is_the_command_that_makes_the_artifact(folder: str, command: str) -> None:
    assert remedy(Path(folder)) == f"make it anew: cairn {command}"


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("r/embeddings/test", "submit --run r"),
        ("r/features/test", "submit --run r"),
        ("r/features/train", "index --run r"),
        ("r/features/held_out", "index --run r"),
        ("r/embeddings/non_landmark", "index --run r"),
        ("r/embeddings/index", "index --run r"),
        ("r/members/a/embeddings/test", "submit --run r"),
        ("r/members/a/embeddings/index", "index --run r"),
        ("searched/embeddings/train", "data clean searched"),
        ("r/embeddings/train", "index --run r"),
    ],
)
def test_of_what_is_made_in_parts_one_file_is_made_anew_alone_by_what_makes_its_split(
    folder: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("searched/embeddings/index").mkdir(parents=True)
    make = f"make it anew: cairn {command}"
    assert remedy_file(Path(folder)) == f"delete it, and {make}"
    assert remedy_file(Path(folder), missing=True) == make
    assert remedy(Path(folder)) == f"delete {folder}/manifest.json, and {make}"


def test_a_run_may_be_called_as_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("features").mkdir()
    Path("features/run.json").touch()
    for missing in (True, False):
        expected = "make it anew: cairn index --redo --run features"
        assert remedy_file(Path("features/index"), missing=missing) == expected


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


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, kind in (("pipe", "no regular file"), ("folder", "a folder"), ("", "a folder")):
        with pytest.raises(InputError, match=f"is {kind}; name another"):
            write_json({}, tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_that_cannot_be_made_is_named_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a{240}\.json cannot be written \(file name too long\)"):
        write_json({}, tmp_path / f"{'a' * 240}.json")
