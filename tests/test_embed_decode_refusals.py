"""What decode_image refuses by content, format, file and size, without growing memory."""

import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from embed.decode import ImageError, decode_image
from tests.images import (
    encode,
    photo,
    png,
    png_bomb,
    png_chunk,
    reason_of,
    with_jpeg_size,
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not_an_image"),
        (b"\xff\xd8", "not_an_image"),
        (b"RIFF\x04\0\0\0WAVE", "not_an_image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "unsupported_format"),
        (b"%PDF-1.7", "unsupported_format"),
        (b"\xff\xd8\xff\xd9", "corrupt"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"RIFF\x04\0\0\0WEBP", "truncated"),
    ],
)
def test_content_that_is_no_image_has_a_reason(content: bytes, reason: str) -> None:
    assert reason_of(content) == reason


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_refused_whatever_their_extension(format: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(photo(8, 8), format))
    with pytest.raises(ImageError, match=f"is {format}; convert it to JPEG, PNG or WebP") as caught:
        decode_image(path)
    assert caught.value.reason == "unsupported_format"


def test_content_counts_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "really a png.jpeg"
    path.write_bytes(encode(photo(8, 8), "PNG"))
    np.testing.assert_array_equal(decode_image(path).pixels, photo(8, 8))


def test_paths_with_spaces_and_other_scripts(tmp_path: Path) -> None:
    folder = tmp_path / "Фото 写真"
    folder.mkdir()
    path = folder / "Köln & Dom (1).jpg"
    path.write_bytes(encode(photo(8, 8), "JPEG"))
    assert decode_image(path).original_size == (8, 8)


def test_file_problems_have_a_reason(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    assert reason_of(tmp_path / "absent.jpg") == "missing"
    assert reason_of(tmp_path) == "not_a_file"
    assert reason_of(pipe) == "not_a_file"
    assert reason_of(empty) == "empty"
    assert reason_of(empty / "inside.jpg") == "unreadable"
    assert reason_of(tmp_path / ("x" * 300)) == "unreadable"


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.jpg"
    path.write_bytes(encode(photo(8, 8), "JPEG"))

    def deny(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", deny)  # root may read a file of mode 0
    assert reason_of(path) == "no_permission"


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as stream:
        stream.write(b"\xff\xd8\xff")
        stream.truncate(1 << 34)  # sparse: 16 GiB that take no room on disk
    assert reason_of(path) == "too_large"


def test_message_names_file_finding_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(encode(photo(10, 20), "PNG"))
    with pytest.raises(ImageError) as caught:
        decode_image(path, max_pixels=199)
    assert str(caught.value) == (
        f"{path}: 20 x 10 pixels > 199 pixels; shrink the image, or raise decode.max_megapixels of "
        "the recipe (too_large)"
    )
    assert decode_image(path, max_pixels=200).original_size == (20, 10)


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("empty", "0 bytes", "a.jpg")))
    assert (error.reason, str(error)) == (
        "empty",
        "a.jpg: 0 bytes; copy or download the file again (empty)",
    )


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_huge_sizes_are_refused_from_the_header(format: str) -> None:
    data = encode(photo(8, 8), format, quality=80)
    if format == "JPEG":
        data = with_jpeg_size(data, 40_000, 40_000)
    else:
        data = data[:26] + struct.pack("<HH", 16_383, 16_383) + data[30:]
    assert reason_of(data) == "too_large"


def test_max_pixels_above_pillows_own_limit_does_not_warn() -> None:
    data = with_jpeg_size(encode(photo(8, 8), "JPEG"), 10_000, 9_500)
    assert reason_of(data, max_pixels=94_999_999) == "too_large"
    assert reason_of(png_bomb(10_000, 9_500)[:-12], max_pixels=95_000_000) == "truncated"


@pytest.mark.parametrize("size", [(40_000, 40_000), (25_000, 40_000)])
def test_unpacking_bombs_do_not_grow_memory(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bomb(*size))
    assert path.stat().st_size < 6 << 20
    script = (
        "import resource, sys, pathlib\n"
        "from embed.decode import ImageError, decode_image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try:\n"
        "    decode_image(pathlib.Path(sys.argv[1]))\n"
        "except ImageError as error:\n"
        "    print(error.reason, peak() - before)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    reason, grown = done.stdout.split()
    assert reason == "too_large"
    assert int(grown) * (1 if sys.platform == "darwin" else 1024) < 32 << 20


def test_png_bomb_writer_makes_valid_images() -> None:
    assert not decode_image(png_bomb(700, 1000)).pixels.any()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_and_profile_bombs_are_refused(kind: bytes) -> None:
    packed = zlib.compress(bytes(64 << 20))
    lead = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind]
    assert reason_of(png(1, 1, 8, 0, b"\0\0", png_chunk(kind, lead + packed))) == "corrupt"


def test_second_png_header_cannot_enlarge_the_image() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    assert reason_of(png(1, 1, 8, 0, b"\0\0", header)) == "corrupt"
