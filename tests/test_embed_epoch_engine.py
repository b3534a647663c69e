"""A model in training is described by a graph of its weights of the moment, as torch does it."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from classify_head.heads import build_head
from classify_head.trained_head import TrainedHead
from embed import epoch_engine
from embed.backbone import BackboneSpec
from embed.epoch_engine import LEAST_IMAGES, EpochEngines
from embed.errors import InputError
from embed.model import DescriptorModel, ModelSpec
from embed.network_settings import BilinearSettings
from embed.torch_engine import TorchEngine
from embed.train_settings import TrainSettings
from embed.views import ONE_VIEW, Views
from tests.images import photo

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install -e '.[openvino]'")


@pytest.fixture
def model() -> DescriptorModel:
    torch.manual_seed(0)
    return DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), 32, 16)).eval()


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.stack([photo(32, 32, seed).transpose(2, 0, 1) for seed in range(5)])


def test_the_graph_describes_and_classifies_as_torch_does(
    model: DescriptorModel, images: NDArray[np.uint8]
) -> None:
    classes = build_head(TrainSettings().head, 16, np.ones(7, dtype=np.int64), 16.0).eval()
    head = TrainedHead(classes, np.arange(10, 17))
    engine_of = EpochEngines(LEAST_IMAGES, ONE_VIEW).open(model)
    assert engine_of(head).name == "openvino-f32"
    vectors, ranked = engine_of(head).describe(images)
    expected, wanted = TorchEngine(model, head).describe(images)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_array_equal(ranked.labels, wanted.labels)
    np.testing.assert_allclose(ranked.probabilities, wanted.probabilities, atol=1e-5)
    alone, nothing = engine_of(None).describe(images)
    assert alone.tobytes() == vectors.tobytes() and nothing.labels.shape == (5, 0)


def test_each_graph_is_of_the_weights_of_the_moment_and_changes_none(
    model: DescriptorModel, images: NDArray[np.uint8]
) -> None:
    engines = EpochEngines(LEAST_IMAGES, ONE_VIEW)
    before = copy.deepcopy(model.state_dict())
    first, again = (engines.open(model)(None).describe(images)[0] for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    moved = engines.open(model)(None).describe(images)[0]
    assert not np.allclose(moved, first, atol=1e-3)
    np.testing.assert_allclose(moved, TorchEngine(model).describe(images)[0], atol=1e-5)


def test_images_that_keep_their_shape_are_described_as_torch_does(model: DescriptorModel) -> None:
    fitted = Views(square="fit")
    engine = EpochEngines(LEAST_IMAGES, fitted).open(model)(None)
    wide = photo(32, 64, 0).transpose(2, 0, 1)[None]
    assert engine.name == "openvino-f32"
    expected = TorchEngine(model).describe(wide, fitted)[0]
    np.testing.assert_allclose(engine.describe(wide, fitted)[0], expected, atol=1e-5)


def test_torch_describes_few_images_and_where_it_is_asked_for(
    model: DescriptorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, refused = (
        EpochEngines(LEAST_IMAGES - 1, ONE_VIEW),
        EpochEngines(10**6, ONE_VIEW, exports=False),
    )
    monkeypatch.setattr(epoch_engine, "has_runtime", lambda: False)
    missing = EpochEngines(10**6, ONE_VIEW)
    assert {each.open(model)(None).name for each in (few, refused, missing)} == {"torch"}


def test_a_network_without_a_graph_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    spec = ModelSpec(BackboneSpec("test_resnet"), 32, 16, pooling=BilinearSettings(bilinear_dim=64))
    model = DescriptorModel(spec).eval()
    engines = EpochEngines(LEAST_IMAGES, ONE_VIEW)
    assert {engines.open(model)(None).name for _ in range(3)} == {"torch"}
    assert caplog.text.count("torch describes images") == 1


@pytest.mark.parametrize("error", [InputError("no such layer"), OSError("disk full")])
def test_a_graph_that_cannot_be_loaded_ends_no_training(
    error: Exception,
    model: DescriptorModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(epoch_engine, "GraphEngine", fail)
    engines = EpochEngines(LEAST_IMAGES, ONE_VIEW)
    assert {engines.open(model)(None).name for _ in range(2)} == {"torch"}
    assert caplog.text.count(f"{error}; torch judges the training") == 1
