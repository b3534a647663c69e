"""Images become squares, squeezed or cut, or rectangles of their shape, and the network's input."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from embed.backbone import BackboneSpec
from embed.images import ImageLoader
from embed.meter import Meter
from embed.tensors import normalize, to_tensor
from embed.transforms import MAX_ASPECT, Square, fit_shape, resize_image
from tests.images import photo


def shrink_by_areas(pixels: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """Average the areas that each pixel of a square covers: the oracle of shrinking."""
    for _ in range(2):  # rows, then columns
        fine = np.repeat(pixels, size, axis=0)  # each row `size` times: whole ones for each of them
        pixels = fine.reshape(size, -1, *fine.shape[1:]).mean(axis=1).swapaxes(0, 1)
    return np.asarray(pixels, dtype=np.float64)


@pytest.mark.parametrize(("height", "width", "size"), [(60, 40, 30), (40, 40, 40), (120, 90, 30)])
def test_the_whole_image_is_squeezed_unless_told_otherwise(
    height: int, width: int, size: int
) -> None:
    pixels = photo(height, width)
    expected = shrink_by_areas(pixels, size)
    for found in (resize_image(pixels, size), resize_image(pixels, size, "squeeze")):
        assert found.dtype == np.uint8 and found.shape == (size, size, 3)
        assert np.abs(found - expected).mean() < 2


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_halves_are_exact_means(factor: int) -> None:
    pixels = photo(24 * factor, 24)
    expected = pixels.reshape(24, factor, 24, 3).mean(axis=1)
    assert np.abs(resize_image(pixels, 24) - expected).max() <= 1.5  # rounded at each half


@pytest.mark.parametrize("width", [60, 61, 77, 90, 119, 120, 243, 500])
def test_halving_turns_what_is_too_fine_into_grey(width: int) -> None:
    pixels = np.zeros((40, width, 3), np.uint8)
    pixels[:, ::2] = 255  # what skips pixels sees stripes of both
    assert resize_image(pixels, 30).std() < 8


@pytest.mark.parametrize("width", [224, 301, 447, 449, 899, 1795, 3591])
def test_a_shrunk_image_is_not_shifted(width: int) -> None:
    row = np.linspace(0, 255, width)
    pixels = np.tile(row[None, :, None], (224, 1, 3)).round().astype(np.uint8)
    expected = (np.arange(224) + 0.5) / 224 * 255
    assert np.abs(resize_image(pixels, 224) - expected[:, None]).max() < 2.5  # a pixel is 1.1


@pytest.mark.parametrize(("height", "width"), [(60, 20), (9, 7), (1, 1), (30, 10)])
def test_enlarging_interpolates(height: int, width: int) -> None:
    pixels = photo(height, width)
    half = cv2.resize(pixels, (width, 30)) if height >= 60 else pixels
    assert resize_image(pixels, 30).tobytes() == np.asarray(cv2.resize(half, (30, 30))).tobytes()


@pytest.mark.parametrize(
    ("height", "width", "top", "left"), [(70, 40, 15, 0), (40, 71, 0, 15), (40, 40, 0, 0)]
)
@pytest.mark.parametrize("size", [20, 64])
def test_a_crop_is_the_squeezed_middle_square(
    height: int, width: int, top: int, left: int, size: int
) -> None:
    pixels = photo(height, width)
    middle = np.ascontiguousarray(pixels[top : top + 40, left : left + 40])
    found = resize_image(pixels, size, "crop")
    assert found.tobytes() == resize_image(middle, size).tobytes()


@pytest.mark.parametrize(("square", "share"), [("squeeze", 0.24), ("crop", 0.48)])
def test_a_crop_keeps_the_aspect_ratio(square: Square, share: float) -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[25:75, 76:124] = 255
    found = resize_image(pixels, 100, square) > 127
    assert found[50].mean() == share and found[:, 50].mean() == 0.5


@pytest.mark.parametrize("square", ["squeeze", "crop"])
@pytest.mark.parametrize(("height", "width"), [(800, 240), (240, 800)])
def test_files_are_decoded_for_their_shorter_side(
    square: Square, height: int, width: int, tmp_path: Path
) -> None:
    path = tmp_path / "long.jpg"
    pixels = photo(height, width)
    Image.fromarray(pixels).save(path, quality=95)
    item = ImageLoader(120, 10**6, square).load(0, path, Meter())
    assert isinstance(item, tuple)
    decoded = np.asarray(Image.open(path))
    # Decoded at half the size, the image is nearly that of the whole shrunk: not at a quarter.
    expected = resize_image(decoded, 120, square).astype(int)
    assert item[0] == 0 and item[1].shape == (3, 120, 120)
    assert np.abs(item[1].numpy().transpose(1, 2, 0) - expected).mean() < 1


def test_files_are_squeezed_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    pixels = photo(50, 30)
    Image.fromarray(pixels).save(path)
    squares: dict[Square, ImageLoader] = {
        "squeeze": ImageLoader(40, 10**6),
        "crop": ImageLoader(40, 10**6, "crop"),
    }
    for square, loader in squares.items():
        item = loader.load(0, path, Meter())
        assert isinstance(item, tuple)
        assert torch.equal(item[1], to_tensor(resize_image(pixels, 40, square)))


GRIDS = [(224, 32), (128, 32), (518, 14), (197, 32), (384, 16)]


@pytest.mark.parametrize(("side", "cell"), [*GRIDS, (32, 32)])
def test_a_fitted_shape_is_of_whole_cells_and_turns_with_the_image(side: int, cell: int) -> None:
    assert fit_shape((77, 77), side, cell) == (side, side)
    for width in range(100, 700, 7):
        height, found = fit_shape((100, width), side, cell), fit_shape((width, 100), side, cell)
        assert height == found[::-1]
        assert all(length > 0 and (length - side) % cell == 0 for length in found)
        assert found[1] <= side <= found[0]


@pytest.mark.parametrize(("side", "cell"), GRIDS)
def test_a_fitted_shape_keeps_ratio_and_area_as_nearly_as_cells_allow(side: int, cell: int) -> None:
    for width in range(100, 301):
        shape = fit_shape((100, width), side, cell)
        assert shape[1] / shape[0] / (width / 100) == pytest.approx(1, abs=cell / side)
        assert shape[0] * shape[1] / side**2 == pytest.approx(1, abs=2 * cell / side)


@pytest.mark.parametrize("size", [(1, 9000), (9000, 1), (1, 4), (2, 7)])
def test_a_panorama_becomes_no_line(size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    found = resize_image(pixels, 224, "fit", 32)
    assert sorted(found.shape[:2]) == [128, 384]
    assert 384 / 128 == MAX_ASPECT


@pytest.mark.parametrize(("side", "cell"), GRIDS)
def test_files_are_decoded_large_enough_for_the_shape_they_are_fitted_to(
    side: int, cell: int
) -> None:
    least = ImageLoader(side, 10**6, "fit", cell).needed_side
    for width in range(1000, 5000, 3):
        height, needed = fit_shape((1000, width), side, cell)
        assert min(least, 1000) >= height and least * width / 1000 >= needed


def test_a_fitted_file_keeps_its_aspect_ratio(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    pixels = photo(90, 120)
    Image.fromarray(pixels).save(path)
    item = ImageLoader(64, 10**6, "fit").load(0, path, Meter())
    assert isinstance(item, tuple) and item[1].shape == (3, 55, 74)
    assert torch.equal(item[1], to_tensor(resize_image(pixels, 64, "fit")))


def test_values_are_normalised_channel_by_channel() -> None:
    images = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2) * 10
    spec = BackboneSpec("test_resnet", mean=(0.5, 0.25, 0.0), std=(1.0, 0.5, 0.25))
    expected = images.numpy() / 255.0 - np.reshape([0.5, 0.25, 0.0], (1, 3, 1, 1))
    expected /= np.reshape([1.0, 0.5, 0.25], (1, 3, 1, 1))
    found = normalize(images, spec)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
