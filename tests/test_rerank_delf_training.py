"""A tiny training of DELF: it finds what tells classes apart, and leaves the backbone alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from embed.backbone import BackboneSpec, build_backbone
from embed.decode import DecodedImage
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel, ModelSpec, fingerprint_model
from embed.settings import DecodeSettings
from embed.train_settings import AugmentSettings
from rerank.delf.attention import Attention
from rerank.delf.extractor import DelfExtractor
from rerank.delf.model import fingerprint_delf
from rerank.delf.settings import DelfSettings
from rerank.delf.training import TrainedDelf, train_delf

SETTINGS = DelfSettings(dim=8, hidden=32, epochs=2, batch_size=8, learning_rate=0.01)
AUGMENT = AugmentSettings(crop_min_area=0.8, rotation=0, perspective=0, hue=0, grey=0, erase=0)
SIDE, PATCH = 96, 32  # pixels
COLOURS = np.array([(220, 40, 40), (40, 200, 40), (40, 40, 220), (220, 200, 40)])


def draw(label: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw grey noise with a square in the colour of a class; return also its middle (x, y)."""
    rng = np.random.default_rng(seed)
    pixels = np.repeat(rng.integers(90, 160, (SIDE, SIDE, 1)), 3, axis=2)
    x, y = rng.integers(0, SIDE - PATCH, 2)
    pixels[y : y + PATCH, x : x + PATCH] = COLOURS[label]
    return pixels.astype(np.uint8), np.array([x, y]) + PATCH // 2


@pytest.fixture(scope="module")
def model() -> DescriptorModel:
    torch.manual_seed(0)
    backbone, spec = build_backbone(BackboneSpec("test_resnet"))
    return DescriptorModel(ModelSpec(spec, SIDE, 8), backbone).eval()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write 10 images of each of 4 classes."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number:02d}.png" for number in range(40)]
    for number, path in enumerate(paths):
        Image.fromarray(draw(number // 10, number)[0]).save(path)
    return paths


LABELS = np.repeat([7, 3, 11, 5], 10)  # any numbers


def train(
    model: DescriptorModel,
    images: list[Path],
    settings: DelfSettings = SETTINGS,
    labels: NDArray[np.int64] = LABELS,
) -> TrainedDelf:
    return train_delf(model, images, labels, settings, decode=DecodeSettings(), augment=AUGMENT)


def test_attention_finds_what_tells_the_classes_apart(
    model: DescriptorModel, images: list[Path]
) -> None:
    trained = train(model, images, SETTINGS.model_copy(update={"epochs": 8}))
    assert [row["epoch"] for row in trained.history] == list(range(1, 9))
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    settings = SETTINGS.model_copy(update={"scales": (1.0,), "score_threshold": 0.0})
    extractor = DelfExtractor(model, trained.local, settings)
    hits = 0
    for number in range(40):
        pixels, middle = draw(number % 4, 1000 + number)
        features = extractor.extract(DecodedImage(pixels, (SIDE, SIDE)))
        hits += bool((np.abs(features.keypoints[0] - middle) <= PATCH).all())
    assert hits >= 28  # places at random: 18 or less, as a hit is 4 of 9 of the image at most


@pytest.mark.parametrize("reduction", ["pca", "autoencoder"])
def test_two_trainings_are_equal_and_leave_the_descriptor_model_alone(
    reduction: str, model: DescriptorModel, images: list[Path]
) -> None:
    settings = SETTINGS.model_validate({**SETTINGS.model_dump(), "reduction": reduction})
    before = fingerprint_model(model)
    first, second = (train(model, images, settings) for _ in range(2))
    assert fingerprint_delf(first.local) == fingerprint_delf(second.local)
    assert first.history == second.history
    assert fingerprint_model(model) == before == first.local.spec.model_fingerprint
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training and not first.local.training


def test_the_autoencoder_restores_better_than_it_began(
    model: DescriptorModel, images: list[Path]
) -> None:
    settings = SETTINGS.model_copy(update={"reduction": "autoencoder"})
    losses = [row["loss"] for row in train(model, images, settings).history]
    assert losses[-1] < losses[0]


def test_scores_of_training_images_have_mean_one(
    model: DescriptorModel, images: list[Path]
) -> None:
    trained = train(model, images)
    settings = SETTINGS.model_copy(
        update={"scales": (1.0,), "score_threshold": 0.0, "nms_overlap": 1.0}
    )
    extractor = DelfExtractor(model, trained.local, settings)
    decoded = [DecodedImage(np.array(Image.open(path)), (SIDE, SIDE)) for path in images]
    scores = np.concatenate([found.scores for found in extractor.extract_batch(decoded)])
    assert scores.mean() == pytest.approx(1.0, abs=1e-4)


def test_unreadable_images_are_recorded(
    model: DescriptorModel, images: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    paths = [*images[:5], broken, *images[6:39], tmp_path / "missing.jpg"]
    trained = train(model, paths)
    assert [(f.position, f.reason) for f in trained.failures] == [
        (5, "not_an_image"),
        (39, "missing"),
    ]


def test_no_readable_image_is_an_error(model: DescriptorModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no batch of .*; the first: .*missing"):
        train(model, [tmp_path / "a.jpg", tmp_path / "b.jpg"], labels=np.array([0, 1]))


@pytest.mark.parametrize("count", [0, 3])
def test_one_class_is_an_error(count: int, model: DescriptorModel, images: list[Path]) -> None:
    with pytest.raises(ValueError, match=rf"the {count} images are of [01] class"):
        train(model, images[:count], labels=np.zeros(count, np.int64))


def test_labels_that_are_not_as_many_as_images_are_an_error(
    model: DescriptorModel, images: list[Path]
) -> None:
    with pytest.raises(ValueError, match="40 images but 39 labels"):
        train(model, images, labels=LABELS[:-1])


def test_too_few_descriptors_are_refused_before_training(
    model: DescriptorModel, images: list[Path]
) -> None:
    steps: list[int] = []
    few = [images[0], images[10]]  # 9 of the 36 locations of each, for 20 components
    with pytest.raises(ValueError, match=r"18 local descriptors are too few for 20 .*delf\.dim"):
        train_delf(
            model,
            few,
            LABELS[[0, 10]],
            SETTINGS.model_copy(update={"dim": 20}),
            decode=DecodeSettings(),
            augment=AUGMENT,
            report=lambda done, of: steps.append(done),
        )
    assert steps == []


def test_a_stride_without_a_map_is_an_error(model: DescriptorModel, images: list[Path]) -> None:
    with pytest.raises(ValueError, match=r"stride = 12: .* only of \[2, 4, 8, 16, 32\]"):
        train(model, images, SETTINGS.model_copy(update={"stride": 12}))


@pytest.mark.parametrize(
    ("score", "message"), [(0.0, "the same everywhere"), (float("nan"), "not finite")]
)
def test_attention_that_chooses_nothing_is_an_error(
    score: float,
    message: str,
    model: DescriptorModel,
    images: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forward(self: Attention, maps: Tensor) -> Tensor:
        return self.score.weight.sum() * 0 + maps.new_full(maps[:, 0].shape, score) + 1

    monkeypatch.setattr(Attention, "forward", forward)
    with pytest.raises(TrainingCollapsed, match=f"attention of DELF is {message}.*learning_rate"):
        train(model, images)
