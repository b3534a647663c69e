"""Images become squares, squeezed or cut, or rectangles of their shape, and the network's input."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from embed.backbone import BackboneSpec
from embed.images import ImageLoader
from embed.meter import Meter
from embed.tensors import normalize, to_tensor
from embed.transforms import MAX_ASPECT, Square, fit_shape, resize_image
from tests.images import photo


@pytest.mark.parametrize(
    ("height", "width", "size", "method"),
    [
        (60, 40, 30, cv2.INTER_AREA),
        (40, 40, 40, cv2.INTER_AREA),
        (60, 20, 30, cv2.INTER_LINEAR),
        (9, 7, 30, cv2.INTER_LINEAR),
        (1, 1, 4, cv2.INTER_LINEAR),
    ],
)
def test_the_whole_image_is_squeezed_unless_told_otherwise(
    height: int, width: int, size: int, method: int
) -> None:
    pixels = photo(height, width)
    expected = cv2.resize(pixels, (size, size), interpolation=method)
    for found in (resize_image(pixels, size), resize_image(pixels, size, "squeeze")):
        assert found.dtype == np.uint8 and found.tobytes() == np.asarray(expected).tobytes()


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
