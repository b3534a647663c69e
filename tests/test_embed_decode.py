"""Check what decode_image accepts, refuses and returns; the oracle is plain Pillow or numpy."""

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embed.decode import DecodedImage, ImageError, decode_image
from tests.images import (
    encode,
    exif_orientation,
    jpeg_without_end,
    photo,
    png,
    png_bomb,
    png_chunk,
    store_rotated,
    with_jpeg_size,
)

JPEG_VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "fine": {"quality": 98, "subsampling": 0},
    "restarts": {"restart_marker_blocks": 3},
    "progressive restarts": {"progressive": True, "restart_marker_blocks": 5},
}
ROOT = Path(__file__).resolve().parents[1]


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    """Decode with plain Pillow: the oracle for files without oddities."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def reason_of(source: Path | bytes, max_pixels: int = 50_000_000) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(source, max_pixels=max_pixels)
    return caught.value.reason


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
    [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", exif_orientation(1)[:-10], b"junk"],
)
def test_broken_exif_means_upright(exif: bytes) -> None:
    assert decode_image(encode(photo(16, 32), "JPEG", exif=exif)).original_size == (32, 16)


def test_out_of_range_orientation_means_upright() -> None:
    data = encode(photo(16, 32), "JPEG", exif=exif_orientation(9))
    np.testing.assert_array_equal(decode_image(data).pixels, pixels_of(data))


@pytest.mark.parametrize(
    ("min_side", "scale"), [(None, 1), (401, 1), (400, 1), (201, 1), (200, 2), (100, 4), (50, 8)]
)
def test_min_side_scales_a_jpeg_no_further_than_allowed(min_side: int | None, scale: int) -> None:
    decoded = decode_image(encode(photo(400, 600), "JPEG"), min_side=min_side)
    assert decoded.pixels.shape == (400 // scale, 600 // scale, 3)
    assert decoded.original_size == (600, 400)


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


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\xff\xd9", b"\xff\xd8 motion \xff\xda" * 999])
def test_bytes_after_a_jpeg_are_ignored(tail: bytes) -> None:
    data = encode(photo(30, 40), "JPEG")
    np.testing.assert_array_equal(decode_image(data + tail).pixels, pixels_of(data))


@pytest.mark.parametrize("tail", [b"", b"\xff"])
@pytest.mark.parametrize("variant", JPEG_VARIANTS)
def test_jpeg_that_only_lacks_its_end_marker_is_kept(variant: str, tail: bytes) -> None:
    for seed in range(8):
        image = photo(33 + 7 * seed, 90 - 9 * seed, seed)
        image[40:] = (0, 255, 128)[seed % 3]  # flat ends are the hard case
        for source in (Image.fromarray(image), Image.fromarray(image).convert("L")):
            options = dict(JPEG_VARIANTS[variant])
            if source.mode == "L":
                options.pop("subsampling", None)
            data = encode(source, "JPEG", **options)
            decoded = decode_image(jpeg_without_end(data) + tail)
            np.testing.assert_array_equal(decoded.pixels, pixels_of(data))


@pytest.mark.parametrize("tail", [b"", b"\xff", bytes(9000)])
@pytest.mark.parametrize("variant", JPEG_VARIANTS)
def test_jpeg_that_lost_pixel_data_is_refused(variant: str, tail: bytes) -> None:
    for seed in range(3):
        data = encode(photo(64 + seed, 80 - 3 * seed, seed), "JPEG", **JPEG_VARIANTS[variant])
        whole = pixels_of(data)
        start = data.index(b"\xff\xda") + 14
        refused = 0
        for lost in {1, 2, 3, 4, 7, 11, 20, 60, 150, *range(200, len(data) - start, 97)}:
            try:
                decoded = decode_image(jpeg_without_end(data, lost) + tail)
            except ImageError as error:
                assert error.reason == "truncated"
                refused += 1
            else:  # possible only if the lost bytes held nothing but zero coefficients
                np.testing.assert_array_equal(decoded.pixels, whole)
                assert lost <= 2
        assert refused >= 9


def test_truncation_verdict_does_not_depend_on_min_side() -> None:
    data = encode(photo(200, 300), "JPEG")
    assert decode_image(jpeg_without_end(data), min_side=25).pixels.shape == (25, 38, 3)
    with pytest.raises(ImageError, match=r"truncated"):
        decode_image(jpeg_without_end(data, 1), min_side=25)


@pytest.mark.parametrize("variant", ["baseline", "fine", "restarts"])
def test_cut_jpeg_with_an_end_marker_put_back_is_refused(variant: str) -> None:
    data = encode(photo(128, 128), "JPEG", **JPEG_VARIANTS[variant])
    assert reason_of(jpeg_without_end(data, 400) + b"\xff\xd9") == "truncated"


def test_intact_jpeg_with_grey_end_is_kept() -> None:
    for mode in ("RGB", "L", "CMYK"):
        data = encode(Image.new("RGB", (64, 64), (128, 128, 128)).convert(mode), "JPEG")
        np.testing.assert_array_equal(decode_image(data).pixels, pixels_of(data))


def test_progressive_jpeg_cut_between_scans_is_refused() -> None:
    data = encode(photo(64, 64), "JPEG", progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for scan in scans[1:]:
        for cut in (data[:scan], data[: scan + 1], data[: scan + 5], data[: scan + 12]):
            assert reason_of(cut) == "truncated"


def test_jpeg_with_absurdly_many_scans_is_refused() -> None:
    data = encode(photo(64, 64), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert reason_of(data[:-2] + scan * 200 + b"\xff\xd9") == "corrupt"


def test_files_of_countless_tiny_parts_are_refused() -> None:
    data = encode(photo(8, 8), "JPEG")
    assert reason_of(data[:2] + b"\xff\xfe\0\2" * 100_001 + data[2:]) == "corrupt"
    assert reason_of(png(1, 1, 8, 0, b"\0\0", png_chunk(b"teST", b"") * 100_001)) == "corrupt"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_files_cut_anywhere_are_refused(format: str) -> None:
    data = encode(photo(90, 80), format)
    for length in range(34, len(data) - 2, len(data) // 25):
        assert reason_of(data[:length]) == "truncated", length


def test_png_without_its_last_chunk_is_refused() -> None:
    assert reason_of(encode(photo(9, 9), "PNG")[:-12]) == "truncated"


def test_png_with_wrong_checksum_is_corrupt() -> None:
    data = bytearray(encode(photo(9, 9), "PNG"))
    data[data.index(b"IDAT") + 30] ^= 1
    assert reason_of(bytes(data)) == "corrupt"


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


def test_animated_gif_is_refused() -> None:
    frames = [Image.new("P", (8, 8), colour) for colour in (1, 2)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert reason_of(data) == "unsupported_format"


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


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Flip up to 8 bytes and perhaps cut the end off."""
    broken = bytearray(data)
    for _ in range(chance.randrange(1, 9)):
        broken[chance.randrange(len(broken))] = chance.randrange(256)
    return bytes(broken[: chance.randrange(len(broken))] if chance.random() < 0.3 else broken)


