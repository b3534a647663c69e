"""How training images are loaded, on any device: read or not, as they are or as variants."""

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from embed.images import Batch
from embed.training_images import TrainingImages, loader_options
from embed.upsampling import upsample
from tests.trainings import (
    SETTINGS,
    make,
    measured,
    one_torch_thread,
    same,
    weights,
    write_images,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    return write_images(tmp_path_factory.mktemp("images"))


def with_file(images: TrainingImages, positions: set[int], path: Path) -> TrainingImages:
    path.write_bytes(b"no image")
    paths = [path if n in positions else kept for n, kept in enumerate(images.paths)]
    return TrainingImages(paths, images.labels)


def test_an_unreadable_image_is_recorded_once_and_training_goes_on(
    images: TrainingImages, tmp_path: Path
) -> None:
    broken = with_file(images, {4}, tmp_path / "broken.png")
    trainer = make(broken, tmp_path / "checkpoint.pt")
    rows = list(trainer.run(measured))
    assert len(rows) == 3 and all(math.isfinite(row["head_loss"]) for row in rows)
    assert [(f.position, f.reason) for f in trainer.failures] == [(4, "not_an_image")]
    resumed = make(broken, tmp_path / "checkpoint.pt")
    assert resumed.failures == trainer.failures


def test_no_readable_image_at_all_is_an_error(images: TrainingImages, tmp_path: Path) -> None:
    broken = with_file(images, set(range(18)), tmp_path / "broken.png")
    with pytest.raises(
        ValueError, match=r"no batch of training images could be read; the first: .*broken"
    ):
        next(make(broken, tmp_path / "checkpoint.pt").run(measured))


def with_variants(images: TrainingImages) -> TrainingImages:
    """Return the first 2 images of each class, filled up to 6 by variants of them."""
    kept = [0, 1, 6, 7, 12, 13]
    made = upsample(images.labels[kept], 6, seed=0)
    ids = tuple(f"{row:02d}" for row in kept)
    paths = [images.paths[row] for row in kept]
    return TrainingImages(paths, images.labels[kept][made.rows], made, ids)


@pytest.mark.parametrize("sampler", ["m-per-class", "uniform", "square-root", "class-balanced"])
def test_a_training_on_variants_goes_on_with_the_same_bits(
    images: TrainingImages, tmp_path: Path, sampler: str
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 2, "sampler": sampler, "triplet_weight": 0.0})
    few = with_variants(images)
    whole = make(few, tmp_path / "whole.pt", settings)
    list(whole.run(measured))
    assert whole.steps == 3  # of 18 examples in batches of 6
    next(make(few, tmp_path / "parts.pt", settings).run(measured))
    resumed = make(few, tmp_path / "parts.pt", settings, seed=7)
    resumed.loader.workers = 2  # nothing depends on who decodes
    list(resumed.run(measured))
    assert same(weights(resumed), weights(whole))
    plain = make(TrainingImages(few.paths, np.repeat(np.arange(3), 2)), tmp_path / "p.pt", settings)
    list(plain.run(measured))
    assert not same(weights(plain), weights(whole))


def test_an_unreadable_image_is_recorded_once_for_all_its_variants(
    images: TrainingImages, tmp_path: Path
) -> None:
    few = with_variants(images)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = [broken if row == 3 else path for row, path in enumerate(few.paths)]
    part = TrainingImages(paths, few.labels, few.examples, few.ids)
    trainer = make(part, tmp_path / "checkpoint.pt", SETTINGS.model_copy(update={"epochs": 1}))
    list(trainer.run(measured))
    assert [(f.position, f.reason) for f in trainer.failures] == [(3, "not_an_image")]


def test_labels_that_do_not_fit_the_images_are_refused(images: TrainingImages) -> None:
    with pytest.raises(ValueError, match="17 labels for 18 images or examples"):
        TrainingImages(images.paths, images.labels[1:])
    made = upsample(images.labels, 8, seed=0)
    with pytest.raises(ValueError, match="24 labels for 24 images or examples, 0 ids for 18"):
        TrainingImages(images.paths, images.labels[made.rows], made)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_gpu_gets_pinned_batches_and_processes_stay(device: str, workers: int) -> None:
    options = loader_options(torch.device(device), workers)
    assert options["pin_memory"] is (device == "cuda")
    assert options.get("persistent_workers", False) is (workers > 0)
    DataLoader(torch.zeros(4, 1), batch_size=2, **options)  # type: ignore[arg-type]


def test_a_batch_pins_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = torch.ones(1, 3, 2, 2)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned)
    batch = Batch((4,), torch.zeros(1, 3, 2, 2), ()).pin_memory()
    assert batch.images is pinned and batch.positions == (4,)


FORKED = """
import cv2, numpy as np, sys
from torch.utils.data import DataLoader, Dataset
from embed.images import start_loader
class Blurred(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, place):
        cv2.setNumThreads(1)  # which waits for those that there were, and are not here
        return cv2.GaussianBlur(image, (31, 31), 9).mean()
image = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
cv2.setNumThreads(4)
for _ in range(5):
    cv2.GaussianBlur(image, (31, 31), 9)  # whose threads wait for more, and are not forked
print(len(list(start_loader(DataLoader(Blurred(), num_workers=2)))), cv2.getNumThreads())
"""


def test_processes_that_load_do_not_wait_for_threads_that_were_not_forked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "4 4\n"
