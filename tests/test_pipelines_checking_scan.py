"""The scan of a dataset: each image is read once, whatever happens in between."""

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.datasets.checking import scan
from pipelines.datasets.checking.fingerprint import SIDE
from pipelines.datasets.checking.scan import scan_dataset
from pipelines.datasets.checking.scan_parts import load_scan, load_thumbnails, write_part
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.tars.build import build_tar_index
from tests.datasets import write_table
from tests.images import encode, photo

IDS = [f"i{number}" for number in range(7)]
STATE = ["file", "offset", "mtime_ns"]  # what a copy of a dataset need not share


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a dataset of 7 images, one missing, whose parts are of 3."""
    monkeypatch.setattr(scan, "PART_SIZE", 3)
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for seed, image_id in enumerate(IDS[:-1]):
        write_image(folder, image_id, seed)
    write_table(folder / "train.csv", "id,landmark_id", [f"{image_id},1" for image_id in IDS])
    return folder


def write_image(folder: Path, image_id: str, seed: int) -> None:
    (folder / "images" / f"{image_id}.jpg").write_bytes(encode(photo(40, 50, seed), "JPEG"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of the images that are read, as they are."""
    names: list[str] = []
    take: Callable[[Path], Any] = scan._take

    def note(file: Path) -> Any:
        names.append(file.stem)
        return take(file)

    monkeypatch.setattr(scan, "_take", note)
    return names


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "scan").glob("part-*"))


def test_each_image_has_a_row_sorted_by_id(data: Path) -> None:
    table = scan_dataset(Dataset(data))
    assert table["id"].to_pylist() == IDS
    assert table["reason"].to_pylist() == [None] * 6 + ["missing"]
    assert table["width"].to_pylist() == [50] * 6 + [None]
    sizes = [(data / "images" / f"{image_id}.jpg").stat().st_size for image_id in IDS[:-1]]
    assert table["bytes"].to_pylist() == [*sizes, 0]
    assert len(parts(data)) == 3


def test_a_second_scan_reads_nothing(data: Path, read: list[str]) -> None:
    first = scan_dataset(Dataset(data))
    assert sorted(read) == IDS
    read.clear()
    assert scan_dataset(Dataset(data)).equals(first)
    assert read == []


def test_a_moved_dataset_is_not_read_again(data: Path, read: list[str], tmp_path: Path) -> None:
    first = scan_dataset(Dataset(data))
    read.clear()
    data.rename(tmp_path / "moved")
    assert scan_dataset(Dataset(tmp_path / "moved")).equals(first)
    assert read == []


def test_new_and_changed_images_are_read_and_old_ones_dropped(
    data: Path, read: list[str], tmp_path: Path
) -> None:
    scan_dataset(Dataset(data))
    read.clear()
    write_image(data, "i1", 50)  # changed
    write_image(data, "i6", 51)  # was missing
    write_image(data, "new", 52)
    ids = [*IDS[:3], *IDS[4:], "new"]  # without i3
    write_table(data / "train.csv", "id,landmark_id", [f"{image_id},1" for image_id in ids])
    table = scan_dataset(Dataset(data))
    assert sorted(read) == ["i1", "i6", "new"]
    fresh = shutil.copytree(data, tmp_path / "fresh", ignore=shutil.ignore_patterns("scan"))
    expected = scan_dataset(Dataset(Path(fresh)))
    assert table.drop_columns(STATE).equals(expected.drop_columns(STATE))
    assert load_scan(data) is not None


def test_a_file_of_the_same_size_and_another_time_is_read_again(
    data: Path, read: list[str]
) -> None:
    scan_dataset(Dataset(data))
    read.clear()
    os.utime(data / "images" / "i2.jpg", ns=(1, 1))
    scan_dataset(Dataset(data))
    assert read == ["i2"]


def test_an_image_whose_disk_failed_is_tried_again(
    data: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(scan, "_take", lambda file: {"reason": "unreadable", "found": "cannot be"})
        assert scan_dataset(Dataset(data))["reason"].to_pylist() == ["unreadable"] * 7
    scan_dataset(Dataset(data))
    assert sorted(read) == IDS


class Interrupted(Exception):
    """What stands for kill -9 here."""


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_scan_goes_on_after_its_last_whole_part(
    done: int, data: Path, read: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "copy"))
    write = write_part

    def interrupt(part: pa.Table, path: Path) -> None:
        if path.name == f"part-{done:05d}.parquet":
            raise Interrupted
        write(part, path)

    with monkeypatch.context() as patch:
        patch.setattr(scan, "write_part", interrupt)
        with pytest.raises(Interrupted):
            scan_dataset(Dataset(data))
    assert load_scan(data) is None
    (data / "scan" / ".part-00009.parquet.1.tmp.parquet").write_bytes(b"half")
    read.clear()
    table = scan_dataset(Dataset(data))
    assert sorted(read) == IDS[3 * done :]
    assert table.drop_columns(STATE).equals(scan_dataset(Dataset(copy)).drop_columns(STATE))
    assert parts(data) == parts(copy) and len(list((data / "scan").iterdir())) == 4


def test_a_part_that_is_damaged_or_of_other_code_is_made_again(data: Path, read: list[str]) -> None:
    first = scan_dataset(Dataset(data))
    damaged, foreign = (data / "scan" / f"part-0000{number}.parquet" for number in (0, 2))
    damaged.write_bytes(damaged.read_bytes()[:-5])
    table = pq.read_table(foreign)
    pq.write_table(table.replace_schema_metadata({"key": "another"}), foreign)
    read.clear()
    assert scan_dataset(Dataset(data)).equals(first)
    assert sorted(read) == ["i0", "i1", "i2", "i6"]


def test_a_scan_whose_part_is_gone_is_not_complete(data: Path) -> None:
    scan_dataset(Dataset(data))
    (data / "scan" / "part-00001.parquet").unlink()
    assert load_scan(data) is None


def test_thumbnails_are_those_of_the_images_asked_for(data: Path) -> None:
    table = scan_dataset(Dataset(data))
    pictures = load_thumbnails(data, pa.array(["i5", "i0", "i4"]))
    assert pictures.shape == (3, SIDE, SIDE)
    contrast = dict(zip(table["id"].to_pylist(), table["contrast"].to_pylist(), strict=True))
    expected = [contrast[image_id] for image_id in ("i5", "i0", "i4")]
    np.testing.assert_allclose(pictures.std(axis=(1, 2)), expected, rtol=1e-6)
    assert load_thumbnails(data, pa.array([], pa.string())).shape == (0, SIDE, SIDE)


def test_images_in_a_tar_are_read_where_they_lie(data: Path, tmp_path: Path) -> None:
    expected = scan_dataset(Dataset(data))
    packed = tmp_path / "packed"
    (packed / "images").mkdir(parents=True)
    with tarfile.open(packed / "images" / "all.tar", "w") as tar:
        for path in sorted((data / "images").iterdir()):
            tar.add(path, path.name)
    shutil.copyfile(data / "train.csv", packed / "train.csv")
    build_tar_index(packed / "images")
    table = scan_dataset(Dataset(packed))
    assert table.drop_columns(STATE).equals(expected.drop_columns(STATE))
    assert set(table["file"].to_pylist()[:6]) == {"images/all.tar"}
    assert (np.asarray(table["offset"])[:6] > 0).all()


def test_a_dataset_in_this_folder_has_the_same_paths(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    assert scan_dataset(Dataset(Path()))["file"].to_pylist()[0] == "images/i0.jpg"
