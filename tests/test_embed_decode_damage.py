"""Of files that are cut or damaged what is whole is kept, and all else refused with its reason."""

import random

import numpy as np
import pytest
from PIL import Image

from embed.decode import DecodedImage, ImageError, decode_image
from tests.images import (
    JPEG_VARIANTS,
    encode,
    jpeg_without_end,
    photo,
    pixels_of,
    png,
    png_chunk,
    reason_of,
)
from tests.mutants import damage, fix_checksums, intact


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


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_damaged_jpeg_decodes_to_what_pillow_makes_of_it(at: float) -> None:
    for seed in range(5):
        data = bytearray(encode(photo(64, 80, seed), "JPEG", subsampling=0))
        data[round(at * len(data))] ^= 0x55
        found = decode_image(bytes(data)).pixels
        np.testing.assert_array_equal(found, pixels_of(bytes(data)))


def test_a_header_hidden_from_one_of_two_parsers_does_not_enlarge_the_image() -> None:
    small, large = (encode(photo(side, side), "JPEG") for side in (16, 160))
    frame = large[large.index(b"\xff\xc0") : large.index(b"\xff\xc4")]
    for hidden in (b"\xff\x01" + frame, b"\xff\xd0" + frame, b"\0\0" + frame, frame[:-1] + b"\xff"):
        try:
            found = decode_image(small[:20] + hidden + small[20:], max_pixels=1600)
        except ImageError as error:
            assert error.reason in ("corrupt", "too_large", "truncated")
        else:
            assert found.pixels.size <= 3 * 1600


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


def test_damaged_files_decode_or_raise_image_error() -> None:
    chance = random.Random(7)
    outcomes: dict[str, int] = {}
    for data in intact():
        for _ in range(30):
            broken = damage(data, chance)
            if data[:4] == b"\x89PNG" and chance.random() < 0.7:
                broken = fix_checksums(broken)
            try:
                result = decode_image(broken, min_side=chance.choice((None, 10)))
            except ImageError as error:
                outcomes[error.reason] = outcomes.get(error.reason, 0) + 1
            else:
                assert isinstance(result, DecodedImage)
                assert result.pixels.ndim == 3 and result.pixels.dtype == np.uint8
                outcomes["decoded"] = outcomes.get("decoded", 0) + 1
    assert min(outcomes["decoded"], outcomes["truncated"], outcomes["corrupt"]) > 20, outcomes
