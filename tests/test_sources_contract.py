"""The contract of a data source, stated in pipelines/sources/__init__.py, kept by each source."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from embed.decode import decode_image
from embed.errors import InputError
from pipelines.datasets.dataset import SPLITS, Dataset
from pipelines.sources import demo
from pipelines.sources.city import dataset as city
from pipelines.sources.download.dataset import download_dataset
from pipelines.sources.download.settings import DownloadSettings
from pipelines.sources.folders import import_folders
from pipelines.sources.gldv2.catalog import BASE
from pipelines.sources.gldv2.fetch import Mirror
from pipelines.sources.gldv2.make import make_gldv2
from pipelines.sources.heap import import_heap, list_heap
from pipelines.sources.revisited.make import import_revisited
from pipelines.sources.table_import.make import import_table
from tests.datasets import view, write_photo
from tests.gldv2_mirror import NUMBERS, write_mirror
from tests.image_server import serve_images
from tests.images import encode
from tests.revisited import write_photos, write_truth
from tests.test_pipelines_city import TINY

ROOT = Path(__file__).resolve().parents[1]
NO_SOURCES = {
    "__init__",
    "city",
    "class_folders",
    "new_photos",
}  # what is in pipelines/sources/ beside them
# When a source is killed: evenly spread over what it changes on the disk, and at each last change.
SPREAD, LAST = 8, 12

Make = Callable[[Path], object]  # writes a dataset folder


@contextlib.contextmanager
def open_demo(_: Path) -> Iterator[Make]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "CityPlan", lambda: TINY)
        patch.setattr(os, "cpu_count", lambda: 1)  # renders in this process
        jpeg = encode(view(0, 0), "JPEG")
        for name in ("build", "Studio", "_props", "photograph", "photograph_scene"):
            patch.setattr(city, name, lambda *_, **__: jpeg)  # to render takes a second a city
        patch.setattr(demo, "contact_sheet", lambda _, path: path.write_bytes(jpeg))
        yield demo.render_demo


@contextlib.contextmanager
def open_folders(inputs: Path) -> Iterator[Make]:
    for thing in range(3):
        for number in range(3):
            write_photo(inputs, f"{thing}-{number}", view(thing, number))
            (inputs / f"thing {thing}").mkdir(exist_ok=True)
            image = inputs / "images" / f"{thing}-{number}.jpg"
            image.rename(inputs / f"thing {thing}" / f"{number}.jpg")
    (inputs / "images").rmdir()
    (inputs / "thing 2").rename(inputs / "_none")
    yield lambda folder: import_folders(inputs, folder, test_every=3)


@contextlib.contextmanager
def open_download(inputs: Path) -> Iterator[Make]:
    settings = DownloadSettings(allow_private=True, base_delay=0.05, max_tries=2)
    with serve_images() as server:
        kinds = ["ok", "ok", "missing", "ok"]
        rows = [f"a{n}x,{server.url(kind, n)},{n % 2}" for n, kind in enumerate(kinds)]
        (inputs / "train.csv").write_text("\n".join(["id,url,landmark_id", *rows]) + "\n")
        (inputs / "test.csv").write_text(f"id,url\nb1x,{server.url('ok', 9)}\n")
        yield lambda folder: download_dataset(
            inputs / "train.csv", folder, test=inputs / "test.csv", settings=settings
        )


@contextlib.contextmanager
def open_table(inputs: Path) -> Iterator[Make]:
    photos = [(f"{t}-{n}", f"thing {t}", view(t, n)) for t in range(2) for n in range(3)]
    rows = [{"id": i, "label": label, "image": encode(p, "JPEG")} for i, label, p in photos]
    rows.append({"id": "none", "label": "thing 0", "image": b"no image"})
    pd.DataFrame(rows).to_parquet(inputs / "table.parquet", row_group_size=2)
    yield lambda folder: import_table([inputs / "table.parquet"], folder, test_every=3)


@contextlib.contextmanager
def open_gldv2(inputs: Path) -> Iterator[Make]:
    write_mirror(inputs)
    yield lambda folder: make_gldv2(Mirror(inputs, BASE), folder, NUMBERS, fetch=False)


@contextlib.contextmanager
def open_revisited(inputs: Path) -> Iterator[Make]:
    truth, photos = write_truth(inputs), write_photos(inputs)
    yield lambda folder: import_revisited(truth, photos, folder)


@contextlib.contextmanager
def open_heap(inputs: Path) -> Iterator[Make]:
    for number in range(4):
        write_photo(inputs, f"{number}", view(number, 0))
    (inputs / "images" / "3.jpg").rename(inputs / "3.jpg")
    yield lambda folder: import_heap(inputs, list_heap(inputs), folder)


# By the name that each has in pipelines/sources/.
SOURCES: dict[str, Callable[[Path], AbstractContextManager[Make]]] = {
    "demo": open_demo,
    "folders": open_folders,
    "download": open_download,
    "table_import": open_table,
    "gldv2": open_gldv2,
    "revisited": open_revisited,
    "heap": open_heap,
}


@dataclass(frozen=True)
class Source:
    """A source with its input, and a dataset that it wrote undisturbed."""

    inputs: Path
    make: Make
    whole: Path


@pytest.fixture(scope="module", params=SOURCES)
def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "inputs").mkdir()
    with SOURCES[request.param](folder / "inputs") as make:
        make(folder / "whole")
        yield Source(folder / "inputs", make, folder / "whole")


class Killed(BaseException):
    """What stands for kill -9: from then on the process changes nothing on the disk."""


class Disk:
    """Counts what this process changes on the disk, and allows it no more than so many changes."""

    watching = False
    changes = 0
    allowed = sys.maxsize

    @classmethod
    def hear(cls, event: str, arguments: tuple[object, ...]) -> None:
        """Take an audit event. There is no way to stop listening to these."""
        if not cls.watching:
            return
        if event in ("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir") or (
            event == "open"
            and isinstance(flags := arguments[2], int)
            and flags & (os.O_WRONLY | os.O_RDWR)
        ):
            cls.changes += 1
            if cls.changes > cls.allowed:
                raise Killed


@contextlib.contextmanager
def kill_after(changes: int) -> Iterator[None]:
    """Raise Killed in place of each change beyond so many, also in those that clean up after it."""
    Disk.changes, Disk.allowed, Disk.watching = 0, changes, True
    try:
        yield
    finally:
        Disk.watching = False


@pytest.fixture(scope="module", autouse=True)
def _listen() -> None:
    sys.addaudithook(Disk.hear)


def list_points(make: Make, folder: Path) -> list[int]:
    """Return after how many changes to kill a source that writes this folder; writes it."""
    with kill_after(sys.maxsize):
        make(folder)
    spread = {Disk.changes * point // SPREAD for point in range(SPREAD)}
    return sorted(spread | set(range(max(0, Disk.changes - LAST), Disk.changes)))


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file, and where each link leads, by name."""
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {
        path.relative_to(folder).as_posix(): os.fsencode(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in found
    }


def is_dataset(folder: Path) -> bool:
    """Tell whether a folder counts as a dataset; finishes a renewal that was made ready."""
    try:
        Dataset(folder)
    except FileNotFoundError:
        return False
    return True


def check(folder: Path) -> None:
    """Fail if a run would refuse the dataset, or if an image of it cannot be read."""
    dataset = Dataset(folder)
    assert dataset.find_problems(training=True)[0] == []
    failed = (folder / "failures.parquet", folder / "missing.parquet")
    tables = [pd.read_parquet(path) for path in failed if path.is_file()]
    missing = {i for table in tables for i in table.filter(["id", "image_id"]).iloc[:, 0]}
    for name in SPLITS:
        if dataset.find_table(name):
            for image_id in dataset.load_split(name).ids:
                if name != "test" or image_id not in missing:
                    assert decode_image(dataset.locate(image_id)).pixels.size


def test_every_source_is_tested_here() -> None:
    there = {
        path.stem for path in (ROOT / "pipelines" / "sources").iterdir() if path.stem[0] != "."
    }
    assert there - {"__pycache__"} - NO_SOURCES == set(SOURCES)


def test_a_fresh_folder_becomes_a_dataset(source: Source) -> None:
    check(source.whole)


def test_the_origin_is_recorded_under_one_name(source: Source) -> None:
    origin = json.loads((source.whole / "dataset.json").read_text())
    (name, shared), *more = origin.items()
    assert name
    assert shared
    assert more == []


def test_the_same_call_again_ends_in_the_same_bytes(source: Source, tmp_path: Path) -> None:
    source.make(tmp_path / "data")
    made = read_files(tmp_path / "data")
    source.make(tmp_path / "data")
    assert read_files(tmp_path / "data") == made


@pytest.mark.parametrize(
    "held", ["tables of nobody known", "another dataset", "a damaged dataset.json", "a file"]
)
def test_a_folder_that_holds_something_else_is_refused(
    held: str, source: Source, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    if held == "a file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "index.csv").write_text("mine")
        if held != "tables of nobody known":
            origin = '{"something": "else"}' if held == "another dataset" else "{"
            (folder / "dataset.json").write_text(origin)
    before = read_files(tmp_path)
    with pytest.raises(InputError, match="name another"):
        source.make(folder)
    assert read_files(tmp_path) == before


def test_without_its_input_a_source_leaves_no_folder(source: Source, tmp_path: Path) -> None:
    if not any(source.inputs.iterdir()):
        pytest.skip("needs no input")
    away = source.inputs.rename(source.inputs.with_name("away"))
    try:
        with pytest.raises((InputError, FileNotFoundError)):
            source.make(tmp_path / "data")
    finally:
        away.rename(source.inputs)
    assert not (tmp_path / "data").exists()


def test_a_killed_source_leaves_no_dataset_and_goes_on(source: Source, tmp_path: Path) -> None:
    for point in list_points(source.make, tmp_path / "undisturbed"):
        folder = tmp_path / f"killed after {point} changes"
        with pytest.raises(Killed), kill_after(point):
            source.make(folder)
        if is_dataset(folder):
            check(folder)
        source.make(folder)
        assert read_files(folder) == read_files(tmp_path / "undisturbed"), folder.name


def test_a_source_killed_in_doing_it_again_leaves_the_dataset(
    source: Source, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    source.make(folder)
    tables = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    for point in list_points(source.make, folder):
        with contextlib.suppress(Killed), kill_after(point):
            source.make(folder)
        check(folder)
        assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == tables
