"""Whatever folders and photos are called, each photo has its own id or is named as left out."""

import logging
import os
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.printable import printable
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.naming import MAX_ID, is_text
from pipelines.sources import class_folders
from pipelines.sources.folders import import_folders
from tests.datasets import find_file
from tests.sources import (
    contents,
    imported,
    read_rest,
    tables,
    write_classes,
    write_named,
    write_started,
)


def test_one_stem_with_two_suffixes_makes_two_images(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", tower=0)
    for suffix in (".jpg", ".PNG", ".webp"):
        write_started(source / "tower" / f"a{suffix}", suffix)
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    ids = dataset.load_split("train").ids
    assert len(set(ids)) == 3
    assert {read_rest(find_file(dataset, i)) for i in ids} == {".jpg", ".PNG", ".webp"}


def test_ids_of_equal_spelling_stay_distinct(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", **{"a": 0, "a-b": 0})
    write_started(source / "a" / "b-c.jpg", "one")
    write_started(source / "a-b" / "c.jpg", "two")
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    ids = dataset.load_split("train").ids
    assert [read_rest(find_file(dataset, i)) for i in ids] == ["one", "two"]


def test_what_no_id_can_have_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos" / "a\\b").mkdir(parents=True)
    write_started(tmp_path / "photos" / "a\\b" / "li\nne.jpg", "")
    import_folders(tmp_path / "photos", tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    assert dataset.load_split("train").ids == ("a_b-li_ne",)
    assert dataset.names == {0: "a\\b"}
    assert find_file(dataset, "a_b-li_ne").is_file()


def test_names_that_are_no_utf8_are_left_out_by_name_and_the_rest_is_imported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_named(tmp_path / "photos", b"c/a.jpg", b"c/caf\xe9.jpg", b"bad\xe9/b.jpg")
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts["landmarks"] == counts["train"] == 1
    assert imported(tmp_path / "data") == {"c-a": b"c/a.jpg"}
    shown = printable(caplog.text)
    assert "left out 2 files and folders whose names are no UTF-8" in shown
    assert "c/caf\\xe9.jpg" in shown and "bad\\xe9/" in shown


def test_control_characters_are_spaces_in_names_and_tables_are_read_again(tmp_path: Path) -> None:
    source = write_named(tmp_path / "photos", b"new\nline\r/a\tb.jpg", b"\x1b[31mred/c.jpg")
    for _ in range(2):
        import_folders(source, tmp_path / "data", test_every=0)
        assert Dataset(tmp_path / "data").names == {0: " [31mred", 1: "new line "}
        assert imported(tmp_path / "data") == {
            "_[31mred-c": b"\x1b[31mred/c.jpg",
            "new_line_-a_b": b"new\nline\r/a\tb.jpg",
        }


def test_a_landmark_is_the_same_however_its_name_is_spelled(tmp_path: Path) -> None:
    source = write_named(tmp_path / "photos", "Caf\xe9/a.jpg".encode(), b"Zoo/b.jpg")
    import_folders(source, tmp_path / "data", test_every=0)
    first = tables(tmp_path / "data")["labels"]
    (source / "Caf\xe9").rename(source / "Cafe\u0301")
    write_classes(source, A=1)
    import_folders(source, tmp_path / "data", test_every=0)
    assert tables(tmp_path / "data")["labels"] == [*first, ["2", "A"]]
    assert set(imported(tmp_path / "data")) == {"Caf\xe9-a", "Zoo-b", "A-p0"}


def test_names_that_differ_in_spelling_alone_are_one_landmark_and_no_photo_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{n}/{n}.jpg".encode() for n in ("Caf\xe9", "Cafe\u0301")]
    source = write_named(tmp_path / "photos", *names, "Caf\xe9/Cafe\u0301.jpg".encode())
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts == {"landmarks": 1, "train": 3, "test": 0, "non_landmark": 0}
    assert len(set(imported(tmp_path / "data").values())) == 3
    assert "2 folders are called Caf\xe9" in caplog.text


@pytest.mark.parametrize("letter", ["x", "ö", "大"])
def test_long_names_make_ids_that_fit_and_differ(letter: str, tmp_path: Path) -> None:
    width = len(letter.encode())
    folder, stem = letter * (250 // width), letter * (240 // width)
    names = [f"{folder}/{stem}{number}.jpg".encode() for number in range(3)]
    source = write_named(tmp_path / "photos", *names)
    import_folders(source, tmp_path / "data", test_every=0)
    found = imported(tmp_path / "data")
    assert sorted(found.values()) == sorted(names)
    for image_id in found:
        assert len(f".{image_id}.jfif.4194304.tmp.jfif".encode()) <= 255
        assert image_id.startswith(letter * 40)
    assert Dataset(tmp_path / "data").names == {0: folder}


def test_every_suffix_of_jpeg_is_imported_and_images_without_one_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = (b"c/a.jfif", b"c/b.jpe", b"c/d.JPG", b"c/e.JPEG", b"c/f.JFIF")
    source = write_named(tmp_path / "photos", *names, b"c/README")
    (source / "c" / "bare").write_bytes(b"\xff\xd8\xff\xe0")
    with caplog.at_level(logging.WARNING):
        import_folders(source, tmp_path / "data", test_every=0)
    assert sorted(imported(tmp_path / "data").values()) == sorted(names)
    assert "left out 1 images without a suffix (add .jpg to their names): c/bare" in caplog.text
    assert "c/README" in caplog.text


# Any bytes but those that end a name; half of the names are made of few, to collide.
NAME = st.binary(min_size=1, max_size=40) | st.text("e\u0301\xe9-\n\\_ .jpg", min_size=1).map(
    str.encode
)
NAMES = NAME.map(lambda name: name.translate(None, b"/\0").lstrip(b".")[:250]).filter(bool)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(NAMES, st.sets(NAMES, min_size=1, max_size=3), min_size=1, max_size=4))
def test_whatever_photos_are_called_each_is_in_a_table_or_named(
    names: dict[bytes, set[bytes]],
) -> None:
    with (
        tempfile.TemporaryDirectory() as below,
        mock.patch.object(class_folders.logger, "warning") as warned,
    ):
        photos = [b"%s/%s.jpg" % (folder, stem) for folder in names for stem in names[folder]]
        source = write_named(Path(below, "photos"), b"first/a.jpg", *photos)
        data = Path(below, "data")
        import_folders(source, data, test_every=2)
        found = imported(data)
        logged = " ".join(str(call.args[0] % call.args[1:]) for call in warned.call_args_list)
        lost = {b"first/a.jpg", *photos} - set(found.values())
        assert len(found) + len(lost) == len({b"first/a.jpg", *photos})
        for name in map(os.fsdecode, lost):
            assert not is_text(name)
            assert printable(name) in logged or printable(f"{name.split('/')[0]}/") in logged
        assert all(len(image_id.encode()) <= MAX_ID for image_id in found)
        truth = Dataset(data)
        assert set(truth.names) == set(range(len(truth.names)))
        first = contents(data)
        import_folders(source, data, test_every=2)
        assert contents(data) == first
