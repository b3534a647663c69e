"""A folder of photos of wild names, sizes and formats: imported, run and reported in one go."""

import math
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from classify_head.submission import load_submission
from embed.printable import printable
from pipelines.datasets.dataset import Dataset
from tests.datasets import cairn, make_recipe_file, texture
from tests.images import encode

PHOTOS = 300  # that can be read, those of `_none` included
NOTHING_KNOWN = 40
LONG = "a very long name of a landmark that nobody would type twice " * 3
CLASSES: tuple[bytes, ...] = tuple(
    name if isinstance(name, bytes) else os.fsencode(name)
    for name in (
        "plain tower",
        unicodedata.normalize("NFC", "Café"),
        unicodedata.normalize("NFD", "Église Notre-Dame"),
        "naïve 照片",
        "Ελλάδα",
        "Москва",
        "new\nline",
        "tab\tand\x1b[31mred",
        "quotes \"'`$(x)",
        "comma, semicolon; pipe|",
        "=1+1",
        "-rf",
        "#1 %20 & <b>",
        "\u202eright to left",
        "🏰 castle",
        LONG[:130],
        "001",
        "NA",
        "nan",
        "con.",
    )
)
NAMES: tuple[bytes, ...] = tuple(
    map(
        os.fsencode,
        (
            "a",
            "IMG 0001",
            "with.dots.in.it",
            "é",
            unicodedata.normalize("NFD", "ü"),
            "照片",
            "line\nbreak",
            "tab\tstop",
            "\x1b[2Jclear",
            "quote'\"",
            "comma,semicolon;",
            "back\\slash",
            "percent%20",
            "-dash",
            "=cell",
            "x" * 140,
            "ж" * 100,
            "007",
        ),
    )
)
FORMATS = (
    (b".jpg", "JPEG"),
    (b".JPG", "JPEG"),
    (b".jpeg", "JPEG"),
    (b".jfif", "JPEG"),
    (b".png", "PNG"),
    (b".webp", "WEBP"),
)
# What cannot be taken for a photo, by name: said, and left out.
NO_PHOTOS: dict[bytes, bytes] = {
    b"caf\xe9.jpg": b"",  # filled with a photo: its name is no UTF-8
    b"notes.txt": b"text",
    b"moving.gif": b"GIF89a",
}
# Taken for photos by their names, and unreadable: rows of failures.parquet.
BROKEN: dict[bytes, bytes] = {
    b"empty.jpg": b"",
    b"text.jpg": b"no photo at all",
    b"cut.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
}


def sides(generator: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield widths and heights from 16 to 5,000, each order of magnitude as often."""
    yield from [(5000, 16), (16, 5000), (720, 360), (244, 180), (5000, 300)]
    while True:
        width, height = np.exp(generator.uniform(math.log(16), math.log(5000), 2)).astype(int)
        if width * height < 3_000_000:  # pixels: the test has seconds
            yield int(width), int(height)


def write_wild_photos(root: bytes) -> None:
    """Write PHOTOS photos into folders of CLASSES and of nothing known, and what is none."""
    generator = np.random.default_rng(14)
    size = sides(generator)
    folders = [*CLASSES, b"_none"]
    per_class = (PHOTOS - NOTHING_KNOWN) // len(CLASSES)
    for number, folder in enumerate(folders):
        os.makedirs(os.path.join(root, folder))
        count = NOTHING_KNOWN if folder == b"_none" else per_class
        for place in range(count):
            suffix, kind = FORMATS[(number + place) % len(FORMATS)]
            stem = NAMES[(3 * number + place) % len(NAMES)]
            if place >= len(NAMES):
                stem = b"%d" % place
            seed = number if folder != b"_none" else 1000 + place
            image = Image.fromarray(texture(seed)).resize(next(size))
            with open(os.path.join(root, folder, stem + suffix), "wb") as file:
                file.write(encode(image, kind))
    for name, data in {**NO_PHOTOS, **BROKEN}.items():
        with open(os.path.join(root, CLASSES[0], name), "wb") as file:
            file.write(data or (encode(texture(0), "JPEG") if name in NO_PHOTOS else b""))
    os.makedirs(os.path.join(root, b"empty class"))
    os.makedirs(os.path.join(root, b"no photos"))
    with open(os.path.join(root, b"no photos", b"readme.md"), "wb") as file:
        file.write(b"nothing to see")
    os.makedirs(os.path.join(root, b"latin \xe9glise"))
    with open(os.path.join(root, b"latin \xe9glise", b"a.jpg"), "wb") as file:
        file.write(encode(texture(1), "JPEG"))


def test_photos_of_wild_names_sizes_and_formats_run_in_one_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_wild_photos(os.fsencode(tmp_path / "photos"))
    data, run = tmp_path / "data", tmp_path / "run"
    caplog.set_level("INFO")

    made = cairn("data", "folders", tmp_path / "photos", "--data", data)
    assert made.status == 0, made.err
    for left_out in (r"caf\xe9.jpg", r"latin \xe9glise", "notes.txt", "moving.gif"):
        assert left_out in printable(caplog.text)
    for no_landmark in ("empty class", "no photos"):
        assert no_landmark in caplog.text

    dataset = Dataset(data)
    tables = {name: dataset.load_split(name).ids for name in ("train", "test", "non_landmark")}
    ids = [image_id for table in tables.values() for image_id in table]
    assert len(set(ids)) == len(ids) == PHOTOS + len(BROKEN)
    assert len(dataset.names) == len(CLASSES)
    assert all(len(os.fsencode(image_id)) < 240 for image_id in ids)
    assert all(Path(str(dataset.locate(image_id))).is_file() for image_id in ids)

    checked = cairn("data", "check", data)
    assert checked.status == 0, checked.err

    recipe = make_recipe_file(tmp_path / "wild.toml", "[train]\nepochs = 1\n")
    caplog.clear()
    done = cairn(
        *("run", "--data", data, "--run", run, "--recipe", recipe, "--workers", 0),
    )
    assert done.status == 0, done.err
    assert "could not" not in caplog.text.replace("images could not be read", "")
    assert sorted(load_submission(run / "submission.csv")[0]) == sorted(tables["test"])
    for made_file in ("metrics.json", "answers.jpg", "report.html", "predictions.csv"):
        assert (run / made_file).stat().st_size > 0, made_file
    failed = {
        row["image_id"]: row["reason"]
        for table in tables
        for row in pq.read_table(run / "embeddings" / table / "failures.parquet").to_pylist()
    }
    assert {image_id.split("-")[-1] for image_id in failed} == {"empty", "text", "cut"}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in page and "\u202e" not in page

    photos = [path for path in (data / "images").iterdir() if path.suffix != ".gif"][:5]
    asked = cairn("query", "--run", run, *photos, "--json", "--html", tmp_path / "answers.html")
    assert asked.status in (0, 1), asked.err  # 1 where one of them is broken
    assert len(asked.out.splitlines()) == len(photos)
    assert "\x1b" not in cairn("query", "--run", run, *photos).out
