"""Write photos and tables that sources make datasets of, and read what they made."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.datasets.dataset import TABLES, Dataset
from pipelines.datasets.images import SUFFIXES
from tests.datasets import find_file
from tests.images import encode, photo

JPEG = encode(photo(16, 16), "JPEG")
PNG = encode(photo(16, 16), "PNG")
WEBP = encode(photo(16, 16), "WEBP")
START = b"\xff\xd8\xff"  # what a file begins with that is taken for a photo


def write_csv(folder: Path, text: str) -> Path:
    """Write a table."""
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def write_parquet(path: Path, images: Sequence[Any], group: int = 2, **columns: Any) -> Path:
    """Write a Parquet file with a column of image bytes, or of bytes beside a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, **columns}), path, row_group_size=group)
    return path


def write_photos(folder: Path, *names: str) -> Path:
    """Write files whose bytes are their names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def write_started(path: Path, text: str) -> None:
    """Write a file that is taken for a photo."""
    path.write_bytes(START + text.encode())


def read_rest(path: Path) -> str:
    """Return what write_started was given."""
    return path.read_bytes().removeprefix(START).decode()


def write_classes(folder: Path, **classes: int) -> Path:
    """Write folders of that many photos; behind START, their bytes are their paths."""
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write_started(folder / name / f"p{number}.jpg", f"{name}/p{number}")
    return folder


def write_named(folder: Path, *names: bytes) -> Path:
    """Write files of any names below a folder; behind START, bytes of photos are their names."""
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(START * (path.suffix.lower() in SUFFIXES) + name)
    return folder


def tables(data: Path) -> dict[str, list[list[str]]]:
    """Return the rows of all tables that are there."""
    found = {}
    for name in TABLES:
        if (path := data / f"{name}.csv").is_file():
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        elif (path := data / f"{name}.parquet").is_file():
            table = pd.read_parquet(path).astype(str)
        else:
            continue
        found[name] = table.to_numpy().tolist()
    return found


def contents(data: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder by their paths."""
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file()
    }


def located(data: Path, image_id: str) -> bytes:
    """Return the bytes of an image of a dataset."""
    return find_file(Dataset(data), image_id).read_bytes()


def imported(data: Path) -> dict[str, bytes]:
    """Return the bytes behind START of each image of all tables by its id; all are there."""
    dataset = Dataset(data)
    dataset.check_tables()
    splits = [name for name in ("train", "test", "non_landmark") if dataset.find_table(name)]
    ids = [image_id for name in splits for image_id in dataset.load_split(name).ids]
    assert len(set(ids)) == len(ids)
    return {
        image_id: find_file(dataset, image_id).read_bytes().removeprefix(START) for image_id in ids
    }
