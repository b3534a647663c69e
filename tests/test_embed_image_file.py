"""An image inside a larger file is read like one of its own, and refused with the same reasons."""

from pathlib import Path

import numpy as np
import pytest

from embed.decode import ImageError, decode_image
from embed.image_file import FileSlice, read_image_file
from tests import images


@pytest.fixture
def photo() -> bytes:
    return images.encode(images.photo(40, 60), "JPEG")


def test_a_slice_is_the_image_that_was_put_there(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "all").write_bytes(b"before" + photo + b"after")
    file = FileSlice(tmp_path / "all", 6, len(photo))
    assert read_image_file(file, 1 << 20) == photo
    np.testing.assert_array_equal(decode_image(file).pixels, decode_image(photo).pixels)


@pytest.mark.parametrize(
    ("offset", "size", "limit", "reason"),
    [
        (0, 10, 10, None),
        (0, 11, 10, "too_large"),
        (5, 6, 10, "truncated"),
        (11, 1, 10, "truncated"),
        (3, 0, 10, None),
    ],
)
def test_edges_of_a_slice(
    offset: int, size: int, limit: int, reason: str | None, tmp_path: Path
) -> None:
    (tmp_path / "all").write_bytes(b"0123456789")
    file = FileSlice(tmp_path / "all", offset, size)
    if reason is None:
        assert read_image_file(file, limit) == b"0123456789"[offset : offset + size]
        return
    with pytest.raises(ImageError) as caught:
        read_image_file(file, limit)
    assert caught.value.reason == reason


def test_an_error_names_the_file_and_the_place(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"images_000\.tar from byte 512") as caught:
        decode_image(FileSlice(tmp_path / "images_000.tar", 512, 10))
    assert caught.value.reason == "missing"
