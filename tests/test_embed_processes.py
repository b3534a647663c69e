"""Training on two processes: as one would train, told as one, ended as one.

Each `run_processes` starts processes that import torch, so what can be tried in the same two is.
"""

import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from embed.backbone import BackboneSpec
from embed.errors import InputError
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel, ModelSpec
from embed.processes import Report, run_processes, start_fabric
from embed.sampling import EpochBatches, epoch_order
from embed.settings import DecodeSettings
from embed.train import Trainer, size_epoch
from embed.train_settings import TrainSettings
from embed.training_images import TrainingImages
from tests.images import photo

# Nothing that is not the same on shares of a batch: no batch norm that is trained, no dropout. Adam
# would make steps of the rounding of gradients that are all but 0.
SETTINGS = TrainSettings(
    image_size=32,
    dim=0,
    epochs=3,
    classes_per_batch=3,
    images_per_class=2,
    optimizer="sgd",
    learning_rate=1e-2,
    precision="float32",
    freeze_batch_norm=True,
)
LOSSES: dict[str, dict[str, Any]] = {
    "triplet": {},
    "random triplets": {"miner": "distance-weighted"},
    "memory": {"metric_loss": "contrastive", "memory": 13},
    "uneven shares": {"sampler": "uniform", "triplet_weight": 0.0, "batch_size": 5},
}
CLASSES = np.repeat(np.arange(3), 6)
BROKEN = (6, 8, 9, 10, 13, 17)
OVERFLOWING = {"learning_rate": 1e30, "head_learning_rate": 1e30, "warmup": 0.0}
silent: Report = lambda done, steps: None  # noqa: E731


def make(folder: Path, settings: TrainSettings, fabric: Fabric, name: str = "") -> Trainer:
    """Return a trainer on the images of a folder."""
    torch.manual_seed(0)
    spec = ModelSpec(BackboneSpec("test_resnet"), settings.image_size, settings.dim)
    model = DescriptorModel(spec)
    return Trainer(
        model,
        Head(model.head_dim),
        TrainingImages(sorted(folder.glob("*.png")), CLASSES),
        settings,
        decode=DecodeSettings(),
        fabric=fabric,
        checkpoint=folder / f"{name}-{fabric.world_size}.pt",
        workers=0,
    )


class Head(nn.Linear):
    """A head of three classes."""

    def __init__(self, dim: int) -> None:
        """Take the length of the features."""
        super().__init__(dim, 3)

    def forward(self, features: torch.Tensor, labels: Any = None) -> torch.Tensor:
        """Return logits [B, 3]."""
        return super().forward(features)


def flat(trainer: Trainer) -> torch.Tensor:
    """Return all weights in a row."""
    state = trainer.module.state_dict().values()
    return torch.cat([tensor.detach().double().ravel() for tensor in state])


def alone(model: DescriptorModel) -> dict[str, float]:
    """Judge an epoch, in the first process only."""
    assert os.environ.get("LOCAL_RANK", "0") == "0"
    return {"gap": 0.5}


def train_each(folder: Path, fabric: Fabric) -> dict[str, tuple[list[dict[str, float]], Any]]:
    """Train by each of the LOSSES; return their histories and weights."""
    found = {}
    for name, changes in LOSSES.items():
        settings = SETTINGS.model_copy(update=changes)
        next(make(folder / "whole", settings, fabric, name).run(alone))
        trainer = make(folder / "whole", settings, fabric, name)  # goes on
        list(trainer.run(alone))
        found[name] = trainer.progress.history, flat(trainer)
    return found


def train_in_process(folder: Path, report: Report) -> None:
    """Do all that the tests look at; leave what each process found in a file of its rank."""
    torch.set_num_threads(1)
    fabric = start_fabric(2, "32-true")
    found: dict[str, Any] = {"losses": train_each(folder, fabric)}
    broken = make(folder / "broken", SETTINGS, fabric)
    found["rows"] = len(list(broken.run(alone)))
    found["failures"] = [failure.position for failure in broken.failures]
    patient = SETTINGS.model_copy(update={"patience": 1, "epochs": 9})
    found["patient"] = len(list(make(folder / "whole", patient, fabric, "patient").run(alone)))
    overflowing = SETTINGS.model_copy(update=OVERFLOWING)
    try:
        list(make(folder / "whole", overflowing, fabric, "overflowing").run(alone))
    except TrainingCollapsed as error:
        found["collapsed"] = str(error)
    logging.getLogger("embed.train").info("done by %d", fabric.global_rank)
    report(3, 4)
    torch.save(found, folder / f"rank{fabric.global_rank}.pt")


