"""The command query beyond one photo: what it prints and writes, and how it ends."""

import csv
import io
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from pipelines.recognizer import Recognizer
from pipelines.reports.answers_csv import COLUMNS
from pipelines.reports.answers_json import format_json, load_schema
from tests.conftest import Tiny
from tests.datasets import SIDE, Finished, cairn, list_commands
from tests.image_server import ImageServer, serve_images


@pytest.fixture(scope="module")
def recognizer(finished: Tiny) -> Iterator[Recognizer]:
    with Recognizer.load(finished.run) as recognizer:
        yield recognizer


@pytest.fixture(autouse=True)
def loaded(recognizer: Recognizer) -> Iterator[None]:
    """Load the run once for all commands."""
    with mock.patch.object(Recognizer, "load", lambda *_, **__: recognizer):
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serve_images() as server:
        yield server


@pytest.fixture
def photos(finished: Tiny, tmp_path: Path) -> Path:
    """Return a folder with two known photos, noise, and one that cannot be read."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, query in (("a.jpg", "q0"), ("b.jpg", "q3")):
        shutil.copy(finished.data / "images" / f"{query}.jpg", folder / name)
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "c.png")
    (folder / "d.jpg").write_text("hello")
    return folder


def query(finished: Tiny, *arguments: object) -> Finished:
    return cairn("query", *arguments, "--run", finished.run)


def test_a_line_of_json_is_as_the_schema_has_it(
    photos: Path, finished: Tiny, recognizer: Recognizer
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(load_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema).validate
    end = query(finished, photos, "--json")
    lines = [json.loads(line) for line in end.out.splitlines()]
    assert len(lines) == 4
    for line in lines:
        check(line)
    assert "Confidence" in lines[0]["explanation"]
    for wrong in ({"label": "1"}, {"more": 1}, {"latitude": 91.0}):
        with pytest.raises(jsonschema.ValidationError):
            check(lines[0] | wrong)


def test_the_schema_names_what_an_answer_has(
    photos: Path, finished: Tiny, recognizer: Recognizer
) -> None:
    end = cairn("query", "--json-schema")
    assert end.status == 0
    schema = json.loads(end.out)
    line = json.loads(format_json(recognizer.recognize(photos / "a.jpg")))
    assert set(line) == set(schema["properties"]) == set(schema["required"])
    for part, found in (("match", line["best"]), ("ranked_label", line["top"][0])):
        definition = schema["$defs"][part]
        assert set(found) == set(definition["properties"]) == set(definition["required"])


def test_csv_has_a_row_a_photo_and_the_status_says_that_one_is_broken(
    photos: Path, finished: Tiny
) -> None:
    end = query(finished, photos, "--csv")
    assert end.status == 1
    rows = list(csv.DictReader(io.StringIO(end.out, newline=""), strict=True))
    assert [Path(row["image"]).name for row in rows] == ["a.jpg", "b.jpg", "c.png", "d.jpg"]
    assert [row["name"] for row in rows] == ["Thing 0", "Thing 3", "", ""]
    assert "not_an_image" in rows[3]["error"]
    assert rows[2]["reason"].startswith("confidence ")
    assert query(finished, photos / "a.jpg", photos / "c.png", "--csv").status == 0


def test_several_photos_get_the_answers_that_each_gets_alone(photos: Path, finished: Tiny) -> None:
    together = query(finished, photos, "--json").out.splitlines()
    alone = [query(finished, path, "--json").out.strip() for path in sorted(photos.iterdir())]
    for one, other in zip(map(json.loads, together), map(json.loads, alone), strict=True):
        assert (one["image"], one["label"], one["error"]) == (
            *(other["image"], other["label"], other["error"]),
        )
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-4)


def test_an_explanation_is_printed_where_it_is_asked_for(photos: Path, finished: Tiny) -> None:
    pattern = r"\n  Confidence 0\.\d+ that this is Thing 0 comes most of all from .*\n"
    assert re.search(pattern, query(finished, photos / "a.jpg", "--explain").out)
    assert not re.search(pattern, query(finished, photos / "a.jpg").out)


def test_photos_are_sorted_and_a_second_time_changes_nothing(photos: Path, finished: Tiny) -> None:
    out = photos / "sorted"  # within the folder that is asked about
    for _ in range(2):
        end = query(finished, photos, "--sort-into", out, "--json")
        assert (end.status, len(end.out.splitlines())) == (1, 4)
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_symlink())
    assert found == ["Thing 0/a.jpg", "Thing 3/b.jpg", "_unknown/c.png", "_unreadable/d.jpg"]


def test_sidecars_are_written_beside_what_is_recognised(photos: Path, finished: Tiny) -> None:
    theirs = photos / "b.jpg.xmp"
    theirs.write_text("theirs")
    end = query(finished, photos / "a.jpg", photos / "b.jpg", photos / "c.png", "--xmp")
    assert end.status == 1
    assert "b.jpg.xmp: of another program" in end.err
    assert (theirs.read_text(), (photos / "c.png.xmp").exists()) == ("theirs", False)
    root = ET.parse(photos / "a.jpg.xmp").getroot()
    assert "Thing 0" in [element.text for element in root.iter()]
    theirs.unlink()
    assert query(finished, photos / "b.jpg", "--xmp").status == 0


def test_an_image_on_standard_input_is_answered_and_shown(
    photos: Path, finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    give((photos / "a.jpg").read_bytes())
    page = tmp_path / "page.html"
    end = query(finished, "-", "--json", "--html", page)
    assert end.status == 0
    line = json.loads(end.out)
    assert (line["image"], line["name"]) == ("-", "Thing 0")
    assert "no image" not in page.read_text("utf-8") and "matches drawn" in page.read_text("utf-8")
    give(b"")
    end = query(finished, "-")
    assert end.status == 1 and "not read: 0 bytes" in end.out


def test_a_figure_is_written_of_a_photo_that_can_be_read(
    photos: Path, finished: Tiny, tmp_path: Path
) -> None:
    path = tmp_path / "figures" / "a.png"
    end = query(finished, photos / "a.jpg", "--png", path, "--csv")
    assert (end.status, end.err) == (0, f"wrote {path}\n")
    assert end.out.count("\r\n") == 2
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
    end = query(finished, photos / "d.jpg", "--png", tmp_path / "d.png")
    assert (end.status, (tmp_path / "d.png").exists()) == (1, False)
    assert "not read" in end.out


def test_a_url_is_answered_and_one_that_fails_is_a_line(
    photos: Path, finished: Tiny, server: ImageServer
) -> None:
    good, bad, page = (server.url(kind, 1) for kind in ("ok", "missing", "page"))
    end = query(finished, good, bad, photos / "a.jpg", page, "--json", "--allow-private")
    assert end.status == 1
    lines = [json.loads(line) for line in end.out.splitlines()]
    assert [line["image"] for line in lines] == [good, bad, str(photos / "a.jpg"), page]
    assert [bool(line["error"]) for line in lines] == [False, True, False, True]
    assert "http_404" in lines[1]["error"] and "not_an_image" in lines[3]["error"]
    private = query(finished, good)
    assert private.status == 1 and "is not a public address" in private.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--json", "--csv"), "take one"),
        (("--png", "figure.png"), "--png draws one photo, and there are 4"),
        (("--sort-into", "out", "-"), "standard input (-) is none"),
        (("--xmp", "http://example.com/a.jpg"), "a URL or standard"),
        (("--neighbors", "-1"), "greater than or equal to 0"),
        (("--colour",), "--colour"),
    ],
)
def test_options_that_do_not_go_together_are_not_understood(
    options: tuple[str, ...], said: str, photos: Path, finished: Tiny
) -> None:
    end = query(finished, photos, *options)
    assert (end.status, end.out) == (2, "")
    assert said in re.sub(r"\s*[│|]?\s*\n[│|]?\s*", " ", end.err)


def test_a_fault_of_ours_is_told_as_one(
    photos: Path, finished: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("pipelines.reports.sorting.SortedPhotos.place", fail)
    monkeypatch.chdir(tmp_path)
    end = query(finished, photos, "--sort-into", tmp_path / "out")
    assert end.status == 70
    assert "fault of Cairn" in end.err
    for path in finished.run.glob("fault-*.txt"):
        path.unlink()


def test_a_folder_that_nobody_may_write_to_is_a_line_a_photo(
    photos: Path, finished: Tiny, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("Thing 0", "Thing 3"):
        (out / name).touch()  # no folder can be made of that name
    end = query(finished, photos, "--sort-into", out)
    assert end.status == 1
    assert end.err.count("no link in") == 2
    assert end.out.count("\n  neighbour") == 3
    assert sorted(os.listdir(out)) == ["Thing 0", "Thing 3", "_unknown", "_unreadable"]


def test_the_document_names_every_option_and_column() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "query.md").read_text("utf-8")
    options = {option for each in list_commands()["query"].params for option in each.opts}
    shared = {"--data", "--neighbors", "--min-precision", "images"}
    assert [option for option in options - shared if f"{option}" not in text] == []
    columns = text[text.index("with the columns image") :]
    places = [columns.index(name) for name in COLUMNS]
    assert places[0] < min(places[1:])
