"""The locations of an image pyramid: where they lie in the image, and which are kept."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embed.backbone import Backbone, BackboneSpec
from rerank.delf.pyramid import Pyramid, build_pyramid, measure_center, select
from rerank.delf.settings import pyramid_sides

SCALES = (0.25, 0.3536, 0.5, 0.7071, 1.0, 1.4142, 2.0)


@pytest.mark.parametrize(
    ("image_size", "stride", "sides"),
    [
        (224, 16, (64, 80, 112, 160, 224, 320, 448)),
        (64, 16, (16, 32, 48, 64, 96, 128)),  # two scales share the smallest square
        (100, 32, (32, 64, 100, 128, 192)),  # scale 1 is what the global descriptor sees
        (8, 16, (8, 16)),  # less than half a cell is left out, but for scale 1
    ],
)
def test_sides_are_whole_cells_but_for_scale_one(
    image_size: int, stride: int, sides: tuple[int, ...]
) -> None:
    assert pyramid_sides(image_size, SCALES, stride) == sides


def test_locations_go_map_by_map_and_row_by_row() -> None:
    pyramid = build_pyramid((32, 64), [(2, 2), (2, 3)], 16, 7.5)
    expected = [(x + 0.5, y + 0.5) for y in (7.5, 23.5) for x in (7.5, 23.5)]
    np.testing.assert_allclose(pyramid.centers[:4] * 32, expected)
    expected = [(x + 0.5, y + 0.5) for y in (7.5, 23.5) for x in (7.5, 23.5, 39.5)]
    np.testing.assert_allclose(pyramid.centers[4:] * 64, expected)
    np.testing.assert_allclose(pyramid.cells, [0.5] * 4 + [0.25] * 6)


def test_keypoints_stretch_with_each_side_of_the_original() -> None:
    pyramid = build_pyramid((32,), [(2, 2)], 16, 7.5)
    keypoints, scales = pyramid.place(np.array([0, 3]), (320, 80))
    # The middle of the upper left quarter of 320 x 80 pixels, whose first centre is (0, 0).
    np.testing.assert_allclose(keypoints, [(79.5, 19.5), (239.5, 59.5)])
    np.testing.assert_allclose(scales, [80, 80])  # cells of 160 x 40


# Where the theory of receptive fields is sure: the padding and the even kernels of each.
@pytest.mark.parametrize(
    ("name", "pad_type", "expected"),
    [
        ("test_resnet", "", 6.0),
        ("test_convnext", "", 7.5),
        ("test_vit", "", 7.5),
        ("test_efficientnet", "", 0.0),
        ("test_efficientnet", "same", 15.0),
    ],
)
def test_the_measured_center_is_that_of_the_receptive_field(
    name: str, pad_type: str, expected: float
) -> None:
    torch.manual_seed(0)
    backbone = Backbone(BackboneSpec(name, pad_type)).eval()
    assert measure_center(backbone, backbone.find_level(16), 160) == pytest.approx(expected, abs=1)


def test_a_map_without_gradient_is_centred_on_its_cells() -> None:
    backbone = Backbone(BackboneSpec("test_resnet")).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.zero_()
    assert measure_center(backbone, backbone.find_level(16), 64) == 7.5


def select_slowly(
    scores: NDArray[np.float32], pyramid: Pyramid, count: int, threshold: float, overlap: float
) -> list[int]:
    """Go through all locations by falling score and compare each with all that are kept."""

    def iou(a: int, b: int) -> float:
        reach = (pyramid.cells[a] + pyramid.cells[b]) / 2
        least = min(pyramid.cells[a], pyramid.cells[b])
        apart = np.abs(pyramid.centers[a] - pyramid.centers[b])
        shared = float(np.clip(reach - apart, 0, least).prod())
        return shared / float(pyramid.cells[a] ** 2 + pyramid.cells[b] ** 2 - shared)

    kept: list[int] = []
    for row in sorted(range(len(scores)), key=lambda row: (-scores[row], row)):
        if scores[row] >= threshold and all(iou(row, other) <= overlap for other in kept):
            kept.append(row)
    return kept[:count]


@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 60),
    threshold=st.sampled_from([0.0, 0.3, 2.0]),
    overlap=st.sampled_from([0.1, 0.22, 0.4, 1.0]),
)
def test_selection_is_that_of_the_slow_way(
    seed: int, count: int, threshold: float, overlap: float
) -> None:
    pyramid = build_pyramid((32, 48, 64), [(2, 2), (3, 3), (4, 4)], 16, 3.0)
    # Few different scores, so that many tie.
    scores = (np.random.default_rng(seed).integers(0, 6, 29) / 5).astype(np.float32)
    rows = select(scores, pyramid, max_features=count, threshold=threshold, max_overlap=overlap)
    assert rows.tolist() == select_slowly(scores, pyramid, count, threshold, overlap)


def test_nothing_above_the_threshold_selects_nothing() -> None:
    pyramid = build_pyramid((32,), [(2, 2)], 16, 7.5)
    rows = select(np.ones(4, np.float32), pyramid, max_features=9, threshold=1.1, max_overlap=0.4)
    assert rows.shape == (0,)
    assert rows.dtype == np.int64
