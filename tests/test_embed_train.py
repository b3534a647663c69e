"""A tiny training: it can be interrupted anywhere, keeps its best epoch and says when it fails."""

import itertools
import math
from collections.abc import Callable, Iterator
from math import nan
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from embed import train
from embed.backbone import BackboneSpec
from embed.decode import DecodedImage, decode_image
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel, ModelSpec
from embed.profile import PARTS
from embed.settings import DecodeSettings
from embed.train import Trainer
from embed.train_settings import FreezeSettings, PhaseSettings, TrainSettings
from embed.training_images import TrainingImages
from embed.upsampling import upsample
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


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Spare tiny networks the wait for a second thread: ten times slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    """Write 6 images of 48 pixels of each of 3 classes."""
    folder = tmp_path_factory.mktemp("images")
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
) -> Trainer:
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
    state = {**trainer.model.state_dict(), **trainer.head.state_dict()}
    return {name: tensor.clone() for name, tensor in state.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_training_runs_and_changes_the_weights(images: TrainingImages, tmp_path: Path) -> None:
    trainer = make(images, tmp_path / "checkpoint.pt")
    before = weights(trainer)
    rows = list(trainer.run(measured))
    assert [row["epoch"] for row in rows] == [1.0, 2.0, 3.0]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert rows[-1]["head_loss"] < rows[0]["head_loss"]
    assert not same(weights(trainer), before) and trainer.failures == []


def test_kept_images_change_no_weight_and_go_when_it_ends(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def decode(data: bytes, *, name: str, min_side: int, max_pixels: int) -> DecodedImage:
        decoded.append(name)
        return decode_image(data, name=name, min_side=min_side, max_pixels=max_pixels)

    monkeypatch.setattr("embed.augmented_files.decode_image", decode)
    trainer = make(images, tmp_path / "kept.pt")
    rows = trainer.run(measured)
    next(rows), next(rows)
    assert sorted(decoded) == sorted(set(decoded))  # each once, in two epochs
    list(rows)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.pt"]
    taken = trainer.profile.seconds()
    assert all(taken[part] for part in PARTS if part != "export"), taken
    none = make(images, tmp_path / "none.pt", SETTINGS.model_copy(update={"cache_gigabytes": 0.0}))
    decoded.clear()
    list(none.run(measured))
    assert len(decoded) > 2 * len(set(decoded)) and same(weights(none), weights(trainer))


def test_an_interrupted_training_leaves_no_images_behind(
    images: TrainingImages, tmp_path: Path
) -> None:
    rows = make(images, tmp_path / "checkpoint.pt").run(measured)
    next(rows)
    assert len(list(tmp_path.iterdir())) == 2
    rows.close()  # type: ignore[attr-defined]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_an_interrupted_training_ends_with_the_same_bits(
    images: TrainingImages, tmp_path: Path, optimizer: str
) -> None:
    settings = SETTINGS.model_copy(update={"optimizer": optimizer})
    whole = make(images, tmp_path / "whole.pt", settings)
    expected = list(whole.run(measured))
    started = make(images, tmp_path / "parts.pt", settings)
    first = next(started.run(measured))
    # Another start: all must come from the checkpoint.
    resumed = make(images, tmp_path / "parts.pt", settings, seed=7)
    assert same(weights(resumed), weights(started))
    rest = list(resumed.run(measured))
    assert [first, *rest] == expected == resumed.progress.history
    assert same(weights(resumed), weights(whole))
    whole.restore_best()
    resumed.restore_best()
    assert same(weights(resumed), weights(whole))


def test_an_interrupted_training_in_phases_ends_with_the_same_bits(
    images: TrainingImages, tmp_path: Path
) -> None:
    frozen = FreezeSettings(last_convolutions=0)
    settings = SETTINGS.model_copy(
        update={
            "epochs": 4,
            "phases": (PhaseSettings(epochs=1, freeze=frozen), PhaseSettings(epochs=3)),
            "schedule": "plateau",
            "plateau_epochs": 1,
            "metric_loss": "contrastive",
            "memory": 13,
        }
    )
    gaps = [0.5, 0.4, 0.3, 0.2]
    whole = make(images, tmp_path / "whole.pt", settings)
    list(whole.run(scripted(gaps)))
    for number, gap in enumerate(gaps):  # a new process for every epoch
        part = make(images, tmp_path / "parts.pt", settings, seed=number)
        next(part.run(scripted([gap])))
    assert same(weights(part), weights(whole))
    assert part.progress.steps == whole.progress.steps


def test_phases_freeze_and_thaw_and_have_their_own_rates_and_sizes(
    images: TrainingImages, tmp_path: Path
) -> None:
    phases = (
        PhaseSettings(epochs=1, image_size=64, freeze=FreezeSettings(last_convolutions=0)),
        PhaseSettings(epochs=1, learning_rate=1e-4, freeze=FreezeSettings(head=True)),
    )
    update = {"epochs": 2, "phases": phases, "schedule": "constant", "warmup": 0.0}
    trainer = make(images, tmp_path / "c.pt", SETTINGS.model_copy(update=update))
    sides: list[int] = []
    trainer.model.backbone.register_forward_pre_hook(
        lambda module, given: sides.append(given[0].shape[-1])
    )
    states = [weights(trainer), *(weights(trainer) for _ in trainer.run(scripted([0.1, 0.2])))]
    inner = {name for name in states[0] if name.startswith("backbone.") and "num_" not in name}
    outer = set(trainer.head.state_dict())
    for (before, after), (moved, kept) in zip(
        itertools.pairwise(states), [(outer, inner), (inner, outer)], strict=True
    ):
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved <= changed and not kept & changed
    assert sides == [64] * trainer.steps + [32] * trainer.steps
    assert {row["epoch"]: row["learning_rate"] for row in trainer.progress.steps} == {
        1: 1e-3,
        2: 1e-4,
    }


@pytest.mark.parametrize(
    ("update", "steps"),
    [({}, 3), ({"epoch_share": 0.5}, 2), ({"epoch_share": 0.01}, 1), ({"epoch_steps": 5}, 5)],
)
def test_an_epoch_has_the_steps_that_the_settings_say(
    images: TrainingImages, tmp_path: Path, update: dict[str, float], steps: int
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1, **update})
    trainer = make(images, tmp_path / "c.pt", settings)
    list(trainer.run(measured))
    assert [row["step"] for row in trainer.progress.steps] == list(range(1, steps + 1))


