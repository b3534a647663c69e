"""Where downloaded images go, and what remembers those that failed."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.json
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.dataset import Dataset
from pipelines.sources.download.failures import FetchError
from pipelines.sources.download.journal import SCHEMA, Journal
from pipelines.sources.download.sizes import parse_size
from pipelines.sources.download.store import ImageStore, clear_temporary, image_path, list_stored
from tests.images import encode, photo

JPEG = encode(photo(16, 16), "JPEG")
IDS = ("0a1b2c3d", "abc", "ab", "a", "a.bc", "x..y", "ünï", "a b c", "007", "12-34_5")


def make_store(folder: Path) -> ImageStore:
    temporary = folder / "images" / ".downloading"
    temporary.mkdir(parents=True)
    return ImageStore(folder / "images", temporary, parse_size("original"))


@pytest.mark.parametrize("image_id", IDS)
def test_an_image_is_stored_where_a_dataset_finds_it(image_id: str, tmp_path: Path) -> None:
    make_store(tmp_path).store(image_id, JPEG)
    (tmp_path / "train.csv").write_text(f"id,landmark_id\n{image_id},1\n")
    found = Dataset(tmp_path).locate(image_id)
    assert isinstance(found, Path)
    assert found.read_bytes() == JPEG
    assert found == tmp_path / "images" / image_path(image_id)


def test_what_is_stored_is_listed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    for image_id in IDS:
        store.store(image_id, JPEG)
    assert sorted(list_stored(tmp_path / "images").to_pylist()) == sorted(IDS)


def test_an_image_is_stored_over_an_older_one(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.store("abcd", JPEG)
    other = encode(photo(16, 16, seed=1), "JPEG")
    store.store("abcd", other)
    assert (tmp_path / "images/a/b/c/abcd.jpg").read_bytes() == other


def test_only_whole_images_in_their_place_are_listed(tmp_path: Path) -> None:
    images = tmp_path / "images"
    files = {
        "a/b/c/abcd.jpg": JPEG,
        "flat.jpeg": JPEG,
        "other.PNG": JPEG,
        "a/b/c/abce.jpg": b"",  # after a loss of power
        "a/b/c/abcf.jpg.tmp": JPEG,
        "a/b/c/abcg.png": JPEG,  # a dataset looks for nested .jpg only
        "x/y/z/abch.jpg": JPEG,
        "a/b/c/d/abci.jpg": JPEG,
        "notes.txt": b"1",
    }
    for name, data in files.items():
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(data)
    assert sorted(list_stored(images).to_pylist()) == ["abcd", "flat", "other"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert len(list_stored(tmp_path / "images")) == 0


def test_an_image_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(ValueError, match="not_an_image"):
        store.store("abcd", b"<html>")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_a_killed_download_left_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "140.tmp").write_bytes(b"half")
    (tmp_path / "lock").touch()
    clear_temporary(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def write_journal(path: Path, *failures: tuple[str, FetchError, int]) -> Journal:
    journal = Journal(path)
    with journal:
        for image_id, error, tries in failures:
            journal.append(image_id, f"http://a/{image_id}", error, tries)
    return journal


def test_a_journal_gives_back_what_was_written_the_last_first(tmp_path: Path) -> None:
    journal = write_journal(
        tmp_path / "failures.jsonl",
        ("a", FetchError("http_404", "404 Not Found", 404), 1),
        ("b", FetchError("silence", "nothing"), 4),
    )
    rows = journal.read()
    assert rows.schema == SCHEMA
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("b", "http://a/b", None, "silence", "nothing", 4),
        ("a", "http://a/a", 404, "http_404", "404 Not Found", 1),
    ]


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "failures.jsonl").read() == SCHEMA.empty_table()


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_a_server_says_can_be_read_back(message: str) -> None:
    line = Journal.format("a", "http://a", FetchError("http_500", message, 500), 1)
    assert line.count(b"\n") == 1
    read = pa.json.read_json(pa.BufferReader(line))["message"][0].as_py()
    assert read == json.loads(line)["message"]


@pytest.mark.parametrize("lost", range(1, 100, 7))
def test_a_torn_last_line_is_cut_off(lost: int, tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    error = FetchError("http_404", "x" * 80, 404)
    write_journal(path, ("a", error, 1), ("b", error, 1))
    path.write_bytes(path.read_bytes()[:-lost])
    assert Journal(path).read()["id"].to_pylist() == ["a"]
    journal = write_journal(path, ("c", error, 1))
    assert journal.read()["id"].to_pylist() == ["c", "a"]


def test_a_damaged_journal_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "failures.jsonl").write_text("no json\n")
    with pytest.raises(ValueError, match="delete it"):
        Journal(tmp_path / "failures.jsonl").read()
