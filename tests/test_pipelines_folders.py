"""A folder a class becomes a dataset folder: tables, stable ids, nothing dropped silently."""

import logging
import os
from pathlib import Path

import pytest

from pipelines.datasets.dataset import Dataset
from pipelines.sources import folders
from pipelines.sources.folders import import_folders
from tests.datasets import find_file
from tests.sources import contents, imported, read_rest, tables, write_classes, write_started


def test_every_photo_is_in_one_table(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", bridge=3, tower=2, _none=3)
    counts = import_folders(source, tmp_path / "data", test_every=3)
    assert counts == {"landmarks": 2, "train": 4, "test": 2, "non_landmark": 2}
    data = tmp_path / "data"
    assert tables(data)["train"] == [
        ["bridge-p0", "0"],
        ["bridge-p1", "0"],
        ["tower-p0", "1"],
        ["tower-p1", "1"],
    ]
    assert tables(data)["solution"] == [["_none-p2", "", "Public"], ["bridge-p2", "0", "Public"]]
    assert tables(data)["test"] == [["_none-p2"], ["bridge-p2"]]
    assert tables(data)["non_landmark"] == [["_none-p0"], ["_none-p1"]]
    assert tables(data)["labels"] == [["0", "bridge"], ["1", "tower"]]


def test_the_dataset_reads_what_was_written(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", **{"Köln, Dom": 2, 'a "b"': 2})
    import_folders(source, tmp_path / "data", test_every=0)
    dataset = Dataset(tmp_path / "data")
    assert sorted(dataset.names.values()) == ["Köln, Dom", 'a "b"']
    for image_id in dataset.load_split("train").ids:
        name, _, stem = image_id.rpartition("-")
        assert read_rest(find_file(dataset, image_id)) == f"{name}/{stem}"


@pytest.mark.parametrize(("every", "kept"), [(0, []), (2, [1, 3, 5]), (5, [4]), (9, [])])
def test_every_so_many_th_photo_is_kept_for_the_test(
    every: int, kept: list[int], tmp_path: Path
) -> None:
    source = write_classes(tmp_path / "photos", tower=6)
    import_folders(source, tmp_path / "data", test_every=every)
    test = [[f"tower-p{number}"] for number in kept]
    assert tables(tmp_path / "data").get("test", []) == test
    assert (tmp_path / "data" / "test.csv").is_file() == bool(kept)


@pytest.mark.parametrize("every", [1, -1])
def test_a_test_of_all_photos_is_refused(every: int, tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", tower=2)
    with pytest.raises(ValueError, match=f"test_every is {every}; 0 keeps no photo"):
        import_folders(source, tmp_path / "data", test_every=every)


def test_ids_stay_when_classes_are_added(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", m=2, p=2)
    import_folders(source, tmp_path / "data", test_every=0)
    write_classes(source, a=2, n=2, z=2)
    import_folders(source, tmp_path / "data", test_every=0)
    named = {name: label for label, name in tables(tmp_path / "data")["labels"]}
    assert named == {"m": "0", "p": "1", "a": "2", "n": "3", "z": "4"}


def test_a_class_that_is_taken_away_leaves_its_id_to_no_other(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", m=1, p=1)
    import_folders(source, tmp_path / "data", test_every=0)
    (source / "m" / "p0.jpg").unlink()
    (source / "m").rmdir()
    import_folders(source, tmp_path / "data", test_every=0)
    assert tables(tmp_path / "data")["train"] == [["p-p0", "1"]]
    assert tables(tmp_path / "data")["labels"] == [["0", "m"], ["1", "p"]]


def test_files_of_other_kinds_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_classes(tmp_path / "photos", tower=2)
    for name in ("a.heic", "b.HEIC", "notes.txt", ".hidden.jpg"):
        (source / "tower" / name).touch()
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts["train"] == 2
    assert "tower/a.heic, tower/b.HEIC, tower/notes.txt" in caplog.text


def test_photos_beside_and_below_the_folders_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_classes(tmp_path / "photos", tower=2)
    (source / "loose.jpg").touch()
    (source / "tower" / "2019").mkdir()
    (source / "tower" / "2019" / "deep.jpg").touch()
    with caplog.at_level(logging.WARNING):
        import_folders(source, tmp_path / "data", test_every=0)
    assert "loose.jpg" in caplog.text
    assert "2019" in caplog.text


@pytest.mark.parametrize("classes", [{}, {"tower": 0}, {"_none": 3}, {".hidden": 3}])
def test_a_source_without_photos_is_refused(classes: dict[str, int], tmp_path: Path) -> None:
    source = write_classes(tmp_path / "photos", **classes)
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
    source = write_classes(tmp_path / "photos", tower=1)
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
    source = write_classes(tmp_path / "photos", tower=1)
    import_folders(source, tmp_path / "data", test_every=0)
    (source / "tower" / "p0.jpg").unlink()
    write_started(source / "tower" / "p0.png", "new")
    import_folders(source, tmp_path / "data", test_every=0)
    assert read_rest(find_file(Dataset(tmp_path / "data"), "tower-p0")) == "new"


def test_photos_and_dataset_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "photos" / "tower").mkdir(parents=True)
    write_started(tmp_path / "photos" / "tower" / "a.jpg", "")
    for target in ("photos", "photos/data"):
        with pytest.raises(ValueError, match=r"is among the photos in .*; name a folder outside"):
            import_folders(tmp_path / "photos", tmp_path / target, test_every=0)
    import_folders(tmp_path / "photos", tmp_path / "data", test_every=0)
    with pytest.raises(ValueError, match="is a dataset already"):
        import_folders(tmp_path / "data", tmp_path / "new", test_every=0)


@pytest.mark.parametrize("step", ["link_image", "write_rows"])
def test_an_import_that_fails_leaves_the_dataset_as_it_was(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_classes(tmp_path / "photos", bridge=3, tower=2)
    import_folders(source, tmp_path / "data", test_every=2)
    before = contents(tmp_path / "data")
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
    assert contents(tmp_path / "data") == before
    import_folders(source, tmp_path / "data", test_every=0)
    assert imported(tmp_path / "data")["bridge-p1"] == b"another photo"
    assert len(imported(tmp_path / "data")) == 4


def test_folders_without_a_photo_are_no_landmarks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_classes(tmp_path / "photos", tower=1, empty=0, texts=0)
    (source / "texts" / "a.txt").touch()
    (source / "broken").mkdir()
    (source / "broken" / "a.jpg").touch()
    (source / "broken" / "b.jpg").write_text("no photo")
    with caplog.at_level(logging.WARNING):
        counts = import_folders(source, tmp_path / "data", test_every=0)
    assert counts["landmarks"] == 1
    assert tables(tmp_path / "data")["labels"] == [["0", "tower"]]
    assert "left out 3 folders without a photo that can be read" in caplog.text
    assert "no landmarks: broken/, empty/, texts/" in caplog.text


def test_a_link_that_leads_nowhere_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_classes(tmp_path / "photos", tower=1)
    (source / "tower" / "gone.jpg").symlink_to("nowhere.jpg")
    with caplog.at_level(logging.WARNING):
        import_folders(source, tmp_path / "data", test_every=0)
    assert "tower/gone.jpg" in caplog.text
