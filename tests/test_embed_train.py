"""A tiny training: it can be interrupted anywhere, keeps its best epoch and says when it fails."""

import itertools
import math
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from embed import train
from embed.decode import DecodedImage, decode_image
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel
from embed.profile import PARTS
from embed.train_settings import FreezeSettings, PhaseSettings, TrainSettings
from embed.training_images import TrainingImages
from tests.trainings import (
    SETTINGS,
    make,
    measured,
    one_torch_thread,
    same,
    scripted,
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


def test_progress_counts_the_images_that_were_trained_on(
    images: TrainingImages, tmp_path: Path
) -> None:
    moves: list[tuple[int, int]] = []
    whole = make(images, tmp_path / "c.pt", report=lambda *moved: moves.append(moved))
    next(whole.run(measured))
    assert moves == [(6, 54), (12, 54), (18, 54)]  # 3 epochs of 3 batches of 6
    moves.clear()
    list(make(images, tmp_path / "c.pt", report=lambda *moved: moves.append(moved)).run(measured))
    assert moves[0] == (24, 54) and moves[-1] == (54, 54)
    shares = whole.profile.shares()
    assert "wait" not in shares and shares["backward"] > 0 and shares["augment"] > 0
    assert sum(shares.values()) == pytest.approx(1)


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


def test_images_of_one_class_come_together_only_where_triplets_are_made() -> None:
    assert TrainSettings(sampler="uniform", images_per_class=3).group == 3
    assert TrainSettings(sampler="uniform", images_per_class=3, triplet_weight=0).group == 1
    assert TrainSettings(images_per_class=3, triplet_weight=0).group == 3
