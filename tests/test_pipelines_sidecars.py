"""Sidecars: XMP that a parser reads, and none of another program touched."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import InputError
from embed.printable import printable
from pipelines.answers.answer import Answer
from pipelines.reports.sidecars import (
    HEAD,
    NAMESPACES,
    RDF,
    format_degrees,
    format_sidecar,
    name_sidecar,
    write_sidecar,
)

DARKTABLE = '<?xml version="1.0"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0"/>'
PLACE = {"latitude": "-43.7731", "longitude": "11.256"}


def known(photo: Path | str, name: str = "Old mill", **details: str) -> Answer:
    return Answer(str(photo), 12, name, 0.9312347, guess=12, details=details)


def parse(text: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return properties and lists of an XMP packet by prefix and name, as an RDF reader does."""
    prefixes = {uri: prefix for prefix, uri in NAMESPACES.items()} | {RDF: "rdf"}

    def name(tag: str) -> str:
        uri, _, local = tag[1:].partition("}")
        return f"{prefixes[uri]}:{local}"

    root = ET.fromstring(text.encode("utf-8"))
    assert root.tag == "{adobe:ns:meta/}xmpmeta"
    (described,) = root.findall(f"{{{RDF}}}RDF/{{{RDF}}}Description")
    lists = {name(e.tag): [li.text or "" for li in e.iter(f"{{{RDF}}}li")] for e in described}
    return {name(key): value for key, value in described.attrib.items()}, lists


def test_a_packet_has_name_confidence_and_place() -> None:
    properties, lists = parse(format_sidecar(known("a.jpg", **PLACE)))
    assert properties == {
        "rdf:about": "",
        "cairn:label": "12",
        "cairn:confidence": "0.931235",
        "xmp:CreatorTool": "Cairn",
        "Iptc4xmpCore:Location": "Old mill",
        "exif:GPSVersionID": "2.3.0.0",
        "exif:GPSLatitude": "43,46.386000S",
        "exif:GPSLongitude": "11,15.360000E",
    }
    assert lists == {
        "dc:subject": ["Old mill"],
        "lr:hierarchicalSubject": ["Landmarks|Old mill"],
        "digiKam:TagsList": ["Landmarks/Old mill"],
    }


def test_without_a_place_none_is_named() -> None:
    properties, _ = parse(format_sidecar(known("a.jpg", latitude="95", longitude="1")))
    assert not [key for key in properties if key.startswith(("exif", "Iptc"))]


@given(st.text(min_size=1))
def test_any_name_is_read_back_as_it_is_shown(name: str) -> None:
    _, lists = parse(format_sidecar(known("a.jpg", name)))
    # XML takes a carriage return for a line break, and printable leaves neither.
    assert lists["dc:subject"] == [printable(name)]
    assert lists["lr:hierarchicalSubject"][0].count("|") == 1
    assert lists["digiKam:TagsList"][0].count("/") == 1


def test_markup_is_no_markup() -> None:
    name = "</rdf:li><!-- &amp; \"' ]]> <x:xmpmeta"
    properties, lists = parse(format_sidecar(known("a.jpg", name, **PLACE)))
    assert lists["dc:subject"] == [name]
    assert properties["Iptc4xmpCore:Location"] == name


@given(st.floats(-180, 180))
def test_degrees_are_read_back(degrees: float) -> None:
    text = format_degrees(degrees, "EW")
    whole, _, minutes = text[:-1].partition(",")
    assert 0 <= float(minutes) < 60
    sign = {"E": 1, "W": -1}[text[-1]]
    assert sign * (int(whole) + float(minutes) / 60) == pytest.approx(degrees, abs=2e-8)


def test_a_sidecar_is_written_anew_and_taken_away_when_nothing_is_known(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.touch()
    path = tmp_path / "a.jpg.xmp"
    assert name_sidecar(photo) == path
    for name in ("Old mill", "New mill"):
        write_sidecar(known(photo, name))
        assert parse(path.read_text("utf-8"))[1]["dc:subject"] == [name]
    write_sidecar(Answer(str(photo), error="unreadable"))
    assert path.exists()
    write_sidecar(Answer(str(photo), reason="none"))
    assert os.listdir(tmp_path) == ["a.jpg"]
    write_sidecar(known(tmp_path / "absent.jpg"))
    assert os.listdir(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize("content", [DARKTABLE, "", HEAD.replace("Cairn", "XMP Core 4.4.0-Exiv2")])
def test_a_sidecar_of_another_program_is_left_as_it_is(content: str, tmp_path: Path) -> None:
    photo, path = tmp_path / "a.jpg", tmp_path / "a.jpg.xmp"
    photo.touch()
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"a\.jpg\.xmp: of another program"):
        write_sidecar(known(photo))
    write_sidecar(Answer(str(photo), reason="none"))
    assert path.read_text("utf-8") == content


def test_a_link_or_a_folder_in_its_place_is_left(tmp_path: Path) -> None:
    photo, path, other = tmp_path / "a.jpg", tmp_path / "a.jpg.xmp", tmp_path / "other"
    photo.touch()
    other.write_text(HEAD, "utf-8")
    path.symlink_to(other)
    with pytest.raises(InputError):
        write_sidecar(known(photo))
    assert other.read_text("utf-8") == HEAD
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError):
        write_sidecar(known(photo))


def test_a_long_name_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    photo = tmp_path / f"{'x' * 248}.jpg"
    photo.touch()
    with pytest.raises(InputError, match="file name too long"):
        write_sidecar(known(photo))
    assert os.listdir(tmp_path) == [photo.name]
    shorter = tmp_path / f"{'x' * 240}.jpg"
    shorter.touch()
    write_sidecar(known(shorter))
    assert name_sidecar(shorter).exists()
