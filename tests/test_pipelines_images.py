"""Images are listed by name; what holds none is left out, and is an error when nothing is left."""

import logging
from pathlib import Path

import pytest

from embed.errors import InputError
from pipelines.datasets.images import list_images, sniff_file


def test_a_folder_without_images_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("empty/notes.txt", "photos/b.JFIF", "photos/a.jpe"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    absent = tmp_path / "absent.jpg"
    with caplog.at_level(logging.WARNING):
        found = list_images([tmp_path / "empty", tmp_path / "photos", absent])
    assert found == [tmp_path / "photos" / "a.jpe", tmp_path / "photos" / "b.JFIF", absent]
    assert f"{tmp_path / 'empty'} holds no image" in caplog.text


def test_folders_without_any_image_are_an_error_that_names_them(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(InputError, match=r"a, .*b holds no image"):
        list_images(folders)


def test_what_an_image_is_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "bare").write_bytes(b"RIFF\0\0\0\0WEBP")
    (tmp_path / "text").write_text("RIFF")
    assert sniff_file(tmp_path / "bare") == ".webp"
    assert sniff_file(tmp_path / "text") is None
    assert sniff_file(tmp_path / "absent") is None