def test_a_finished_training_does_nothing_more(images: TrainingImages, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})
    list(make(images, tmp_path / "c.pt", settings).run(measured))
    again = make(images, tmp_path / "c.pt", settings, seed=7)
    assert not list(again.run(measured)) and len(again.progress.history) == 1


@pytest.mark.parametrize(
    ("gaps", "best"),
    [
        ([0.2, 0.5, 0.4], 2),
        ([0.5, 0.2, 0.5], 3),  # of equal ones the later
        ([nan, nan, nan], 3),
        ([0.5, nan, 0.4], 1),
        ([nan, 0.1, nan], 2),
    ],
)
def test_the_best_epoch_is_restored(
    images: TrainingImages, tmp_path: Path, gaps: list[float], best: int
) -> None:
    trainer = make(images, tmp_path / "checkpoint.pt")
    after = [weights(trainer) for _ in trainer.run(scripted(gaps))]
    trainer.restore_best()
    assert trainer.progress.best["epoch"] == best
    assert same(weights(trainer), after[best - 1])
    assert best == 3 or not same(weights(trainer), after[-1])


def test_without_an_epoch_the_first_weights_stay(images: TrainingImages, tmp_path: Path) -> None:
    trainer = make(images, tmp_path / "c.pt", SETTINGS.model_copy(update={"epochs": 0}))
    before = weights(trainer)
    assert list(trainer.run(measured)) == []
    trainer.restore_best()
    assert same(weights(trainer), before)


def test_patience_ends_a_training_that_gets_no_better(
    images: TrainingImages, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 9, "patience": 2})
    trainer = make(images, tmp_path / "checkpoint.pt", settings)
    assert len(list(trainer.run(scripted([0.3, 0.5, 0.4, 0.4, 0.9])))) == 4
    resumed = make(images, tmp_path / "checkpoint.pt", settings)
    assert list(resumed.run(scripted([]))) == []


def test_patience_ends_no_phase_but_the_last(images: TrainingImages, tmp_path: Path) -> None:
    phases = (PhaseSettings(epochs=4), PhaseSettings(epochs=5))
    settings = SETTINGS.model_copy(update={"epochs": 9, "patience": 2, "phases": phases})
    trainer = make(images, tmp_path / "checkpoint.pt", settings)
    gaps = [0.9, 0.3, 0.3, 0.3, 0.5, 0.6, 1.0]
    assert len(list(trainer.run(scripted(gaps)))) == 6
    assert trainer.progress.best["epoch"] == 1


@pytest.mark.parametrize(
    ("alarms", "rows"), [("xx", 1), ("x.xx", 3), ("x.x.", 4)], ids=["at once", "later", "never"]
)
def test_two_collapsed_epochs_in_a_row_end_the_training(
    images: TrainingImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    alarms: str,
    rows: int,
) -> None:
    said = iter(alarms.replace(".", " "))
    monkeypatch.setattr(train, "check_collapse", lambda *given: next(said).strip())
    settings = SETTINGS.model_copy(update={"epochs": len(alarms)})
    done = 0
    try:
        # A new process for every epoch: the count is part of the checkpoint.
        for _ in alarms:
            next(make(images, tmp_path / "checkpoint.pt", settings).run(scripted([0.5])))
            done += 1
    except TrainingCollapsed as error:
        assert str(error) == "x" and done < len(alarms)
    assert done == rows


def test_weights_that_overflow_end_the_training_with_advice(
    images: TrainingImages, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(
        update={"learning_rate": 1e30, "head_learning_rate": 1e30, "warmup": 0.0}
    )

    def validate(model: DescriptorModel) -> dict[str, float]:
        raise AssertionError("descriptors that are not finite cannot be searched")

    with pytest.raises(TrainingCollapsed, match="not finite; lower learning_rate"):
        list(make(images, tmp_path / "checkpoint.pt", settings).run(validate))


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


def test_a_kill_while_the_checkpoint_is_written_leaves_the_last_one(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    trainer = make(images, path)
    epochs = trainer.run(measured)
    next(epochs)
    kept = path.read_bytes()

    def stop(state: object, target: BinaryIO) -> None:
        target.write(kept[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            next(epochs)
    assert path.read_bytes() == kept and list(tmp_path.iterdir()) == [path]
    assert make(images, path).progress.epoch == 1


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


def test_images_of_one_class_come_together_only_where_triplets_are_made() -> None:
    assert TrainSettings(sampler="uniform", images_per_class=3).group == 3
    assert TrainSettings(sampler="uniform", images_per_class=3, triplet_weight=0).group == 1
    assert TrainSettings(images_per_class=3, triplet_weight=0).group == 3


def test_labels_that_do_not_fit_the_images_are_refused(images: TrainingImages) -> None:
    with pytest.raises(ValueError, match="17 labels for 18 images or examples"):
        TrainingImages(images.paths, images.labels[1:])
    made = upsample(images.labels, 8, seed=0)
    with pytest.raises(ValueError, match="24 labels for 24 images or examples, 0 ids for 18"):
        TrainingImages(images.paths, images.labels[made.rows], made)
