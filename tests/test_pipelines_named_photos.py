"""Photos that a command line names: files, folders, URLs and standard input."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embed.decode import ImageError
from embed.errors import InputError, MissingFileError
from embed.image_file import limit_bytes
from pipelines.answers.named_photos import list_named, open_photo
from tests.image_server import ImageServer, serve_images
from tests.images import encode, photo

MAX_PIXELS = 10**6


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serve_images() as server:
        yield server


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Put bytes on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_the_order_is_that_of_the_arguments_and_within_a_folder_that_of_names(
    tmp_path: Path,
) -> None:
    for name in ("b.jpg", "a.png", "notes.txt", "in/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    url = "HTTP://host/a.jpg"
    found = list_named(["z.jpg", url, str(tmp_path), "-"])
    inside = [tmp_path / name for name in ("a.png", "b.jpg", "in/c.webp")]
    assert found == [Path("z.jpg"), url, *inside, "-"]


def test_photos_below_a_folder_are_left_out_also_through_a_link(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos" / "sorted"
    out.mkdir(parents=True)
    (photos / "a.jpg").touch()
    (out / "b.jpg").symlink_to(photos / "a.jpg")
    (tmp_path / "alias").symlink_to(photos)
    assert list_named([str(photos)], without=out) == [photos / "a.jpg"]
    through = tmp_path / "alias"
    assert list_named([str(through)], without=out) == [through / "a.jpg"]
    assert list_named([str(photos)], without=tmp_path / "absent") == [
        photos / "a.jpg",
        out / "b.jpg",
    ]


def test_an_empty_folder_is_an_error_alone_and_an_answer_beside_others(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no image"):
        list_named([str(tmp_path)])
    assert list_named([str(tmp_path), "-"]) == [tmp_path, "-"]


def test_standard_input_is_one_image_of_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(photo(20, 30), "PNG")
    give(monkeypatch, data)
    found = open_photo("-", MAX_PIXELS)
    assert (found.name, found.source) == ("-", data)
    with pytest.raises(InputError, match="name it once"):
        list_named(["-", "a.jpg", "-"])
    give(monkeypatch, bytes(limit_bytes(1) + 1))
    with pytest.raises(ImageError, match="standard input: more than"):
        open_photo("-", 1)


def test_a_url_is_downloaded(server: ImageServer) -> None:
    url = server.url("ok", 3)
    found = open_photo(url, MAX_PIXELS, allow_private=True)
    assert found.name == url
    assert found.decode(32, MAX_PIXELS).original_size == (96, 64)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/ok/1", "forbidden_address"),
        ("http://localhost:{port}/ok/1", "forbidden_address"),
        ("http://[::ffff:127.0.0.1]:{port}/ok/1", "forbidden_address"),
        ("http://169.254.169.254/latest/meta-data", "forbidden_address"),
        ("http://10.0.0.1/a.jpg", "forbidden_address"),
        ("http://2130706433/a.jpg", "bad_url"),
        ("http://example.com:22/a.jpg", "forbidden_address"),
        ("http://user:secret@example.com/a.jpg", "bad_url"),
        ("http://", "bad_url"),
    ],
)
def test_a_private_address_is_refused_before_it_is_asked(
    url: str, reason: str, server: ImageServer
) -> None:
    before = server.counts()["requests"]
    with pytest.raises(InputError, match=reason):
        open_photo(url.format(port=server.ports[0]), MAX_PIXELS)
    assert server.counts()["requests"] == before


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("to-file", "bad_url"),
        ("circle", "redirect_circle"),
        ("missing", "http_404"),
        ("huge", "too_large"),
        ("endless", "too_large"),
        ("bomb", "too_large"),
        ("truncate", "truncated"),
        ("empty", "empty"),
    ],
)
def test_what_a_server_does_wrong_is_told(kind: str, reason: str, server: ImageServer) -> None:
    url = server.url(kind, 1)
    with pytest.raises(InputError, match=rf"{url}: .*\({reason}\)"):
        open_photo(url, MAX_PIXELS, allow_private=True)
