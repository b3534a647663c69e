"""The sizes at which downloaded images are stored."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.decode import ImageError, decode_image
from pipelines.sources.download.sizes import convert, parse_size, resize
from tests.images import encode, exif_orientation, jpeg_without_end, photo, store_rotated


def stored_shape(data: bytes, size: str) -> tuple[int, ...]:
    return decode_image(convert(data, parse_size(size))).pixels.shape


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("original", (300, 400, 3)),
        ("128", (128, 128, 3)),
        ("256", (256, 256, 3)),
        ("512", (512, 512, 3)),
        ("250-crop", (250, 250, 3)),
        ("200-fit", (150, 200, 3)),
        ("1024-fit", (300, 400, 3)),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_an_image_gets_the_size_asked_for_as_a_jpeg(
    size: str, shape: tuple[int, ...], format: str
) -> None:
    data = encode(photo(300, 400), format)
    assert stored_shape(data, size) == shape
    assert convert(data, parse_size(size))[:3] == b"\xff\xd8\xff"


def test_an_original_jpeg_is_kept_byte_by_byte() -> None:
    data = encode(photo(30, 40), "JPEG")
    assert convert(data, parse_size("original")) is data


def test_a_square_squeezes_and_a_crop_cuts() -> None:
    left = np.zeros((100, 300, 3), np.uint8)
    left[:, :100] = 255
    squeezed = resize(left, parse_size("60"))
    assert squeezed[:, :20].min() == 255 and squeezed[:, 20:].max() == 0
    assert resize(left, parse_size("60-crop")).max() == 0


def block_means(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """Shrink by a whole factor, slowly."""
    step = pixels.shape[0] // side
    blocks = pixels.reshape(side, step, side, step, 3).astype(float)
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return means


def test_shrinking_takes_the_mean_of_the_pixels_below() -> None:
    pixels = photo(128, 128)
    shrunk = resize(pixels, parse_size("32"))
    assert np.abs(shrunk - block_means(pixels, 32)).max() <= 0.51


def test_a_photo_lying_on_its_side_is_stored_upright() -> None:
    upright = photo(160, 240)
    data = encode(store_rotated(upright, 6), "JPEG", exif=exif_orientation(6), quality=95)
    stored = decode_image(convert(data, parse_size("120-fit"))).pixels
    assert stored.shape == (80, 120, 3)
    assert np.abs(stored.astype(int) - resize(upright, parse_size("120-fit"))).mean() < 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (15, 10)])
@pytest.mark.parametrize("size", ["original", "128", "250-crop", "64-fit"])
def test_tiny_and_thin_images_are_stored(shape: tuple[int, int], size: str) -> None:
    assert min(stored_shape(encode(np.zeros((*shape, 3), np.uint8), "PNG"), size)) >= 1


@pytest.mark.parametrize("size", ["original", "128"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html>", "not_an_image"),
        (b"GIF89a" + bytes(50), "unsupported_format"),
        (encode(photo(100, 100), "JPEG")[:2000], "truncated"),
        (encode(photo(100, 100), "PNG")[:2000], "truncated"),
    ],
    ids=["page", "gif", "jpeg cut", "png cut"],
)
def test_what_is_no_whole_image_is_refused(data: bytes, reason: str, size: str) -> None:
    with pytest.raises(ImageError) as caught:
        convert(data, parse_size(size))
    assert caught.value.reason == reason


@pytest.mark.parametrize("extra", [b"\0" * 20, b"trailer"])
def test_bytes_after_the_end_of_a_jpeg_do_no_harm(extra: bytes) -> None:
    data = encode(photo(30, 40), "JPEG") + extra
    assert convert(data, parse_size("original")) == data


def test_a_jpeg_that_lost_nothing_but_its_end_marker_is_kept() -> None:
    data = jpeg_without_end(encode(photo(48, 64), "JPEG"))
    assert convert(data, parse_size("original")) == data


@pytest.mark.parametrize("name", ["", "0", "8", "big", "256x256", "250-cut", "-5", "99999", "٢٥٦"])
def test_an_unknown_size_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(ValueError, match="choose original"):
        parse_size(name)
