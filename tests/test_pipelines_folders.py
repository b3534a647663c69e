"""A folder a class becomes a dataset folder: tables, stable ids, nothing dropped silently."""

import csv
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
from pipelines.datasets.images import SUFFIXES
from pipelines.datasets.naming import MAX_ID, is_text
from pipelines.sources import class_folders, folders
from pipelines.sources.folders import import_folders
from tests.datasets import find_file

JPEG = b"\xff\xd8\xff"  # what a file begins with that is taken for a photo


def write(path: Path, text: str) -> None:
    path.write_bytes(JPEG + text.encode())


def read(path: Path) -> str:
    return path.read_bytes().removeprefix(JPEG).decode()


def make_source(folder: Path, **classes: int) -> Path:
    """Write folders of that many photos; behind JPEG, their bytes are their paths."""
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write(folder / name / f"p{number}.jpg", f"{name}/p{number}")
    return folder


def rows(folder: Path, table: str) -> list[list[str]]:
    """Return the rows of a table, without its header; no rows without a table."""
    path = folder / f"{table}.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes().removeprefix(JPEG)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_photo_is_in_one_table(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", bridge=3, tower=2, _none=3)
    counts = import_folders(source, tmp_path / "data", test_every=3)
    assert counts == {"landmarks": 2, "train": 4, "test": 2, "non_landmark": 2}
    data = tmp_path / "data"
    assert rows(data, "train") == [
        ["bridge-p0", "0"],
        ["bridge-p1", "0"],
        ["tower-p0", "1"],
        ["tower-p1", "1"],
    ]
    assert rows(data, "solution") == [["_none-p2", "", "Public"], ["bridge-p2", "0", "Public"]]
    assert rows(data, "test") == [["_none-p2"], ["bridge-p2"]]
    assert rows(data, "non_landmark") == [["_none-p0"], ["_none-p1"]]
    assert rows(data, "labels") == [["0", "bridge"], ["1", "tower"]]


