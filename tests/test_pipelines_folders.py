"""A folder a class becomes a dataset folder: tables, stable ids, nothing dropped silently."""

import csv
import logging
import os
from pathlib import Path

import pytest

from pipelines.dataset import Dataset
from pipelines.folders import import_folders
from tests.datasets import find_file


def make_source(folder: Path, **classes: int) -> Path:
    """Write folders of that many files; the files' bytes are their paths."""
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / name / f"p{number}.jpg").write_text(f"{name}/p{number}")
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
        str(path.relative_to(folder)): path.read_bytes()
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
        assert find_file(dataset, image_id).read_text() == f"{name}/{stem}"


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
        (source / "tower" / f"a{suffix}").write_text(suffix)
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    ids = dataset.load_split("train").ids
    assert len(set(ids)) == 3
    assert {find_file(dataset, i).read_text() for i in ids} == {".jpg", ".PNG", ".webp"}


def test_ids_of_equal_spelling_stay_distinct(tmp_path: Path) -> None:
    source = make_source(tmp_path / "photos", **{"a": 0, "a-b": 0})
    (source / "a" / "b-c.jpg").write_text("one")
    (source / "a-b" / "c.jpg").write_text("two")
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    ids = dataset.load_split("train").ids
    assert [find_file(dataset, i).read_text() for i in ids] == ["one", "two"]


def test_files_of_other_kinds_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(tmp_path / "photos", tower=2)
    for name in ("a.heic", "b.HEIC", "notes.txt", ".hidden.jpg"):
        (source / "tower" / name).touch()
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts["train"] == 2
    assert "2 .heic, 1 .txt" in caplog.text


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
    (source / "tower" / "p0.png").write_text("new")
    import_folders(source, tmp_path / "data", test_every=0)
    assert find_file(Dataset(tmp_path / "data"), "tower-p0").read_text() == "new"


def test_photos_and_dataset_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "photos" / "tower").mkdir(parents=True)
    (tmp_path / "photos" / "tower" / "a.jpg").touch()
    for target in ("photos", "photos/data"):
        with pytest.raises(ValueError, match=r"is among the photos in .*; name a folder outside"):
            import_folders(tmp_path / "photos", tmp_path / target, test_every=0)
    import_folders(tmp_path / "photos", tmp_path / "data", test_every=0)
    with pytest.raises(ValueError, match="is a dataset already"):
        import_folders(tmp_path / "data", tmp_path / "new", test_every=0)


def test_what_no_id_can_have_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos" / "a\\b").mkdir(parents=True)
    (tmp_path / "photos" / "a\\b" / "li\nne.jpg").touch()
    import_folders(tmp_path / "photos", tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    assert dataset.load_split("train").ids == ("a_b-li_ne",)
    assert dataset.names == {0: "a\\b"}
    assert find_file(dataset, "a_b-li_ne").is_file()
