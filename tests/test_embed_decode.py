"""The pixels that decode_image returns, beside plain Pillow or numpy."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from embed.decode import decode_image
from tests.images import (
    JPEG_VARIANTS,
    encode,
    exif_orientation,
    jpeg_without_end,
    photo,
    pixels_of,
    png,
    png_chunk,
    store_rotated,
)


@pytest.mark.parametrize("variant", JPEG_VARIANTS)
def test_jpeg_pixels_equal_plain_pillow(variant: str) -> None:
    data = encode(photo(61, 83), "JPEG", **JPEG_VARIANTS[variant])
    decoded = decode_image(data)
    np.testing.assert_array_equal(decoded.pixels, pixels_of(data))
    assert decoded.original_size == (83, 61)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_lossless_formats_return_the_stored_pixels(format: str) -> None:
    image = photo(40, 50)
    decoded = decode_image(encode(image, format, lossless=True))
    np.testing.assert_array_equal(decoded.pixels, image)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous and decoded.pixels.flags.writeable


@pytest.mark.parametrize("side", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_thin_images_keep_their_shape(side: tuple[int, int], format: str) -> None:
    decoded = decode_image(encode(np.full((*side, 3), 200, np.uint8), format), min_side=256)
    assert decoded.pixels.shape == (*side, 3)
    assert abs(decoded.pixels.astype(int) - 200).max() <= 2


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, format: str, byte_order: str) -> None:
    upright = np.full((24, 40, 3), 255, np.uint8)
    upright[:8, :16] = (255, 0, 0)  # a mark in the top left corner, wider than high
    stored = store_rotated(upright, orientation)
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {"lossless": True}
    data = encode(stored, format, exif=exif_orientation(orientation, byte_order), **options)
    decoded = decode_image(data)
    assert decoded.original_size == (40, 24)
    assert abs(decoded.pixels.astype(int) - upright).max() <= 3


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif_orientation(1)[:-10],
        exif_orientation(9),
        b"junk",
    ],
)
def test_broken_exif_means_upright(exif: bytes) -> None:
    assert decode_image(encode(photo(16, 32), "JPEG", exif=exif)).original_size == (32, 16)


@pytest.mark.parametrize(
    ("min_side", "scale"), [(None, 1), (401, 1), (400, 1), (201, 1), (200, 2), (100, 4), (50, 8)]
)
def test_min_side_scales_a_jpeg_no_further_than_allowed(min_side: int | None, scale: int) -> None:
    decoded = decode_image(encode(photo(400, 600), "JPEG"), min_side=min_side)
    assert decoded.pixels.shape == (400 // scale, 600 // scale, 3)
    assert decoded.original_size == (600, 400)


@pytest.mark.parametrize("variant", JPEG_VARIANTS)
@pytest.mark.parametrize("min_side", [1, 30, 61, 120, 121, 200])
def test_scaled_pixels_equal_pillows_draft(variant: str, min_side: int) -> None:
    for source in (Image.fromarray(photo(243, 391)), Image.fromarray(photo(243, 391)).convert("L")):
        options = dict(JPEG_VARIANTS[variant])
        if source.mode == "L":
            options.pop("subsampling", None)
        data = encode(source, "JPEG", **options)
        image = Image.open(io.BytesIO(data))
        image.draft(image.mode, (min_side, min_side))
        found = decode_image(data, min_side=min_side).pixels
        np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


def test_odd_subsampling_decodes_as_with_pillow() -> None:
    data = bytearray(encode(photo(60, 80), "JPEG", subsampling=0))
    data[data.index(b"\xff\xc0") + 11] = (
        0x31  # three times as wide, which TurboJPEG has no name for
    )
    np.testing.assert_array_equal(decode_image(bytes(data)).pixels, pixels_of(bytes(data)))


def test_min_side_holds_for_every_size_and_turned_images() -> None:
    for height, width, min_side in [(333, 517, 40), (97, 1000, 13), (255, 256, 128), (64, 65, 9)]:
        data = encode(photo(height, width), "JPEG", exif=exif_orientation(6))
        decoded = decode_image(data, min_side=min_side)
        assert min(decoded.pixels.shape[:2]) >= min(min_side, height, width)
        assert decoded.original_size == (height, width)
        assert decoded.pixels.shape[0] > decoded.pixels.shape[1]


def test_scaled_jpeg_is_close_to_the_box_average() -> None:
    data = encode(photo(320, 480), "JPEG", quality=95)
    scaled = decode_image(data, min_side=80).pixels.astype(int)
    average = pixels_of(data).reshape(80, 4, 120, 4, 3).mean((1, 3))
    assert abs(scaled - average).mean() < 2


@pytest.mark.parametrize("min_side", [0, -5])
def test_impossible_arguments_are_refused(min_side: int) -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        decode_image(b"", min_side=min_side)
    with pytest.raises(ValueError, match="must be >= 1"):
        decode_image(b"", max_pixels=min_side)


@pytest.mark.parametrize("lossless", [True, False])
def test_transparency_is_composited_over_white(lossless: bool) -> None:
    image = np.zeros((16, 48, 4), np.uint8)
    image[..., 0] = 200
    image[:, :16, 3], image[:, 32:, 3] = 255, 102
    expected = [(200, 0, 0), (255, 255, 255), (233, 153, 153)]  # last: 0.4 red + 0.6 white
    for data in (encode(image, "PNG"), encode(image, "WEBP", lossless=lossless, quality=100)):
        got = decode_image(data).pixels[8, [8, 24, 40]].astype(int)
        assert abs(got - np.array(expected)).max() <= (1 if lossless else 6)


def test_grey_with_alpha() -> None:
    grey_alpha = np.array([[[50, 255], [50, 0]]], np.uint8)
    decoded = decode_image(encode(Image.fromarray(grey_alpha, "LA"), "PNG"))
    np.testing.assert_array_equal(decoded.pixels[0, :, 0], [50, 255])


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    plain = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]
    np.testing.assert_array_equal(decode_image(encode(image, "PNG")).pixels[0], plain)
    for transparency in (1, b"\xff\x00\xff"):
        pixels = decode_image(encode(image, "PNG", transparency=transparency)).pixels
        np.testing.assert_array_equal(pixels[0], [plain[0], (255, 255, 255), plain[2]])
    half = decode_image(encode(image, "PNG", transparency=b"\xff\x80\xff")).pixels[0, 1]
    assert abs(half.astype(int) - (147, 152, 157)).max() <= 1  # 255 + (128 / 255) * (p - 255)


def test_grey_and_one_bit() -> None:
    grey = Image.fromarray(photo(20, 30)).convert("L")
    for format in ("PNG", "JPEG"):
        data = encode(grey, format)
        np.testing.assert_array_equal(decode_image(data).pixels, pixels_of(data))
    bits = np.array([[True, False, True]])
    decoded = decode_image(encode(Image.fromarray(bits), "PNG"))
    np.testing.assert_array_equal(decoded.pixels[0, :, 2], [255, 0, 255])


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 12850, 40000, 65535]], np.uint16)
    decoded = decode_image(encode(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(decoded.pixels[0, :, 1], [0, 1, 50, 156, 255])


def test_sixteen_bit_colour_is_scaled_not_clipped() -> None:
    row = b"\0" + struct.pack(">6H", 257, 12850, 65535, 0, 40000, 256)
    decoded = decode_image(png(2, 1, 16, 2, row))
    np.testing.assert_array_equal(decoded.pixels[0], [(1, 50, 255), (0, 156, 1)])


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key"),
    [
        (1, 0, b"\x40", b"\0\x01"),
        (2, 0, b"\x10", b"\0\x01"),
        (4, 0, b"\x03", b"\0\x03"),
        (8, 0, b"\x00\x03", b"\0\x03"),
        (16, 0, b"\x00\x00\x12\x34", b"\x12\x34"),
        (8, 2, b"\0\0\0\1\2\3", b"\0\1\0\2\0\3"),
        (16, 2, bytes(6) + b"\x12\x34" * 3, b"\x12\x34" * 3),
    ],
)
def test_colour_keyed_transparency_at_every_depth(
    depth: int, colour: int, row: bytes, key: bytes
) -> None:
    decoded = decode_image(png(2, 1, depth, colour, b"\0" + row, png_chunk(b"tRNS", key)))
    np.testing.assert_array_equal(decoded.pixels[0], [(0, 0, 0), (255, 255, 255)])


def test_cmyk_jpeg_keeps_its_colours() -> None:
    image = Image.fromarray(photo(32, 48)).convert("CMYK")
    data = encode(image, "JPEG", quality=100)
    assert b"Adobe" in data  # written inverted, as Photoshop does
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert abs(decode_image(data).pixels - expected).mean() < 3


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_animations_give_their_first_frame(format: str) -> None:
    first, second = Image.new("RGB", (20, 10), "red"), Image.new("RGB", (20, 10), "blue")
    data = encode(first, format, save_all=True, append_images=[second, first], lossless=True)
    assert data != encode(first, format, lossless=True)
    decoded = decode_image(data)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(first))


def test_invalid_animation_control_is_ignored_without_warning() -> None:
    control = png_chunk(b"acTL", bytes(8))
    decoded = decode_image(png(1, 1, 8, 0, b"\0\x07", control, control))
    assert decoded.pixels[0, 0, 0] == 7


def test_multi_picture_jpeg_gives_its_first_picture() -> None:
    first, second = Image.fromarray(photo(30, 40, 1)), Image.fromarray(photo(30, 40, 2))
    data = encode(first, "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    np.testing.assert_array_equal(decode_image(data).pixels, pixels_of(encode(first, "JPEG")))


def test_pillow_globals_stay_as_they_are() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode_image(encode(photo(8, 8), "JPEG"))
    assert Image.MAX_IMAGE_PIXELS == before


def test_threads_give_the_same_pixels() -> None:
    files = [encode(photo(60, 70, seed), "JPEG") for seed in range(4)]
    files += [jpeg_without_end(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(decode_image, files * 3))
    for data, result in zip(files * 3, results, strict=True):
        np.testing.assert_array_equal(result.pixels, decode_image(data).pixels)
