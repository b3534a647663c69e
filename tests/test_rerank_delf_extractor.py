"""DELF features of whole images: where they lie, in what order, alone or in batches."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.backbone import Backbone, BackboneSpec, LastLayer
from embed.decode import DecodedImage
from embed.engine import describe_batch
from embed.model import DescriptorModel, ModelSpec, fingerprint_model
from embed.torch_engine import TorchEngine
from embed.views import ONE_VIEW, Views
from rerank.delf.extractor import DelfExtractor
from rerank.delf.model import LocalModel, LocalSpec
from rerank.delf.pyramid import measure_center
from rerank.delf.settings import DelfSettings
from rerank.features import FeatureExtractor, LocalFeatures
from tests.images import photo

SETTINGS = DelfSettings(dim=8, hidden=16, extraction_batch=3, score_threshold=0.0)
SHAPES = [(96, 96), (40, 200), (300, 90), (64, 64), (128, 70)]


def make_extractor(
    settings: DelfSettings = SETTINGS,
    name: str = "test_resnet",
    size: int = 64,
    seed: int = 0,
    center: float | None = 6.0,
) -> DelfExtractor:
    torch.manual_seed(seed)
    model = DescriptorModel(ModelSpec(BackboneSpec(name), size, 8)).eval()
    level = model.backbone.find_level(settings.stride)
    if center is None:
        center = measure_center(model.backbone, level, 160)
    fingerprint, sizes = fingerprint_model(model), (settings.hidden, settings.dim)
    spec = LocalSpec(fingerprint, level.stride, level.channels, center, *sizes)
    return DelfExtractor(model, LocalModel(spec), settings)


def assert_same_features(first: LocalFeatures, second: LocalFeatures) -> None:
    for name in ("keypoints", "descriptors", "scores", "scales"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-6)


def decoded(height: int, width: int, seed: int = 0) -> DecodedImage:
    return DecodedImage(photo(height, width, seed), (width, height))


def texture(side: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_delf_is_a_feature_extractor() -> None:
    extractor: FeatureExtractor = make_extractor()
    assert (extractor.name, extractor.dim) == ("delf", 8)


def test_features_come_by_falling_score_in_half_precision() -> None:
    features = make_extractor().extract(decoded(90, 120))
    assert features.image_size == (120, 90)
    assert (np.diff(features.scores) <= 0).all()
    assert features.descriptors.dtype == np.float16
    lengths = np.linalg.norm(features.descriptors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)
    few = make_extractor(SETTINGS.model_copy(update={"max_features": 7})).extract(decoded(90, 120))
    np.testing.assert_array_equal(few.keypoints, features.keypoints[:7])


def test_scales_are_cells_in_pixels_of_the_original() -> None:
    settings = SETTINGS.model_copy(update={"scales": (0.5, 1.0), "nms_overlap": 1.0})
    features = make_extractor(settings).extract(decoded(32, 128))  # as many pixels as 64 x 64
    assert len(features) == 4 + 16
    assert sorted(set(features.scales.tolist())) == [16, 32]


def test_batches_find_what_single_images_do() -> None:
    extractor = make_extractor()
    images = [decoded(*shape, seed) for seed, shape in enumerate(SHAPES)]  # 5, in batches of 3
    for image, together in zip(images, extractor.extract_batch(images), strict=True):
        alone = extractor.extract(image)
        assert together.image_size == alone.image_size == image.original_size
        np.testing.assert_allclose(together.scores, alone.scores, rtol=1e-4)
        # Scores that are nearly equal may change places.
        first, second = (np.lexsort(found.keypoints.T) for found in (together, alone))
        np.testing.assert_array_equal(together.keypoints[first], alone.keypoints[second])
        np.testing.assert_allclose(
            together.descriptors[first].astype(np.float32),
            alone.descriptors[second].astype(np.float32),
            atol=2e-3,
        )


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_mambaout"])
@pytest.mark.parametrize(
    ("views", "passes"),
    [(ONE_VIEW, 0), (Views(scales=(0.5, 1.0), flip=True), 3), (Views(crops=10), 10)],
)
def test_what_describes_an_image_finds_its_features_too(
    views: Views, passes: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = make_extractor(name=name)
    run: list[int] = []
    backbone = type(extractor.model.backbone)
    forward = backbone.forward

    def count(self: Backbone, images: Tensor) -> LastLayer:
        run.append(images.shape[-1])
        return forward(self, images)

    for seed, shape in enumerate(SHAPES):
        image = decoded(*shape, seed)
        expected, _ = describe_batch(TorchEngine(extractor.model), [image.pixels], views)
        with monkeypatch.context() as patched:
            patched.setattr(backbone, "forward", count)
            features, vector, _ = extractor.describe(image, views)
        assert_same_features(features, extractor.extract(image))
        np.testing.assert_allclose(vector, expected, atol=1e-6)
    # Of the largest view nothing: it is a square of the pyramid.
    assert len(run) == passes * len(SHAPES)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize(("shape", "passes"), [((96, 96), 0), ((40, 200), 1), ((300, 90), 1)])
def test_a_fitted_image_shares_the_pass_of_a_square_alone(
    shape: tuple[int, int], passes: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, image, views = make_extractor(name=name), decoded(*shape), Views(square="fit")
    expected, _ = describe_batch(TorchEngine(extractor.model), [image.pixels], views)
    run: list[torch.Size] = []
    backbone = type(extractor.model.backbone)
    forward = backbone.forward

    def count(self: Backbone, images: Tensor) -> Any:
        run.append(images.shape)
        return forward(self, images)

    monkeypatch.setattr(backbone, "forward", count)
    features, vector, _ = extractor.describe(image, views)
    assert len(run) == passes
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    assert_same_features(features, extractor.extract(image))


def test_no_images_give_no_features() -> None:
    assert make_extractor().extract_batch([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 2), (17, 400)])
def test_odd_shapes_have_their_keypoints_inside(shape: tuple[int, int]) -> None:
    features = make_extractor().extract(decoded(*shape))
    assert len(features)
    assert (features.keypoints >= -0.5).all()
    assert (features.keypoints <= np.array(shape[::-1]) - 0.5).all()


def test_a_uniform_image_is_no_error() -> None:
    pixels = np.full((50, 50, 3), 77, np.uint8)
    features = make_extractor().extract(DecodedImage(pixels, (50, 50)))
    assert np.isfinite(features.descriptors).all()


def test_nothing_above_the_threshold_gives_no_rows() -> None:
    settings = SETTINGS.model_copy(update={"score_threshold": 1e6})
    features = make_extractor(settings).extract(decoded(50, 50))
    assert features.keypoints.shape == (0, 2)
    assert features.descriptors.shape == (0, 8)


# The padding of TensorFlow shifts a map by a whole cell; a ViT does not shift it at all.
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_what_changes_the_image_at_a_pixel_changes_the_feature_there(
    name: str, scale: float
) -> None:
    settings = SETTINGS.model_copy(update={"scales": (1.0, scale), "nms_overlap": 1.0})
    extractor = make_extractor(settings, name, size=96, center=None)
    original = np.array([480.0, 240.0])  # (width, height): x and y are not stretched alike
    before = texture(192, 0)
    finest = original * 16 / 96 / scale
    offsets = []
    for x, y in [(61, 70), (100, 100), (128, 88), (80, 130)]:
        after = before.copy()
        after[y - 4 : y + 4, x - 4 : x + 4] = texture(8, 1)
        maps = []
        for pixels in (before, after):
            found = extractor.extract(DecodedImage(pixels, (480, 240)))
            rows = np.flatnonzero(np.isclose(found.scales, np.sqrt(finest.prod()), rtol=1e-3))
            rows = rows[np.lexsort(found.keypoints[rows].T)]
            maps.append((found.keypoints[rows], found.descriptors[rows].astype(np.float32)))
        (keypoints, first), (_, second) = maps
        moved = keypoints[np.square(first - second).sum(axis=1).argmax()]
        # The block's middle is the corner of four pixels, (x, y) - 0.5 of 192 x 192 pixels.
        middle = np.array([x, y]) * original / 192 - 0.5
        offsets.append((moved - middle) / finest)
    assert (np.abs(offsets) <= 1).all()  # within a cell


def test_fingerprints_name_all_that_changes_the_features() -> None:
    first = make_extractor()
    assert make_extractor().fingerprint == first.fingerprint
    slower = make_extractor(SETTINGS.model_copy(update={"extraction_batch": 2, "epochs": 9}))
    assert slower.fingerprint == first.fingerprint
    for change in ({"scales": (1.0,)}, {"max_features": 9}, {"nms_overlap": 0.5}):
        assert make_extractor(SETTINGS.model_copy(update=change)).fingerprint != first.fingerprint
    assert make_extractor(seed=1).fingerprint != first.fingerprint  # other weights


def test_the_local_model_of_another_descriptor_model_is_refused() -> None:
    first, other = make_extractor(), make_extractor(seed=1)
    with pytest.raises(ValueError, match=r"belongs to descriptor model .* train DELF for this"):
        DelfExtractor(first.model, other.local, SETTINGS)


def test_a_backbone_of_one_size_says_so() -> None:
    extractor = make_extractor(name="test_maxvit", size=160)
    with pytest.raises(ValueError, match=r"'test_maxvit' failed on squares of .* scales = \[1.0\]"):
        extractor.extract(decoded(50, 50))
    one = make_extractor(SETTINGS.model_copy(update={"scales": (1.0,)}), "test_maxvit", 160)
    assert len(one.extract(decoded(50, 50)))
    assert one.sides == (160,)
