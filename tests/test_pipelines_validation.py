"""Judging a training: who is asked, what is searched, and which features are kept."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from classify_head.answers import Answers
from classify_head.gap import gap
from classify_head.heads import build_head
from embed.backbone import Backbone, BackboneSpec
from embed.epoch_engine import LEAST_IMAGES, EpochEngines
from embed.graph import GraphEngine
from embed.history import load_rows
from embed.model import DescriptorModel, ModelSpec, load_model
from embed.train_settings import TrainSettings
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import Dataset
from pipelines.runs.recipe import load_recipe
from pipelines.stages.choice import is_better
from pipelines.stages.training_set import load_training_set
from pipelines.stages.validation import FIGURES, Validation, draw_images
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
    figures = validation.figures(answers, answers)
    assert figures["gap"] == gap(answers)
    shown = np.isin(truths, validation.trained)
    assert figures["gap_unseen"] == gap(answers.take(~shown))
    assert figures["recall_at_1"] == np.mean((predicted == truths)[truths >= 0])
    assert figures["head_top1"] == np.mean((predicted == truths)[shown])


def test_pretrained_descriptors_beside_are_those_of_the_joined_model(
    validation: Validation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the one the pretrained network describes each photo once, of the other each time."""
    torch.manual_seed(0)
    backbone = BackboneSpec("test_resnet")
    trained, before = (DescriptorModel(ModelSpec(backbone, 32, dim)).eval() for dim in (16, 0))
    share = 0.3
    beside = replace(validation, before=before, before_share=share)
    alone, no_head = validation.answer(before, alone=True)
    found, _ = beside.answer(trained)
    wanted, head = validation.answer(trained.with_pretrained(before, share))
    monkeypatch.setattr(Validation, "_describe", None)  # these are known
    again, _ = beside.answer(before, alone=True)
    assert head and no_head is None
    assert found and wanted and alone and again
    for one, other in ((found, wanted), (again, alone)):
        assert one.query_ids == other.query_ids
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-5)


def test_a_graph_judges_as_torch_does_and_twice_the_same(validation: Validation) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    torch.manual_seed(0)
    model = DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), 32, 16))
    graphs = EpochEngines(LEAST_IMAGES, validation.engines.views)
    by_graph = replace(validation, engines=graphs)
    for found, again, wanted in zip(
        by_graph.answer(model), by_graph.answer(model), validation.answer(model), strict=True
    ):
        assert found and again and wanted
        assert found.confidences.tobytes() == again.confidences.tobytes()
        np.testing.assert_array_equal(found.labels, again.labels)
        np.testing.assert_array_equal(found.labels, wanted.labels)
        np.testing.assert_allclose(found.confidences, wanted.confidences, atol=1e-5)


