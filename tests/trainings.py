"""Tiny trainings for the tests of embed.train: images of three classes, settings, a head."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from embed.backbone import BackboneSpec
from embed.model import DescriptorModel, ModelSpec
from embed.settings import DecodeSettings
from embed.train import Trainer
from embed.train_settings import TrainSettings
from embed.training_images import TrainingImages
from tests.images import photo

SETTINGS = TrainSettings(
    image_size=32,
    dim=8,
    epochs=3,
    classes_per_batch=3,
    images_per_class=2,
    learning_rate=1e-3,
    precision="float32",
)


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Spare tiny networks the wait for a second thread: ten times slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_images(folder: Path) -> TrainingImages:
    """Write 6 images of 48 pixels of each of 3 classes."""
    paths = [folder / f"{number:02d}.png" for number in range(18)]
    for number, path in enumerate(paths):
        tinted = photo(48, 48, seed=number) // 2 + np.uint8(60 * (number // 6))
        Image.fromarray(tinted).save(path)
    return TrainingImages(paths, np.repeat(np.arange(3), 6))


class Classes(nn.Module):
    """A head of three classes that draws in every step."""

    def __init__(self, dim: int) -> None:
        """Take the length of the features."""
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.1), nn.Linear(dim, 3))

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return logits [B, 3]."""
        return self.layers(features)  # type: ignore[no-any-return]


def make(
    images: TrainingImages,
    checkpoint: Path,
    settings: TrainSettings = SETTINGS,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Trainer:
    """Return a training of a tiny network, its first weights drawn by the seed."""
    torch.manual_seed(seed)
    spec = ModelSpec(BackboneSpec("test_resnet"), settings.image_size, settings.dim)
    return Trainer(
        DescriptorModel(spec),
        Classes(settings.dim),
        images,
        settings,
        decode=DecodeSettings(),
        fabric=Fabric(accelerator="cpu", devices=1, precision="32-true"),
        checkpoint=checkpoint,
        workers=0,
        report=report,
    )


def scripted(gaps: list[float]) -> Callable[[DescriptorModel], dict[str, float]]:
    """Return a validation whose outcomes are known beforehand."""
    left = iter(gaps)
    return lambda model: {"gap": next(left), "recall_at_1": 0.0}


def measured(model: DescriptorModel) -> dict[str, float]:
    """Return a figure that depends on the weights, and leave the model in eval mode."""
    model.eval()
    return {"gap": sum(p.abs().sum().item() for p in model.neck.parameters()), "recall_at_1": 0.0}


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return a copy of the weights of model and head."""
    state = {**trainer.model.state_dict(), **trainer.head.state_dict()}
    return {name: tensor.clone() for name, tensor in state.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Tell whether the weights are the same, bit by bit."""
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())
