"""DELF that is trained along on maps: what it learns, what it leaves alone, what is kept of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classify_head.heads import CosineHead
from embed.backbone import BackboneSpec, build_backbone
from embed.decode import DecodedImage
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel, ModelSpec, fingerprint_model
from embed.settings import DecodeSettings
from embed.training_model import TrainingModel
from rerank.delf.calibration import Remedies
from rerank.delf.extractor import DelfExtractor
from rerank.delf.joint import build_joint_objective, finish_delf, save_joint
from rerank.delf.model import LocalModel
from rerank.delf.objective import MapObjective, Objective, make_maps
from rerank.delf.settings import DelfSettings, joint_settings
from tests.images import photo

PCA = DelfSettings(dim=8, hidden=16, batch_size=3, scales=(1,), score_threshold=0, nms_overlap=1)
AUTOENCODER = PCA.model_copy(update={"reduction": "autoencoder"})
BOTH = pytest.mark.parametrize("settings", [PCA, AUTOENCODER], ids=["pca", "autoencoder"])
SIDE = 64


@pytest.fixture
def model() -> DescriptorModel:
    torch.manual_seed(0)
    backbone, spec = build_backbone(BackboneSpec("test_resnet"))
    return DescriptorModel(ModelSpec(spec, SIDE, 8), backbone).eval()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        Image.fromarray(photo(SIDE, SIDE, number)).save(path)
    return paths


def build(model: DescriptorModel, settings: DelfSettings) -> MapObjective:
    """Build an objective whose attention chooses, though it was not trained."""
    torch.manual_seed(1)
    objective = build_joint_objective(model.backbone, settings, classes=3)
    with torch.no_grad():
        objective.attention.score.weight.mul_(30)
    return objective


def finish(
    model: DescriptorModel, trained: Path, paths: list[Path], settings: DelfSettings
) -> LocalModel:
    remedies = Remedies("the rate", "the epochs")
    local, failures = finish_delf(
        model, trained, paths, settings, decode=DecodeSettings(), remedies=remedies
    )
    assert failures == [] and not local.training
    return local


@BOTH
def test_the_local_loss_reaches_all_of_its_own_and_nothing_else(
    model: DescriptorModel, settings: DelfSettings
) -> None:
    objective = build(model, settings)
    module = TrainingModel(model, CosineHead(8, 3, 16.0), objective).train()
    losses = module(torch.randn(4, 3, SIDE, SIDE), torch.tensor([0, 1, 2, 0]))
    losses.local.backward()
    assert all(p.grad is not None for p in objective.parameters())
    assert all(p.grad is None for p in [*model.parameters(), *module.head.parameters()])
    module.zero_grad()
    (losses.descriptors.sum() + losses.logits.sum()).backward()
    assert all(p.grad is None for p in objective.parameters())
    assert any(p.grad is not None for p in model.backbone.parameters())


@BOTH
def test_maps_and_images_have_the_same_loss(model: DescriptorModel, settings: DelfSettings) -> None:
    torch.manual_seed(1)
    alone, along = Objective(model, settings, 3).train(), build(model, settings).train()
    along.load_state_dict(alone.on_maps.state_dict())
    images = torch.stack([torch.from_numpy(photo(SIDE, SIDE, n)).movedim(2, 0) for n in range(4)])
    targets = torch.tensor([0, 1, 2, 0])
    loss, logits = alone(images, targets)
    maps = make_maps(model, along.level, images)
    loss_along, logits_along = along(maps, targets)
    assert torch.equal(loss, loss_along) and torch.equal(logits, logits_along)
    with torch.autocast("cpu", torch.bfloat16):
        low, _ = along(maps.bfloat16(), targets)
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(loss.item(), rel=0.05)


@BOTH
def test_what_was_trained_becomes_a_local_model(
    model: DescriptorModel, paths: list[Path], tmp_path: Path, settings: DelfSettings
) -> None:
    objective = build(model, settings)
    save_joint(objective, tmp_path / "local.safetensors")
    local = finish(model, tmp_path / "local.safetensors", paths, settings)
    assert local.spec.model_fingerprint == fingerprint_model(model)
    learned = objective.attention.state_dict()
    assert all(torch.equal(t, learned[name]) for name, t in local.attention.state_dict().items())
    if objective.encoder is not None:
        encoder = objective.encoder.projection.weight
        assert torch.equal(local.reduction.projection.weight, encoder)
    decoded = [DecodedImage(photo(SIDE, SIDE, number), (SIDE, SIDE)) for number in range(7)]
    found = DelfExtractor(model, local, settings).extract_batch(decoded)
    scores = np.concatenate([features.scores for features in found])
    assert scores.mean() == pytest.approx(1.0, abs=1e-4)


def test_only_a_trained_dim_is_part_of_what_is_trained(
    model: DescriptorModel, paths: list[Path], tmp_path: Path
) -> None:
    other = {"dim": 5}
    assert joint_settings(PCA.model_copy(update=other)) == joint_settings(PCA)
    assert joint_settings(AUTOENCODER.model_copy(update=other)) != joint_settings(AUTOENCODER)
    for name, settings in {"one": PCA, "other": PCA.model_copy(update=other)}.items():
        save_joint(build(model, settings), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    local = finish(model, tmp_path / "one", paths, PCA.model_copy(update=other))
    assert local.reduction.projection.out_features == 5


@BOTH
def test_settings_that_will_not_do_are_refused_before_training(
    model: DescriptorModel, settings: DelfSettings
) -> None:
    with pytest.raises(ValueError, match=r"rerank\.delf\.dim = 4096: the map has \d+ channels"):
        build(model, settings.model_copy(update={"dim": 4096}))
    with pytest.raises(ValueError, match=r"rerank\.delf\.stride = 12: "):
        build(model, settings.model_copy(update={"stride": 12}))


@pytest.mark.parametrize("damage", ["missing", "cut", "of a PCA", "wider"])
def test_a_file_that_does_not_fit_is_refused(
    model: DescriptorModel, paths: list[Path], tmp_path: Path, damage: str
) -> None:
    path, wider = tmp_path / "local.safetensors", AUTOENCODER.model_copy(update={"hidden": 17})
    saved = {"of a PCA": PCA, "wider": wider}.get(damage, AUTOENCODER)
    save_joint(build(model, saved), path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"local.safetensors is not what was trained along"):
        finish(model, path, paths, AUTOENCODER)


def test_attention_that_chooses_nothing_names_the_settings_it_was_trained_with(
    model: DescriptorModel, paths: list[Path], tmp_path: Path
) -> None:
    objective = build(model, PCA)
    with torch.no_grad():
        objective.attention.score.weight.zero_()
    save_joint(objective, tmp_path / "local.safetensors")
    with pytest.raises(TrainingCollapsed, match=r"the same everywhere.* the rate, .* the epochs"):
        finish(model, tmp_path / "local.safetensors", paths, PCA)


def test_no_readable_image_is_an_error(model: DescriptorModel, tmp_path: Path) -> None:
    save_joint(build(model, PCA), tmp_path / "local.safetensors")
    with pytest.raises(ValueError, match=r"none of 2 .* could be read; the first: .*missing"):
        finish(model, tmp_path / "local.safetensors", [tmp_path / "a.png"] * 2, PCA)