def test_the_dataset_reads_what_was_written(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", **{"Köln, Dom": 2, 'a "b"': 2})
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    assert sorted(dataset.names.values()) == ["Köln, Dom", 'a "b"']
    for image_id in dataset.load_split("train").ids:
        name, _, stem = image_id.rpartition("-")
        assert read(find_file(dataset, image_id)) == f"{name}/{stem}"


@pytest.mark.parametrize(("every", "kept"), [(0, []), (2, [1, 3, 5]), (5, [4]), (9, [])])
def test_every_so_many_th_photo_is_kept_for_the_test(
    every: int, kept: list[int], tmp_path: Path
) -> None:
    source = make_source(tmp_path / "photos", tower=6)
    import_folders(source, tmp_path / "data", test_every=every)
    assert rows(tmp_path / "data", "test") == [[f"tower-p{number}"] for number in kept]
    assert (tmp_path / "data" / "test.csv").is_file() == bool(kept)


@pytest.mark.parametrize("every", [1, -1])
def test_a_test_of_all_photos_is_refused(every: int, tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", tower=2)
    with pytest.raises(ValueError, match=f"test_every is {every}; 0 keeps no photo"):
        import_folders(source, tmp_path / "data", test_every=every)


def test_ids_stay_when_classes_are_added(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", m=2, p=2)
    import_folders(source, tmp_path / "data", test_every=0)
    make_source(source, a=2, n=2, z=2)
    import_folders(source, tmp_path / "data", test_every=0)
    named = {name: label for label, name in rows(tmp_path / "data", "labels")}
    assert named == {"m": "0", "p": "1", "a": "2", "n": "3", "z": "4"}


def test_a_class_that_is_taken_away_leaves_its_id_to_no_other(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", m=1, p=1)
    import_folders(source, tmp_path / "data", test_every=0)
    (source / "m" / "p0.jpg").unlink()
    (source / "m").rmdir()
    import_folders(source, tmp_path / "data", test_every=0)
    assert rows(tmp_path / "data", "train") == [["p-p0", "1"]]
    assert rows(tmp_path / "data", "labels") == [["0", "m"], ["1", "p"]]


def test_two_imports_write_the_same(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", bridge=6, tower=5, _none=5)
    first = import_folders(source, tmp_path / "data", test_every=5)
    before = files(tmp_path / "data")
    assert import_folders(source, tmp_path / "data", test_every=5) == first
    assert files(tmp_path / "data") == before


def test_one_stem_with_two_suffixes_makes_two_images(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", tower=0)
    for suffix in (".jpg", ".PNG", ".webp"):
        write(source / "tower" / f"a{suffix}", suffix)
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    ids = dataset.load_split("train").ids
    assert len(set(ids)) == 3
    assert {read(find_file(dataset, i)) for i in ids} == {".jpg", ".PNG", ".webp"}


def test_ids_of_equal_spelling_stay_distinct(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", **{"a": 0, "a-b": 0})
    write(source / "a" / "b-c.jpg", "one")
    write(source / "a-b" / "c.jpg", "two")
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    ids = dataset.load_split("train").ids
    assert [read(find_file(dataset, i)) for i in ids] == ["one", "two"]


def test_files_of_other_kinds_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(tmp_path / "photos", tower=2)
    for name in ("a.heic", "b.HEIC", "notes.txt", ".hidden.jpg"):
        (source / "tower" / name).touch()
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts["train"] == 2
    assert "tower/a.heic, tower/b.HEIC, tower/notes.txt" in caplog.text


def test_photos_beside_and_below_the_folders_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(tmp_path / "photos", tower=2)
    (source / "loose.jpg").touch()
    (source / "tower" / "2019").mkdir()
    (source / "tower" / "2019" / "deep.jpg").touch()
    with caplog.at_level(logging.WARNING):
        import_folders(source, tmp_path / "data", test_every=0)
    assert "loose.jpg" in caplog.text
    assert "2019" in caplog.text


@pytest.mark.parametrize("classes", [{}, {"tower": 0}, {"_none": 3}, {".hidden": 3}])
def test_a_source_without_photos_is_refused(classes: dict[str, int], tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", **classes)
    source.mkdir(exist_ok=True)
    with pytest.raises(FileNotFoundError, match="holds no folder with photos"):
        import_folders(source, tmp_path / "data", test_every=5)
    assert not (tmp_path / "data").exists()


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder at .*absent"):
        import_folders(tmp_path / "absent", tmp_path / "data", test_every=5)


def test_images_are_linked_where_that_can_be_and_else_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(tmp_path / "photos", tower=1)
    import_folders(source, tmp_path / "linked", test_every=0)
    photo = source / "tower" / "p0.jpg"
    assert photo.samefile(tmp_path / "linked" / "images" / "tower-p0.jpg")

    def refuse(*paths: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    import_folders(source, tmp_path / "copied", test_every=0)
    copy = tmp_path / "copied" / "images" / "tower-p0.jpg"
    assert not photo.samefile(copy)
    assert copy.read_bytes() == photo.read_bytes()


def test_a_photo_that_changed_its_suffix_replaces_the_old_one(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", tower=1)
    import_folders(source, tmp_path / "data", test_every=0)
    (source / "tower" / "p0.jpg").unlink()
    write(source / "tower" / "p0.png", "new")
    import_folders(source, tmp_path / "data", test_every=0)
    assert read(find_file(Dataset(tmp_path / "data"), "tower-p0")) == "new"


def test_photos_and_dataset_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "photos" / "tower").mkdir(parents=True)
    write(tmp_path / "photos" / "tower" / "a.jpg", "")
    for target in ("photos", "photos/data"):
        with pytest.raises(ValueError, match=r"is among the photos in .*; name a folder outside"):
            import_folders(tmp_path / "photos", tmp_path / target, test_every=0)
    import_folders(tmp_path / "photos", tmp_path / "data", test_every=0)
    with pytest.raises(ValueError, match="is a dataset already"):
        import_folders(tmp_path / "data", tmp_path / "new", test_every=0)


def test_what_no_id_can_have_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos" / "a\\b").mkdir(parents=True)
    write(tmp_path / "photos" / "a\\b" / "li\nne.jpg", "")
    import_folders(tmp_path / "photos", tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    assert dataset.load_split("train").ids == ("a_b-li_ne",)
    assert dataset.names == {0: "a\\b"}
    assert find_file(dataset, "a_b-li_ne").is_file()


# Odd names


def make_bytes(folder: Path, *names: bytes) -> Path:
    """Write files of any names below a folder; behind JPEG, bytes of photos are their names."""
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG * (path.suffix.lower() in SUFFIXES) + name)
    return folder


def imported(data: Path) -> dict[str, bytes]:
    """Return the bytes of each image of all tables by its id; all of them are there."""
    dataset = Dataset(data)
    dataset.check_tables()
    splits = [name for name in ("train", "test", "non_landmark") if dataset.find_table(name)]
    ids = [image_id for name in splits for image_id in dataset.load_split(name).ids]
    assert len(set(ids)) == len(ids)
    return {
        image_id: find_file(dataset, image_id).read_bytes().removeprefix(JPEG) for image_id in ids
    }


def test_names_that_are_no_utf8_are_left_out_by_name_and_the_rest_is_imported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_bytes(tmp_path / "photos", b"c/a.jpg", b"c/caf\xe9.jpg", b"bad\xe9/b.jpg")
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts["landmarks"] == counts["train"] == 1
    assert imported(tmp_path / "data") == {"c-a": b"c/a.jpg"}
    shown = printable(caplog.text)
    assert "left out 2 files and folders whose names are no UTF-8" in shown
    assert "c/caf\\xe9.jpg" in shown and "bad\\xe9/" in shown


@pytest.mark.parametrize("step", ["link_image", "write_rows"])
def test_an_import_that_fails_leaves_the_dataset_as_it_was(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(tmp_path / "photos", bridge=3, tower=2)
    import_folders(source, tmp_path / "data", test_every=2)
    before = files(tmp_path / "data")
    (source / "bridge" / "p0.jpg").unlink()
    (source / "bridge" / "p1.jpg").unlink()
    (source / "bridge" / "p1.jpg").write_text("another photo")
    real, calls = getattr(folders, step), []

    def fail(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(folders, step, fail)
        import_folders(source, tmp_path / "data", test_every=0)
    assert files(tmp_path / "data") == before
    import_folders(source, tmp_path / "data", test_every=0)
    assert imported(tmp_path / "data")["bridge-p1"] == b"another photo"
    assert len(imported(tmp_path / "data")) == 4


def test_control_characters_are_spaces_in_names_and_tables_are_read_again(tmp_path: Path) -> None:
    source = make_bytes(tmp_path / "photos", b"new\nline\r/a\tb.jpg", b"\x1b[31mred/c.jpg")
    for _ in range(2):
        import_folders(source, tmp_path / "data", test_every=0)
        assert Dataset(tmp_path / "data").names == {0: " [31mred", 1: "new line "}
        assert imported(tmp_path / "data") == {
            "_[31mred-c": b"\x1b[31mred/c.jpg",
            "new_line_-a_b": b"new\nline\r/a\tb.jpg",
        }


def test_a_landmark_is_the_same_however_its_name_is_spelled(tmp_path: Path) -> None:
    source = make_bytes(tmp_path / "photos", "Caf\xe9/a.jpg".encode(), b"Zoo/b.jpg")
    import_folders(source, tmp_path / "data", test_every=0)
    first = rows(tmp_path / "data", "labels")
    (source / "Caf\xe9").rename(source / "Cafe\u0301")
    make_source(source, A=1)
    import_folders(source, tmp_path / "data", test_every=0)
    assert rows(tmp_path / "data", "labels") == [*first, ["2", "A"]]
    assert set(imported(tmp_path / "data")) == {"Caf\xe9-a", "Zoo-b", "A-p0"}


def test_names_that_differ_in_spelling_alone_are_one_landmark_and_no_photo_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{n}/{n}.jpg".encode() for n in ("Caf\xe9", "Cafe\u0301")]
    source = make_bytes(tmp_path / "photos", *names, "Caf\xe9/Cafe\u0301.jpg".encode())
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
    source = make_bytes(tmp_path / "photos", *names)
    import_folders(source, tmp_path / "data", test_every=0)
    found = imported(tmp_path / "data")
    assert sorted(found.values()) == sorted(names)
    for image_id in found:
        assert len(f".{image_id}.jfif.4194304.tmp.jfif".encode()) <= 255
        assert image_id.startswith(letter * 40)
    assert Dataset(tmp_path / "data").names == {0: folder}


def test_folders_without_a_photo_are_no_landmarks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(tmp_path / "photos", tower=1, empty=0, texts=0)
    (source / "texts" / "a.txt").touch()
    (source / "broken").mkdir()
    (source / "broken" / "a.jpg").touch()
    (source / "broken" / "b.jpg").write_text("no photo")
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts["landmarks"] == 1
    assert rows(tmp_path / "data", "labels") == [["0", "tower"]]
    assert "left out 3 folders without a photo that can be read" in caplog.text
    assert "no landmarks: broken/, empty/, texts/" in caplog.text


def test_every_suffix_of_jpeg_is_imported_and_images_without_one_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = (b"c/a.jfif", b"c/b.jpe", b"c/d.JPG", b"c/e.JPEG", b"c/f.JFIF")
    source = make_bytes(tmp_path / "photos", *names, b"c/README")
    (source / "c" / "bare").write_bytes(b"\xff\xd8\xff\xe0")
    with caplog.at_level(logging.WARNING):
        import_folders(source, tmp_path / "data", test_every=0)
    assert sorted(imported(tmp_path / "data").values()) == sorted(names)
    assert "left out 1 images without a suffix (add .jpg to their names): c/bare" in caplog.text
    assert "c/README" in caplog.text


def test_a_link_that_leads_nowhere_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(tmp_path / "photos", tower=1)
    (source / "tower" / "gone.jpg").symlink_to("nowhere.jpg")
    with caplog.at_level(logging.WARNING):
        import_folders(source, tmp_path / "data", test_every=0)
    assert "tower/gone.jpg" in caplog.text


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
        source = make_bytes(Path(below, "photos"), b"first/a.jpg", *photos)
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
        first = files(data)
        import_folders(source, data, test_every=2)
        assert files(data) == first
