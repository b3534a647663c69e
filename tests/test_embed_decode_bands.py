"""Large images are converted a band of rows at a time: the same pixels, in little memory."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from embed import decode_result
from embed.decode import decode_image
from embed.decode_result import to_rgb
from tests.images import encode, exif_orientation, photo

ROOT = Path(__file__).resolve().parents[1]
# A kind of PNG, and what marks its transparency.
KINDS: dict[str, object] = {
    **{"1": None, "L": None, "LA": None, "RGB": None, "RGBA": None, "P": None, "I;16": None},
    **{"L, a level": 7, "RGB, a colour": (1, 2, 3), "P, a colour": 3, "I;16, a level": 515},
    "P, levels": bytes(range(0, 250, 5)),
}


def make(kind: str, height: int, width: int) -> Image.Image:
    mode = kind.split(",")[0]
    image = Image.fromarray(photo(height, width))
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(photo(height, width, 1)).convert("L"))
    if mode == "P":
        return image.quantize(50)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), dtype=np.uint16) * 257)
    return image.convert(mode)


@pytest.mark.parametrize("rows", [1, 2, 7, 12, 13])
@pytest.mark.parametrize("kind", KINDS)
def test_bands_change_no_pixel(kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {} if KINDS[kind] is None else {"transparency": KINDS[kind]}
    data = encode(make(kind, 13, 9), "PNG", **options)
    whole = decode_image(data).pixels
    monkeypatch.setattr(decode_result, "BAND", 9 * rows)
    np.testing.assert_array_equal(decode_image(data).pixels, whole)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "RGBa", "PA", "I;16B"])
def test_bands_change_no_pixel_of_modes_that_files_lack(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make("RGBA" if mode.endswith("a") else "LA" if mode == "PA" else "RGB", 13, 9)
    image = make("I;16", 13, 9) if mode == "I;16B" else image.convert(mode)
    whole = to_rgb(image)
    monkeypatch.setattr(decode_result, "BAND", 20)
    np.testing.assert_array_equal(to_rgb(image), whole)


TURNED = {  # EXIF 2.3, 4.6.4
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[::-1],
}


@given(st.integers(1, 8), st.integers(1, 70), st.integers(1, 70), st.sampled_from(["PNG", "JPEG"]))
def test_images_of_any_shape_are_turned_as_numpy_turns_them(
    orientation: int, height: int, width: int, format: str
) -> None:
    stored: NDArray[np.uint8] = photo(height, width)
    exif = exif_orientation(orientation)
    decoded = decode_image(encode(stored, format, exif=exif))
    plain = decode_image(encode(stored, format)).pixels
    np.testing.assert_array_equal(decoded.pixels, TURNED[orientation](plain))
    assert decoded.pixels.flags.c_contiguous and decoded.pixels.flags.writeable
    assert decoded.original_size == decoded.pixels.shape[1::-1]


# The peak of getrusage begins with that of the process that started this one.
PEAK = """
import re, sys
from embed.decode import decode_image
def peak():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", file.read())[1]) * 1024
data = sys.stdin.buffer.read()
before = peak()
pixels = decode_image(data).pixels
print((peak() - before) * 3 / pixels.size)
"""


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "P"])
def test_a_large_png_takes_little_more_than_its_pixels(kind: str) -> None:
    """Pillow holds 4 bytes a pixel of colours, and the result 3; nothing holds all once more."""
    image = Image.new(kind, (4000, 4000))
    written = io.BytesIO()
    image.save(written, "PNG", compress_level=1, exif=exif_orientation(3))
    done = subprocess.run(
        [sys.executable, "-c", PEAK], input=written.getvalue(), cwd=ROOT, capture_output=True
    )
    assert not done.returncode, done.stderr
    assert float(done.stdout) < 9  # bytes a pixel; 10 to 18 where each step copies the whole