@dataclass(frozen=True)
class Pair:
    """What two processes have found, and what reached the one that started them."""

    folder: Path
    ranks: tuple[dict[str, Any], dict[str, Any]]
    logged: list[str]
    reported: list[tuple[int, int]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Train on two processes: 6 images of each of 3 classes, and where 6 cannot be read."""
    folder = tmp_path_factory.mktemp("pair")
    for kind in ("whole", "broken"):
        (folder / kind).mkdir()
        for number in range(18):
            path = folder / kind / f"{number:02d}.png"
            tinted = photo(48, 48, seed=number) // 2 + np.uint8(60 * (number // 6))
            Image.fromarray(tinted).save(path)
            if kind == "broken" and number in BROKEN:
                path.write_bytes(b"no image")
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logger, reported = logging.getLogger("embed.train"), list[tuple[int, int]]()
    logger.addHandler(handler)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.INFO)
    try:
        run_processes(2, partial(train_in_process, folder), lambda *moved: reported.append(moved))
    finally:
        logging.getLogger().setLevel(level)
        logger.removeHandler(handler)
    first, second = (torch.load(folder / f"rank{rank}.pt") for rank in (0, 1))
    yield Pair(folder, (first, second), records, reported)


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_learn_what_one_does(pair: Pair, name: str) -> None:
    fabric = start_fabric(1, "32-true")
    trainer = make(pair.folder / "whole", SETTINGS.model_copy(update=LOSSES[name]), fabric, name)
    before = flat(trainer)
    list(trainer.run(alone))
    (history, weights), (other_history, other_weights) = (
        rank["losses"][name] for rank in pair.ranks
    )
    assert torch.equal(weights, other_weights) and history == other_history
    moved = (flat(trainer) - before).abs().max()
    assert (weights - flat(trainer)).abs().max() < 1e-3 * moved
    for row, expected in zip(history, trainer.progress.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)


def test_failures_of_all_processes_are_on_record(pair: Pair) -> None:
    drawn, short = set(), []
    for epoch in range(SETTINGS.epochs):
        order = epoch_order(
            CLASSES, "m-per-class", batch_size=6, per_class=2, seed=0, epoch=epoch, batches=3
        )
        drawn |= set(order.tolist())
        shares = [EpochBatches(order, 6, epoch, rank, 2) for rank in (0, 1)]
        read = [[sum(key[0] not in BROKEN for key in batch) for batch in share] for share in shares]
        short += [pair for pair in zip(*read, strict=True) if min(pair) < 2 <= max(pair)]
    assert short  # batches that one of the two alone would leave out
    for rank in pair.ranks:
        assert rank["rows"] == 3
        assert rank["failures"] == sorted(drawn & set(BROKEN))


def test_both_processes_decide_the_same(pair: Pair) -> None:
    for rank in pair.ranks:
        assert rank["patient"] == 2
        assert rank["collapsed"].startswith("the loss or the descriptors are not finite")


def test_the_first_process_alone_is_heard(pair: Pair) -> None:
    assert pair.logged.count("going on after epoch 1") == len(LOSSES)
    assert "done by 0" in pair.logged and "done by 1" not in pair.logged
    assert pair.reported == [(3, 4)]


def test_a_share_of_one_image_is_refused() -> None:
    with pytest.raises(InputError, match="batches of 6 images are too small for 4 devices"):
        size_epoch(SETTINGS, np.arange(20) % 3, 4)


def fail_in_second(report: Report) -> None:
    """Wait for a process that fails."""
    fabric = start_fabric(2, "32-true")
    if fabric.global_rank == 1:
        raise InputError("two lines", "of advice")
    fabric.barrier()
    raise AssertionError("it waited for nobody")


def test_an_error_of_one_process_ends_all_with_that_error() -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        run_processes(2, fail_in_second, silent)
    assert caught.value.lines == ("two lines", "of advice")
    assert "fail_in_second" in "".join(caught.value.__notes__)
    assert time.monotonic() - began < 600  # no timeout of the group, which is of days


def die(report: Report) -> None:
    """End as if memory were full."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_the_system_kills_is_told_with_advice() -> None:
    with pytest.raises(InputError, match="training process 1 of 1, as it does when memory is full"):
        run_processes(1, die, silent)
