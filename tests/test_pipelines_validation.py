"""Judging a training: who is asked, what is searched, and which features are kept."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from classify_head.gap import Answers, gap
from classify_head.heads import build_head
from embed.backbone import Backbone, BackboneSpec
from embed.history import load_rows
from embed.settings import TrainSettings
from pipelines.artifacts import load_manifest
from pipelines.choice import is_better
from pipelines.dataset import Dataset
from pipelines.recipe import load_recipe
from pipelines.training_set import load_training_set
from pipelines.validation import FIGURES, Judged, Validation
from tests.datasets import cairn, make_dataset, make_recipe_file, options

TRAIN = "[train]\nvalidation_share = 0.2\nfreeze_batch_norm = true\n"
UNSEEN = "unseen_share = 0.1\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of twelve landmarks."""
    return make_dataset(tmp_path_factory.mktemp("validation") / "data", 12)


@pytest.fixture
def validation(data: Path, tmp_path: Path) -> Validation:
    recipe = load_recipe(str(make_recipe_file(tmp_path / "tiny.toml", TRAIN + UNSEEN)))
    training = load_training_set(Dataset(data), recipe.train)
    settings = recipe.train
    head = build_head(settings.head, settings.dim, np.ones(9, dtype=np.int64), settings.head_scale)
    return Validation.of(Dataset(data), training, recipe, head, workers=0)


def test_unseen_landmarks_are_searched_and_asked_by_different_photos(
    data: Path, validation: Validation
) -> None:
    training = load_training_set(Dataset(data), TrainSettings(unseen_share=0.1))
    unseen = set(np.unique(training.unseen.landmark_ids).tolist())
    assert len(unseen) == 3 and unseen.isdisjoint(training.landmarks.tolist())
    assert not set(training.unseen.ids) & set(training.ids)
    assert set(validation.database_labels.tolist()) == set(range(12))
    assert set(validation.query_labels.tolist()) == {*range(12), -1}
    assert not set(map(str, validation.queries)) & set(map(str, validation.database))


def test_the_figures_are_those_of_the_answers(validation: Validation) -> None:
    truths = np.array([0, 1, 2, 3, -1])
    unseen = [label for label in range(12) if label not in validation.trained]
    truths[2] = unseen[0]
    predicted = np.array([0, 1, unseen[0], 1, 5])
    answers = Answers.from_rows(
        (f"q{row}", int(label), 1 - row / 10, [int(truth)] if truth >= 0 else [])
        for row, (label, truth) in enumerate(zip(predicted, truths, strict=True))
    )
    figures = validation.figures(Judged(answers, truths, predicted))
    assert figures["gap"] == gap(answers)
    shown = np.isin(truths, validation.trained)
    assert figures["gap_unseen"] == gap(answers.take(~shown))
    assert figures["recall_at_1"] == np.mean((predicted == truths)[truths >= 0])
    assert figures["head_top1"] == np.mean((predicted == truths)[shown])


def test_nothing_to_ask_is_no_figure(validation: Validation) -> None:
    assert np.isnan(list(validation.figures(None).values())).all()
    assert set(validation.figures(None)) == set(FIGURES)


def judge(right: int, of: int = 40) -> Judged:
    """Return answers to so many queries, the first of which are right."""
    truths = np.zeros(of, dtype=np.int64)
    predicted = np.where(np.arange(of) < right, 0, 1)
    rows = [(f"{row:03d}", int(label), 1.0, [0]) for row, label in enumerate(predicted)]
    return Judged(Answers.from_rows(rows), truths, predicted)


def test_a_model_is_better_only_by_more_than_chance() -> None:
    assert is_better(judge(35), judge(20))
    assert not is_better(judge(21), judge(20))
    assert not is_better(judge(20), judge(20))
    assert not is_better(judge(10), judge(20))
    assert not is_better(None, judge(20))


def train(data: Path, folder: Path, changes: str) -> tuple[list[dict[str, float]], float]:
    """Train from a weights file; return the history, and what share is kept."""
    folder.mkdir()
    weights, run = folder / "start.safetensors", folder / "run"
    network = Backbone(BackboneSpec("test_resnet")).network
    save_file(network.state_dict(), weights, {"architecture": "test_resnet"})
    recipe = make_recipe_file(folder / "tiny.toml", f"{TRAIN}epochs = 1\n{changes}")
    end = cairn("train", *options(data, run, recipe), "--weights", weights)
    assert end.status == 0, end.err
    manifest = load_manifest(run / "model")
    assert manifest is not None
    return load_rows(run / "model" / "history.csv"), manifest.model["tuned_share"]


@pytest.mark.parametrize(
    ("gaps", "share"),
    [
        # of the best epoch, before the training, of the last epoch and of its mixtures
        ([0.5, 0.6, 0.4, 0.5, 0.5, 0.5], 0.0),
        ([0.5, 0.4, 0.4, 0.5, 0.5, 0.5], 1.0),
        ([0.5, 0.4, 0.6, 0.5, 0.5, 0.5], 1.0),
        ([0.5, 0.4, 0.4, 0.5, 0.7, 0.6], 0.5),
        ([math.nan] * 6, 1.0),
    ],
)
def test_what_judges_best_is_kept(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gaps: list[float],
    share: float,
) -> None:
    caplog.set_level(logging.INFO)
    told = iter([0.5, *gaps])  # after the one epoch first
    figures = dict.fromkeys(FIGURES, 0.1)
    monkeypatch.setattr(Validation, "answer", lambda *_: None)
    monkeypatch.setattr(Validation, "figures", lambda *_: {**figures, "gap": next(told)})
    history, kept = train(data, tmp_path / "run", UNSEEN)
    assert kept == share
    assert [row["epoch"] for row in history] == [0, 1]
    assert math.isnan(gaps[1]) or history[0]["gap"] == gaps[1]
    assert ("kept: the pretrained features" in caplog.text) == (share == 0)


def test_without_unseen_landmarks_nothing_is_compared(data: Path, tmp_path: Path) -> None:
    history, share = train(data, tmp_path / "all", "")
    assert [row["epoch"] for row in history] == [1] and share == 1
