"""Images a second on a GPU: describing against the model alone, training against steps alone.

Run as `python -m tests.benchmarks.bench_gpu DATA`; without a GPU it says so and measures nothing.
Alone means on tensors in memory. Writes into a temporary folder.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from classify_head.heads import build_head
from embed.backbone import BackboneSpec
from embed.extract import extract_all
from embed.image_file import ImageFile
from embed.images import Batch
from embed.model import DescriptorModel, ModelSpec
from embed.settings import DecodeSettings
from embed.torch_engine import TorchEngine
from embed.train import Trainer
from embed.train_settings import TrainSettings
from embed.training_images import TrainingImages
from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import count_workers

MODELS = ("mobilenetv2_100", "resnet50")
SIDE, EPOCHS, STEPS = 224, 3, 50
IMAGES = 4096  # of a pass; photos come again where there are fewer
BATCH = 64
MAX_PIXELS = 50_000_000


def run(folder: Path) -> str:
    """Return images a second of a dataset folder's photos, a line a figure."""
    if not torch.cuda.is_available():
        return "there is no GPU here: nothing was measured"
    return f"{torch.cuda.get_device_name()}\n" + measure(folder, MODELS, IMAGES, STEPS)


def measure(folder: Path, models: Sequence[str], count: int, steps: int) -> str:
    """Return the lines of some models, on whatever device there is."""
    dataset = Dataset(folder)
    table = dataset.load_split(dataset.class_split)
    rows = np.resize(np.arange(len(table.ids)), count)
    paths = list(dataset.images.locate_all([table.ids[row] for row in rows]))
    labels = np.unique(table.landmark_ids[rows], return_inverse=True)[1]
    lines = [f"{count_workers()} processes or threads load"]
    for name in models:
        lines.append(_describe(name, paths, steps))
        lines += _train(name, paths, labels, steps)
    return "\n".join(lines)


def _describe(name: str, paths: Sequence[ImageFile], steps: int) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = DescriptorModel(ModelSpec(BackboneSpec(name), SIDE, 256)).to(device).eval()
    engine = TorchEngine(model.to(memory_format=torch.channels_last))
    pixels = np.zeros((BATCH, 3, SIDE, SIDE), np.uint8)

    def alone() -> None:
        for _ in range(steps):
            engine.describe(pixels)

    def from_files() -> None:
        extract_all(
            *(engine, paths),
            batch_size=BATCH,
            max_pixels=MAX_PIXELS,
            workers=count_workers(),
        )

    engine.describe(pixels)  # the first makes memory
    return _compare(f"{name} described", _rate(from_files, len(paths)), _rate(alone, steps * BATCH))


def _train(
    name: str, paths: Sequence[ImageFile], labels: NDArray[np.int64], steps: int
) -> Iterator[str]:
    settings = TrainSettings(backbone=name, image_size=SIDE, epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        trainer = Trainer(
            DescriptorModel(ModelSpec(BackboneSpec(name), SIDE, settings.dim)),
            build_head(settings.head, settings.dim, np.bincount(labels), settings.head_scale),
            TrainingImages(paths, labels),
            settings,
            decode=DecodeSettings(),
            fabric=Fabric(accelerator="auto", devices=1, precision="bf16-mixed"),
            checkpoint=Path(folder) / "checkpoint.pt",
            workers=count_workers(),
        )
        rates = list[float]()
        rows = trainer.run(lambda model: {"gap": math.nan})
        for _ in range(EPOCHS):
            rates.append(_rate(lambda: next(rows), trainer.steps * trainer.batch_size))
        size = trainer.batch_size
        images = torch.zeros(size, 3, SIDE, SIDE, dtype=torch.uint8, device=trainer.fabric.device)
        whole = trainer._share(Batch(tuple(range(size)), images, ()))

        def alone() -> None:
            for _ in range(steps):
                trainer._train_step(images, whole)

        trainer.module.train()
        ceiling = _rate(alone, steps * size)
    for epoch, rate in enumerate(rates):
        yield _compare(f"{name} trained, epoch {epoch + 1}", rate, ceiling)


def _rate(work: Callable[[], object], images: int) -> float:
    """Return images a second of some work, all of it done."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return images / (time.perf_counter() - start)


def _compare(what: str, rate: float, alone: float) -> str:
    return f"{what:40} {rate:7.0f} of {alone:7.0f} alone: {rate / alone:.2f}"


if __name__ == "__main__":
    print(run(Path(sys.argv[1])) if sys.argv[1:] else __doc__)
