"""Views of a batch: those of old to the last bit, crops against slices, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from embed.backbone import BackboneSpec
from embed.model import DescriptorModel, ModelSpec
from embed.settings import EmbedSettings
from embed.tensor_views import make_views, merge_views
from embed.transforms import Square
from embed.views import ONE_VIEW, Views


def build(image_size: int = 32) -> DescriptorModel:
    return DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), image_size, dim=8)).eval()


@pytest.fixture(scope="module")
def model() -> DescriptorModel:
    return build()


def make_batch(model: DescriptorModel, views: Views, count: int = 2) -> Tensor:
    side = views.input_side(model)
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def same(found: Tensor, expected: Tensor) -> bool:
    return found.contiguous().numpy().tobytes() == expected.contiguous().numpy().tobytes()


def shrink(batch: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=True)


def test_one_view_is_the_batch_itself(model: DescriptorModel) -> None:
    batch = make_batch(model, ONE_VIEW)
    (view,) = make_views(model, batch, ONE_VIEW)
    assert view is batch and ONE_VIEW == Views()


def test_scales_are_each_followed_by_their_mirror_image(model: DescriptorModel) -> None:
    views = Views((1.0, 2.0, 3.0), flip=True)
    batch = make_batch(model, views)
    expected = [shrink(batch, 32), shrink(batch, 64), batch]
    found = list(make_views(model, batch, views))
    assert len(found) == 6
    for number, view in enumerate(expected):
        assert same(found[2 * number], view)
        assert same(found[2 * number + 1], torch.from_numpy(view.numpy()[..., ::-1].copy()))


@pytest.mark.parametrize(("share", "side"), [(0.875, 37), (0.8, 40), (0.5, 64), (0.99, 32)])
def test_crops_are_the_corners_and_the_middle_of_a_larger_square(
    model: DescriptorModel, share: float, side: int
) -> None:
    views = Views(crops=10, crop_share=share)
    batch = make_batch(model, views)
    assert batch.shape == (2, 3, side, side)
    far, middle = side - 32, round((side - 32) / 2)
    places = [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]
    found = list(make_views(model, batch, views))
    assert len(found) == 10
    for number, (top, left) in enumerate(places):
        crop = batch[:, :, top : top + 32, left : left + 32]
        assert same(found[2 * number], crop) and same(found[2 * number + 1], crop.flip(-1))


def test_12_crops_are_10_and_the_whole(model: DescriptorModel) -> None:
    ten, twelve = Views(crops=10), Views(crops=12)
    batch = make_batch(model, twelve)
    found = list(make_views(model, batch, twelve))
    expected = list(make_views(model, batch, ten))
    whole = shrink(batch, 32)
    assert len(found) == 12
    for view, other in zip(found, [*expected, whole, whole.flip(-1)], strict=True):
        assert same(view, other)


@pytest.mark.parametrize("flip", [False, True])
def test_one_crop_is_the_middle(model: DescriptorModel, flip: bool) -> None:
    views = Views(crops=1, flip=flip)
    batch = make_batch(model, views)
    middle = list(make_views(model, batch, Views(crops=10)))[8:]
    found = list(make_views(model, batch, views))
    assert len(found) == 1 + flip
    assert all(same(*pair) for pair in zip(found, middle, strict=False))


@pytest.mark.parametrize("crops", [10, 12])
def test_a_mirrored_image_has_the_same_crops(model: DescriptorModel, crops: int) -> None:
    views = Views(crops=crops, crop_share=0.8)  # of 40 pixels, so that there is a middle
    batch = make_batch(model, views)
    found, mirrored = (
        torch.stack(list(make_views(model, image, views))) for image in (batch, batch.flip(-1))
    )
    order = [3, 2, 1, 0, 7, 6, 5, 4, 9, 8, 11, 10][:crops]
    torch.testing.assert_close(found, mirrored[order])


@pytest.mark.parametrize(
    "views",
    [
        ONE_VIEW,
        Views((0.5, 1.0, 2.0), flip=True),
        Views(crops=1),
        Views(crops=1, flip=True),
        Views(crops=10),
        Views(crops=12, square="crop"),
        Views((1.0, 2.0), flip=True, square="fit"),
    ],
)
def test_mirror_images_come_in_pairs(model: DescriptorModel, views: Views) -> None:
    made = list(make_views(model, make_batch(model, views), views))
    assert len(made) % 2 == 0 if views.mirrors else len(made) == 1


@pytest.mark.parametrize("views", [Views((0.5, 2.0), flip=True), Views(crops=12)])
def test_an_empty_batch_has_empty_views(model: DescriptorModel, views: Views) -> None:
    one = make_batch(model, views, count=1)
    found = [view.shape for view in make_views(model, one[:0], views)]
    assert found == [(0, *view.shape[1:]) for view in make_views(model, one, views)]


def test_scales_of_a_fitted_batch_keep_its_shape() -> None:
    model = build(128)
    views = Views((0.5, 1.0, 2.0), flip=True, square="fit")
    image = views.resize(model, np.zeros((300, 400, 3), np.uint8))
    batch = torch.rand(2, 3, *image.shape[:2], generator=torch.Generator().manual_seed(0))
    found = list(make_views(model, batch, views))
    assert [tuple(view.shape[-2:]) for view in found[::2]] == [(64, 64), (128, 160), (224, 288)]
    assert found[4] is batch and same(found[5], torch.from_numpy(batch.numpy()[..., ::-1].copy()))
    small = nn.functional.interpolate(batch, size=(64, 64), mode="bilinear", antialias=True)
    assert same(found[0], small)


@pytest.mark.parametrize(
    ("square", "shapes"), [("fit", {(32, 32), (64, 32)}), ("crop", {(32, 32)})]
)
def test_a_batch_has_a_shape_that_images_are_resized_to(
    model: DescriptorModel, square: Square, shapes: set[tuple[int, int]]
) -> None:
    asked = [(32, 32), (64, 32), (64, 33), (0, 32)]
    assert {shape for shape in asked if Views(square=square).takes(model, shape)} == shapes


@pytest.mark.parametrize(
    ("size", "share", "side"), [(224, 0.875, 256), (224, 0.896, 250), (299, 0.875, 342)]
)
def test_the_input_side_is_that_of_the_papers(size: int, share: float, side: int) -> None:
    views = Views(crops=10, crop_share=share)
    assert views.input_side(build(size)) == side
    assert views.sides(build(size)) == (size,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": ()}, "expected 1 to 8 of them"),
        ({"square": "stretch"}, "square is 'stretch', expected one of"),
        ({"crops": 5}, r"crops is 5, expected one of \(0, 1, 10, 12\)"),
        ({"crop_share": 0.1}, "crop_share is 0.1, expected 0.125 or more, and below 1"),
        ({"merge_p": 0.5}, "merge_p is 0.5, expected 1 or more"),
        ({"merge_p": float("inf")}, "merge_p is inf"),
        ({"crop_share": 1.0}, "crop_share is 1.0"),
        ({"crop_share": float("nan")}, "crop_share is nan"),
        ({"crops": 10, "scales": (1.0, 2.0)}, r"10 crops at scales .*set scales = \[1.0\]"),
        ({"crops": 1, "scales": (0.5,)}, "1 crops at scales"),
        ({"crops": 1, "square": "fit"}, "no square; set square = 'squeeze' or 'crop', or crops"),
        ({"crops": 10, "flip": True}, "mirrored anyway.*set flip = false"),
        ({"crops": 12, "flip": True}, "mirrored anyway"),
    ],
)
def test_senseless_views_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Views(**values)


def test_views_are_those_of_the_settings() -> None:
    assert Views.of(EmbedSettings()) == ONE_VIEW
    crops = EmbedSettings(square="crop", crops=12, crop_share=0.5)
    assert Views.of(crops) == Views(square="crop", crops=12, crop_share=0.5)
    scaled = EmbedSettings(scales=(1.0, 2.0), flip=True)
    assert Views.of(scaled) == Views((1.0, 2.0), flip=True)
    assert Views.of(EmbedSettings(merge_p=4.0)) == Views(merge_p=4.0)
    for wrong in ({"crops": 11}, {"merge_p": 0.9}, {"merge_p": 101}):
        with pytest.raises(ValidationError):
            EmbedSettings.model_validate(wrong)
    with pytest.raises(ValidationError, match="cut from a square: set square = 'squeeze', or"):
        EmbedSettings(square="fit", crops=1)


def unit_views(count: int, batch: int, dim: int, seed: int = 0) -> list[torch.Tensor]:
    drawn = torch.randn(count, batch, dim, generator=torch.Generator().manual_seed(seed))
    return list(torch.nn.functional.normalize(drawn, dim=2))


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(1, 3), st.integers(1, 40), st.floats(1.01, 100))
def test_merging_is_the_generalised_mean_in_numpy(
    count: int, batch: int, dim: int, p: float
) -> None:
    described = unit_views(count, batch, dim, seed=dim)
    values = torch.stack(described).double().numpy()
    for image in range(batch):
        lowest = values[:, image].min()
        means = ((values[:, image] - lowest) ** p).mean(axis=0) ** (1 / p) + lowest
        found = merge_views(described, p)[image].numpy()
        np.testing.assert_allclose(found, means / np.linalg.norm(means), atol=2e-4)


def test_merging_is_the_value_of_its_formula() -> None:
    described = [torch.tensor([[0.6, 0.8, 0.0]]), torch.tensor([[0.0, 0.6, -0.8]])]
    # ((x + .8)^3 + (y + .8)^3) / 2)^(1/3) - .8 of each dimension, brought to length 1, by hand:
    expected = torch.tensor([[0.4604378212, 0.8644283419, -0.2018926810]])
    torch.testing.assert_close(merge_views(described, 3.0), expected, rtol=0, atol=1e-6)


def test_exponent_1_is_the_sum_and_a_large_one_the_largest_of_each_dimension() -> None:
    described = unit_views(3, 4, 64)
    total = torch.nn.functional.normalize(torch.stack(described).sum(dim=0), dim=1)
    assert torch.equal(merge_views(described), total)
    torch.testing.assert_close(merge_views(described, 1 + 1e-6), total, rtol=0, atol=1e-5)
    largest = torch.nn.functional.normalize(torch.stack(described).amax(dim=0), dim=1)
    assert (merge_views(described, 100.0) * largest).sum(dim=1).min() > 0.999


@pytest.mark.parametrize("p", [1.0, 4.6, 100.0])
def test_one_view_is_itself_and_views_have_no_order(p: float) -> None:
    described = unit_views(3, 4, 16)
    assert merge_views(described[:1], p) is described[0]
    torch.testing.assert_close(merge_views(described[::-1], p), merge_views(described, p))
    torch.testing.assert_close(merge_views([described[0]] * 3, p), described[0])
    # An image's descriptor does not depend on the others of its batch.
    alone = merge_views([view[1:2] for view in described], p)
    torch.testing.assert_close(merge_views(described, p)[1:2], alone)


@pytest.mark.parametrize("scales", [(), (0.0,), (-1.0,), (9.0,), (float("nan"),), (1.0,) * 9])
def test_senseless_scales_are_refused_in_recipe_and_views(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected 1 to 8 of them"):
        Views(scales)
    with pytest.raises(ValidationError):
        EmbedSettings(scales=scales)


def test_the_default_settings_ask_for_one_view() -> None:
    default = EmbedSettings()
    assert Views(default.scales, default.flip) == Views()
    assert EmbedSettings.model_validate_json('{"scales": [1, 2]}').scales == (1.0, 2.0)