def test_what_judges_changes_no_weight(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    monkeypatch.setattr("embed.epoch_engine.LEAST_IMAGES", 1)
    opened: list[str] = []
    export = EpochEngines._export

    def count(self: EpochEngines, model: DescriptorModel) -> GraphEngine | None:
        made = export(self, model)
        assert made is not None
        opened.append(made.name)
        return made

    monkeypatch.setattr(EpochEngines, "_export", count)
    models = []
    for engine in ("torch", "auto"):
        train(data, tmp_path / engine, f"epochs = 2\n[embed]\nengine = '{engine}'\n")
        models.append((tmp_path / engine / "run/model/model.safetensors").read_bytes())
    assert models[0] == models[1] and opened == ["openvino-f32"] * 2


def test_nothing_to_ask_is_no_figure(validation: Validation) -> None:
    assert np.isnan(list(validation.figures(None, None).values())).all()
    assert set(validation.figures(None, None)) == set(FIGURES)


def judge(right: int, of: int = 40) -> Answers:
    """Return answers to so many queries, the first of which are right."""
    return Answers.from_rows((f"{row:03d}", int(row >= right), 1.0, [0]) for row in range(of))


def test_a_model_is_better_only_by_more_than_chance() -> None:
    assert is_better(judge(35), judge(20))
    assert not is_better(judge(21), judge(20))
    assert not is_better(judge(20), judge(20))
    assert not is_better(judge(10), judge(20))
    assert not is_better(None, judge(20))


def train(data: Path, folder: Path, changes: str) -> tuple[list[dict[str, float]], bool]:
    """Train from a weights file; return the history, and whether it is kept."""
    folder.mkdir()
    weights, run = folder / "start.safetensors", folder / "run"
    torch.manual_seed(0)
    network = Backbone(BackboneSpec("test_resnet")).network
    save_file(network.state_dict(), weights, {"architecture": "test_resnet"})
    recipe = make_recipe_file(folder / "tiny.toml", f"{TRAIN}{changes}")
    end = cairn("train", *options(data, run, recipe), "--weights", weights)
    assert end.status == 0, end.err
    manifest = load_manifest(run / "model")
    assert manifest is not None
    return load_rows(run / "model" / "history.csv"), manifest.model["tuned"]


@pytest.mark.parametrize(
    ("gaps", "tuned"),
    [
        # of the best epoch, before the training, of the last epoch
        ([0.5, 0.6, 0.4], False),
        ([0.5, 0.4, 0.4], True),
        ([0.5, 0.4, 0.6], True),
        ([math.nan] * 3, True),
    ],
)
def test_what_judges_best_is_kept(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gaps: list[float],
    tuned: bool,
) -> None:
    caplog.set_level(logging.INFO)
    gaps_of_epochs = iter([0.5, *gaps])  # after the one epoch first
    figures = dict.fromkeys(FIGURES, 0.1)
    monkeypatch.setattr(Validation, "answer", lambda *_, **__: (None, None))
    monkeypatch.setattr(Validation, "figures", lambda *_: {**figures, "gap": next(gaps_of_epochs)})
    history, kept = train(data, tmp_path / "run", "epochs = 1\n" + UNSEEN)
    assert kept == tuned
    assert [row["epoch"] for row in history] == [0, 1]
    assert math.isnan(gaps[1]) or history[0]["gap"] == gaps[1]
    assert ("kept: the pretrained features" in caplog.text) == (not tuned)


def test_without_unseen_landmarks_nothing_is_compared(data: Path, tmp_path: Path) -> None:
    history, tuned = train(data, tmp_path / "all", "epochs = 1\n")
    assert [row["epoch"] for row in history] == [1] and tuned


def test_pretrained_features_lie_beside_the_trained_ones(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = dict.fromkeys(FIGURES, 0.5)  # of equal models the trained one is kept
    monkeypatch.setattr(Validation, "figures", lambda *_: figures)
    history, tuned = train(data, tmp_path / "beside", "epochs = 1\npretrained_share = 0.5\n")
    run = tmp_path / "beside" / "run"
    assert tuned and [row["epoch"] for row in history] == [0, 1]
    model, _ = load_model(run / "model")
    assert model.spec.pretrained_share == 0.5 and model.pretrained is not None
    start = load_file(tmp_path / "beside" / "start.safetensors")
    for name, tensor in model.pretrained.backbone.network.state_dict().items():
        assert torch.equal(tensor, start[name]), name


@pytest.mark.parametrize("most", [100, 1000, 2500, 10_000])
def test_a_validation_of_many_photos_is_capped(most: int) -> None:
    rng = np.random.default_rng(0)
    asked = rng.integers(0, 700, 900)
    searched = np.repeat(np.arange(1000), rng.integers(1, 4, 1000))
    queries, database = draw_images(asked, searched, most, 3)
    total = len(asked) + len(searched)
    assert min(most, total) - 3 <= len(queries) + len(database) <= most
    assert len(queries) >= min(most // 4, len(asked))
    # Of a landmark that is searched all photos are, and each that is asked for is searched.
    shown = np.unique(searched[database])
    np.testing.assert_array_equal(database, np.flatnonzero(np.isin(searched, shown)))
    assert np.isin(asked[queries], shown).all()
    again = draw_images(asked, searched, most, 3)
    assert [rows.tolist() for rows in again] == [queries.tolist(), database.tolist()]
    other, _ = draw_images(asked, searched, most, 4)
    assert (most >= total) == (other.tolist() == queries.tolist())


def test_no_more_photos_are_judged_by_than_the_recipe_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.datasets.PHOTOS", 12)
    data = make_dataset(tmp_path / "data", 12)
    changes = "validation_images = 100\nvalidation_share = 0.5\n" + UNSEEN.replace("0.1", "0.5")
    recipe = load_recipe(str(make_recipe_file(tmp_path / "tiny.toml", "[train]\n" + changes)))
    training = load_training_set(Dataset(data), recipe.train)
    head = build_head(recipe.train.head, 16, np.ones(6, dtype=np.int64), 1.0)
    with caplog.at_level(logging.INFO):
        made = Validation.of(Dataset(data), training, recipe, head, workers=0)
    landmarks = made.query_labels >= 0
    assert landmarks.sum() + len(made.database) <= 100 < 6 * 6 + 6 * 9 + 12 * 3
    assert len(made.queries) == len(made.query_labels)
    assert set(made.query_labels[landmarks].tolist()) <= set(made.database_labels.tolist())
    messages = [r.message for r in caplog.records if r.message.startswith("validation: queries")]
    assert len(messages) == 1 and messages[0].endswith(" of 36, as train.validation_images = 100")
