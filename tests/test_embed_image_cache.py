"""Decoded images on disk: the same pixels, bounded, and never a reason to fail."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embed.augmented_files import AugmentedFiles
from embed.failure import Failure
from embed.image_cache import ImageCache
from embed.image_file import FileSlice
from embed.train_settings import AugmentSettings
from tests.images import photo

EPOCHS = 3


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Write three photos larger than what is kept of them."""
    for number in range(3):
        Image.fromarray(photo(90, 120, seed=number)).save(tmp_path / f"{number}.jpg")
    return [tmp_path / f"{number}.jpg" for number in range(3)]


def files(paths: list[Path], cache: ImageCache | None) -> AugmentedFiles:
    return AugmentedFiles(paths, 32, 100_000, AugmentSettings(), 0, cache=cache)


def read(dataset: AugmentedFiles, epoch: int) -> list[torch.Tensor]:
    items = [dataset[position, epoch, position] for position in range(len(dataset))]
    return [item[1] for item in items if not isinstance(item, Failure)]


def test_kept_images_are_those_that_are_decoded(paths: list[Path], tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "kept", 10**9, EPOCHS)
    for epoch in range(EPOCHS):
        pairs = zip(read(files(paths, cache), epoch), read(files(paths, None), epoch), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    kept = cache.load(paths[0], 40)
    assert kept is not None and kept.shape == (40, 53, 3)
    cache.remove()
    assert not (tmp_path / "kept").exists() and len(read(files(paths, cache), 0)) == 3


def test_a_later_epoch_decodes_nothing(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = files(paths, ImageCache(tmp_path / "kept", 10**9, EPOCHS))
    read(dataset, 0)
    monkeypatch.setattr("embed.augmented_files.decode_image", pytest.fail)
    assert len(read(dataset, 1)) == 3


def test_the_last_epoch_keeps_nothing(paths: list[Path], tmp_path: Path) -> None:
    read(files(paths, ImageCache(tmp_path / "kept", 10**9, EPOCHS)), EPOCHS - 1)
    assert not list((tmp_path / "kept").iterdir())


def test_an_image_that_changes_or_goes_is_seen(paths: list[Path], tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "kept", 10**9, EPOCHS)
    before = read(files(paths, cache), 0)[0]
    Image.fromarray(photo(90, 121, seed=7)).save(paths[0])
    assert not torch.equal(read(files(paths, cache), 0)[0], before)
    paths[1].unlink()
    item = files(paths, cache)[1, 1, 1]
    assert isinstance(item, Failure) and item.reason == "missing"


def test_slices_of_one_file_are_apart(paths: list[Path], tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "kept", 10**9, EPOCHS)
    data = [path.read_bytes() for path in paths[:2]]
    (tmp_path / "all.tar").write_bytes(b"".join(data))
    slices = [
        FileSlice(tmp_path / "all.tar", 0, len(data[0])),
        FileSlice(tmp_path / "all.tar", len(data[0]), len(data[1])),
    ]
    dataset = AugmentedFiles(slices, 32, 100_000, AugmentSettings(), 0, cache=cache)
    for epoch in (0, 1):
        for found, expected in zip(
            read(dataset, epoch), read(files(paths, None), epoch), strict=False
        ):
            assert torch.equal(found, expected)


def test_no_more_than_the_limit_is_kept_and_it_is_told_once(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ImageCache(tmp_path / "kept", 2 * 40 * 53 * 3, EPOCHS)
    cache.tell()
    assert not caplog.records
    with caplog.at_level(logging.INFO):
        assert len(read(files(paths, cache), 0)) == len(read(files(paths, cache), 1)) == 3
        cache.tell()
        cache.tell()
    assert len(list((tmp_path / "kept").iterdir())) == 2
    (record,) = caplog.records
    assert "the others are decoded each epoch" in record.message


def test_half_of_the_free_disk_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(100, 40, 60)
    monkeypatch.setattr("embed.image_cache.shutil.disk_usage", lambda folder: usage)
    assert ImageCache(tmp_path / "kept", 1000, EPOCHS).limit == 30


def test_a_full_disk_is_told_and_images_are_decoded(
    paths: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = ImageCache(tmp_path / "kept", 10**9, EPOCHS)

    def refuse(*paths: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("embed.image_cache.os.replace", refuse)
    assert len(read(files(paths, cache), 0)) == len(read(files(paths, cache), 1)) == 3
    cache.tell()
    assert not list((tmp_path / "kept").iterdir())
    assert "no space left on device" in caplog.text


def test_a_folder_that_cannot_be_made_is_told(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = ImageCache(tmp_path / "file" / "kept", 10**9, EPOCHS)
    assert len(read(files(paths, cache), 0)) == 3
    cache.tell()
    assert "not a directory" in caplog.text


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\x10\0\0\0\x10\0\0\0abc"])
def test_a_file_cut_short_is_decoded_again(paths: list[Path], tmp_path: Path, data: bytes) -> None:
    cache = ImageCache(tmp_path / "kept", 10**9, EPOCHS)
    expected = read(files(paths, cache), 1)
    for kept in (tmp_path / "kept").iterdir():
        kept.write_bytes(data)
    for found, whole in zip(read(files(paths, cache), 1), expected, strict=True):
        assert np.array_equal(found, whole)
