"""Fingerprints of images and their comparison: which changes leave a photo the same photo."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from embed.image_file import FileSlice, ImageFile
from pipelines.datasets.checking.duplicates import (
    MAX_DISTANCE,
    MIN_CONTRAST,
    MIN_SIMILARITY,
    compare,
)
from pipelines.datasets.checking.fingerprint import SIDE, Fingerprint, take_fingerprint
from tests.datasets import view
from tests.images import encode, exif_orientation, photo, store_rotated

MAX_PIXELS = 10**6


def take(folder: Path, data: bytes) -> Fingerprint:
    path = folder / "image"
    path.write_bytes(data)
    return take_fingerprint(path, MAX_PIXELS)


def are_duplicates(one: Fingerprint, other: Fingerprint) -> bool:
    assert one.phash is not None and other.phash is not None
    pictures = [
        np.frombuffer(f.thumbnail or b"", np.uint8).reshape(SIDE, SIDE) for f in (one, other)
    ]
    near = (one.phash ^ other.phash).bit_count() <= MAX_DISTANCE
    return near and compare(*pictures) >= MIN_SIMILARITY


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP"])
def test_a_fingerprint_names_format_size_and_bytes(format: str, tmp_path: Path) -> None:
    data = encode(photo(60, 90), format)
    found = take(tmp_path, data)
    assert (found.format, found.width, found.height) == (format, 90, 60)
    assert found.sha256 == hashlib.sha256(data).digest()
    assert found.reason is None and found.found is None


def test_the_size_is_that_of_the_upright_original(tmp_path: Path) -> None:
    upright = photo(1200, 800)  # decoded at a fraction of it
    stored = encode(store_rotated(upright, 6), "JPEG", exif=exif_orientation(6))
    found = take(tmp_path, stored)
    assert (found.width, found.height) == (800, 1200)
    assert are_duplicates(found, take(tmp_path, encode(upright, "JPEG")))


def test_the_hash_is_that_of_the_library(tmp_path: Path) -> None:
    image = Image.fromarray(photo(200, 150))
    expected = imagehash.phash(image).hash.ravel()
    found = take(tmp_path, encode(image, "PNG"))
    assert f"{found.phash:064b}" == "".join("01"[bit] for bit in expected.astype(int))


def test_an_image_in_a_larger_file_has_the_same_fingerprint(tmp_path: Path) -> None:
    data = encode(photo(60, 90), "JPEG")
    (tmp_path / "tar").write_bytes(b"x" * 512 + data + b"y" * 512)
    inside: ImageFile = FileSlice(tmp_path / "tar", 512, len(data))
    assert take_fingerprint(inside, MAX_PIXELS) == take(tmp_path, data)


def test_an_image_that_cannot_be_read_has_a_reason(tmp_path: Path) -> None:
    missing = take_fingerprint(tmp_path / "absent", MAX_PIXELS)
    assert missing == Fingerprint(reason="missing", found="no such file")
    empty = take(tmp_path, b"")
    assert (empty.reason, empty.sha256) == ("empty", hashlib.sha256(b"").digest())
    large = take(tmp_path, encode(photo(1001, 1000), "PNG"))
    assert (large.reason, large.width) == ("too_large", None)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((48, 48)),
    "cut": lambda image: image.crop((2, 2, 94, 94)),
    "grey": lambda image: image.convert("L"),
    "brighter": lambda image: image.point(lambda value: min(255, round(value * 1.2))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_photo_saved_anew_is_a_duplicate(name: str, tmp_path: Path) -> None:
    for landmark in range(4):
        image = Image.fromarray(view(landmark, 0))
        known = take(tmp_path, encode(image, "JPEG", quality=95))
        again = take(tmp_path, encode(CHANGES[name](image), "JPEG", quality=50))
        assert are_duplicates(known, again), landmark


def test_other_views_and_mirror_images_are_no_duplicates(tmp_path: Path) -> None:
    known = take(tmp_path, encode(view(0, 0), "JPEG"))
    others = [view(0, 1), view(0, 2), view(1, 0), view(0, 0)[:, ::-1]]
    assert not any(are_duplicates(known, take(tmp_path, encode(other, "JPEG"))) for other in others)


def test_the_comparison_leaves_out_brightness_and_contrast() -> None:
    picture = np.asarray(Image.fromarray(view(0, 0)).convert("L").resize((SIDE, SIDE)))
    assert compare(picture, picture // 2 + 40) > 0.999
    assert compare(picture, 255 - picture) < 0


@pytest.mark.parametrize("noise", [0, 5, 20])
def test_noise_alone_is_blank_and_a_dim_photo_is_not(noise: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = np.clip(60 + rng.normal(0, noise, (300, 400, 3)), 0, 255).astype(np.uint8)
    blank, dim = (take(tmp_path, encode(pixels, "JPEG")) for pixels in (flat, view(0, 0) // 8))
    assert blank.contrast is not None and blank.contrast < MIN_CONTRAST
    assert dim.contrast is not None and dim.contrast > MIN_CONTRAST