def with_fixed_checksums(data: bytes) -> bytes:
    """Recompute PNG checksums, so that damage reaches the decoder."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        parts.append(png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts)


def samples() -> Iterator[bytes]:
    image = photo(48, 64)
    exif = exif_orientation(5)
    for options in JPEG_VARIANTS.values():
        yield encode(image, "JPEG", exif=exif, **options)
    yield encode(Image.fromarray(image).convert("CMYK"), "JPEG")
    for mode in ("RGB", "P", "LA", "1", "I;16"):
        yield encode(Image.fromarray(image).convert("L" if mode[0] == "I" else mode), "PNG")
    yield png(2, 1, 2, 0, b"\0\x10", png_chunk(b"tRNS", b"\0\1"), png_chunk(b"eXIf", exif[6:]))
    frames = [Image.fromarray(photo(20, 20, seed)) for seed in (1, 2)]
    for format in ("PNG", "WEBP"):
        yield encode(frames[0], format, save_all=True, append_images=frames[1:], exif=exif)
    yield encode(image, "WEBP")
    yield encode(image, "WEBP", lossless=True)


def test_damaged_files_decode_or_raise_image_error() -> None:
    chance = random.Random(7)
    outcomes: dict[str, int] = {}
    for data in samples():
        for _ in range(30):
            broken = damaged(data, chance)
            if data[:4] == b"\x89PNG" and chance.random() < 0.7:
                broken = with_fixed_checksums(broken)
            try:
                result = decode_image(broken, min_side=chance.choice((None, 10)))
            except ImageError as error:
                outcomes[error.reason] = outcomes.get(error.reason, 0) + 1
            else:
                assert isinstance(result, DecodedImage)
                assert result.pixels.ndim == 3 and result.pixels.dtype == np.uint8
                outcomes["decoded"] = outcomes.get("decoded", 0) + 1
    assert min(outcomes["decoded"], outcomes["truncated"], outcomes["corrupt"]) > 20, outcomes
