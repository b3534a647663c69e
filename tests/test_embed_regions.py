"""Regions: they cover the image, are described as images are, and lie where their boxes say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from embed.backbone import BackboneSpec
from embed.engine import describe_batch, describe_pixel_regions
from embed.extract import extract_all
from embed.images import ImageLoader
from embed.model import DescriptorModel, ModelSpec
from embed.pooling import rmac_regions
from embed.regions import cut_regions, decode_side, region_boxes, to_pixels
from embed.settings import EmbedSettings, RegionSettings
from embed.torch_engine import TorchEngine
from embed.views import Views

from .images import photo

BOTH = RegionSettings(grids=(2, 3))


@pytest.fixture(scope="module")
def model() -> DescriptorModel:
    torch.manual_seed(0)
    return DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), 32, dim=8)).eval()


def test_there_are_none_unless_they_are_asked_for() -> None:
    assert EmbedSettings().regions.grids == ()
    assert region_boxes(RegionSettings(), (4, 3)).shape == (0, 4)
    assert decode_side(RegionSettings(), 224) == 224


@pytest.mark.parametrize("grid", [2, 3, 5, 8])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_a_grid_covers_the_image_with_neighbours_that_overlap_as_asked(
    grid: int, overlap: float
) -> None:
    boxes = region_boxes(RegionSettings(grids=(grid,), overlap=overlap), (7, 7))
    assert boxes.shape == (grid**2, 4)
    assert boxes.min() == 0 and boxes.max() == pytest.approx(1)
    first, second, below = boxes[0], boxes[1], boxes[grid]
    side = first[2]
    assert (first[2] - second[0]) / side == pytest.approx(overlap)
    np.testing.assert_allclose(below - first, [0, second[0], 0, second[0]], atol=1e-12)
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides, side)
    assert decode_side(RegionSettings(grids=(grid,), overlap=overlap), 32) * side >= 32


def test_grids_of_two_and_three_are_the_levels_of_rmac() -> None:
    boxes, side = region_boxes(BOTH, (9, 9)), 12  # a map whose regions fall on whole locations
    expected = [
        (left, top, left + level.side, top + level.side)
        for level in rmac_regions(side, side, 3)[1:]
        for top in level.tops
        for left in level.lefts
    ]
    np.testing.assert_allclose(boxes * side, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("size", "rows"), [((400, 100), 2), ((640, 480), 4), ((300, 640), 8), ((4000, 100), 1)]
)
def test_a_wide_image_has_as_many_regions_in_fewer_rows(size: tuple[int, int], rows: int) -> None:
    boxes = region_boxes(RegionSettings(grids=(4,), overlap=0.0), size)
    assert boxes.shape == (16, 4) and len(np.unique(boxes[:, 1])) == rows
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert area.sum() == pytest.approx(1)
    assert boxes.min() == 0 and boxes.max() == pytest.approx(1)
    turned = region_boxes(RegionSettings(grids=(4,), overlap=0.0), size[::-1])
    flipped = turned[:, [1, 0, 3, 2]]
    np.testing.assert_allclose(boxes, flipped[np.lexsort((flipped[:, 0], flipped[:, 1]))])


def test_boxes_in_pixels_lie_in_the_image_and_hold_a_pixel() -> None:
    for size in ((1, 1), (3, 1), (1000, 7), (640, 480)):
        places = to_pixels(region_boxes(RegionSettings(grids=(8,), overlap=0.0), size), size)
        assert (places[:, :2] >= 0).all() and (places[:, 2:] <= size).all()
        assert (places[:, 2:] > places[:, :2]).all()
    assert to_pixels(region_boxes(RegionSettings(grids=(3,)), (640, 480)), (640, 480))[
        4
    ].tolist() == [
        *(160, 120, 480, 360),
    ]


def test_regions_are_cut_where_their_boxes_are() -> None:
    pixels = photo(60, 90, seed=3)
    parts = cut_regions(pixels, BOTH)
    assert len(parts) == 13
    np.testing.assert_array_equal(parts[1], pixels[:40, 30:])  # top right of 2 x 2


@pytest.mark.parametrize("views", [Views(), Views((0.5, 1.0), flip=True)])
def test_a_region_is_described_as_a_photo_of_it_would_be(
    model: DescriptorModel, views: Views, tmp_path: Path
) -> None:
    pixels = photo(120, 180, seed=1)
    path = tmp_path / "photo.png"  # a JPEG of a part is not the part of a JPEG
    Image.fromarray(pixels).save(path)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    files = [tmp_path / "broken.jpg", path, path]
    found = extract_all(
        TorchEngine(model),
        files,
        batch_size=3,
        max_pixels=10**6,
        workers=0,
        views=views,
        regions=BOTH,
    )
    assert found.regions is not None and found.regions.shape == (2, 13, 8)
    np.testing.assert_allclose(np.linalg.norm(found.regions, axis=2), 1, atol=1e-5)
    for part, vector in zip(cut_regions(pixels, BOTH), found.regions[1], strict=True):
        expected, _ = describe_batch(TorchEngine(model), [part], views)
        np.testing.assert_allclose(vector, expected[0], atol=1e-5)
    alone = describe_pixel_regions(TorchEngine(model), pixels, BOTH, views)
    assert alone is not None
    np.testing.assert_allclose(alone[0], found.regions[0], atol=1e-5)


def test_regions_leave_the_descriptor_of_the_whole_as_it_is(
    model: DescriptorModel, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo(120, 180, seed=1)).save(path)
    without = extract_all(TorchEngine(model), [path], batch_size=3, max_pixels=10**6, workers=0)
    beside = extract_all(
        TorchEngine(model), [path], batch_size=3, max_pixels=10**6, workers=0, regions=BOTH
    )
    assert without.regions is None
    np.testing.assert_array_equal(without.vectors, beside.vectors)


def test_without_a_readable_image_there_are_no_rows(model: DescriptorModel, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    found = extract_all(
        *(TorchEngine(model), [tmp_path / "broken.jpg"]),
        batch_size=3,
        max_pixels=9,
        workers=0,
        regions=BOTH,
    )
    assert found.regions is not None and found.regions.shape == (0, 13, 8)


def test_images_are_decoded_large_enough_for_their_regions() -> None:
    assert ImageLoader(32, 10**6, regions=BOTH).needed_side == 64
    assert ImageLoader(32, 10**6).needed_side == 32


@pytest.mark.parametrize(
    "values",
    [
        *({"grids": [1]}, {"grids": [9]}, {"grids": [2, 2]}, {"grids": [2, 3, 4, 5]}),
        *({"overlap": 0.95}, {"overlap": -0.1}),
    ],
)
def test_senseless_grids_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RegionSettings.model_validate(values)
