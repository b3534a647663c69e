"""A report's recipe on a tiny dataset: one command to its page, and twice to the same bytes."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.commands.start import start_job
from pipelines.reports.explain import Explainer
from pipelines.stages import order
from tests.datasets import LANDMARKS, QUERIES, Finished, cairn, make_dataset, results

# The recipe as it is, ERUS, plateau and bfloat16, with a network for tests on small images.
RECIPE = """
base = "balanced-ensemble"

[small.train]
backbone = "test_resnet"
pretrained = false
freeze_batch_norm = false
image_size = 32
batch_size = 8
epochs = 2
freeze.last_convolutions = 10  # of 15

[small.train.balance]
upsample_to = 6
"""
MEMBERS = ("set-0", "set-1", "set-2")


@dataclass(frozen=True)
class Report:
    """A finished run of the recipe at its small scale."""

    data: Path
    run: Path
    recipe: Path
    curves: Path
    end: Finished


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    pytest.importorskip("tensorboard", reason="an extra: pip install -e '.[tensorboard]'")
    folder = tmp_path_factory.mktemp("report_runs")
    data, recipe = make_dataset(folder / "data"), folder / "tiny.toml"
    recipe.write_text(RECIPE)
    run, curves = folder / "run", folder / "curves"
    options = ["--data", data, "--run", run, "--recipe", recipe, "--scale", "small"]
    end = cairn("run", *options, "--workers", 0, "--tensorboard", curves)
    return Report(data, run, recipe, curves, end)


def test_it_ends_with_a_page_though_no_local_features_were_compared(report: Report) -> None:
    assert report.end.status == 0, report.end.err
    assert report.end.out.count("wrote ") == 7 + len(MEMBERS)  # curves of each; no matches/
    assert "The costliest errors" in (report.run / "report.html").read_text()
    for name, count in (("predictions", len(QUERIES)), ("data/validation", 2 * LANDMARKS)):
        assert len((report.run / f"{name}.csv").read_text().splitlines()) == 1 + count


def test_each_model_has_its_curves_in_tensorboard(report: Report) -> None:
    name = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(name).EventAccumulator
    assert sorted(path.name for path in report.curves.iterdir()) == list(MEMBERS)
    for member in MEMBERS:
        read = accumulator(str(report.curves / member)).Reload()
        assert {"epochs/gap", "epochs/head_loss", "steps/head_loss", "steps/learning_rate"} <= set(
            read.Tags()["scalars"]
        )
        assert [event.step for event in read.Scalars("epochs/gap")] == [1, 2]


def test_curves_of_a_finished_training_can_be_had_later(report: Report, tmp_path: Path) -> None:
    end = cairn("run", "--run", report.run, "--tensorboard", tmp_path / "later")
    assert end.status == 0, end.err
    assert sorted(path.name for path in (tmp_path / "later").iterdir()) == list(MEMBERS)
    assert all(list((tmp_path / "later" / member).iterdir()) for member in MEMBERS)


def test_an_answer_of_the_head_is_explained_by_its_class(report: Report, tmp_path: Path) -> None:
    explained = Explainer(report.run, into=tmp_path).explain(report.data / "images" / "q0.jpg")
    best = explained.answer.best  # there, though no neighbour was asked
    assert best is not None
    assert explained.subject == f"the head's class {best.name}"


def test_two_trainings_give_the_same_bytes(report: Report, tmp_path: Path) -> None:
    run = tmp_path / "run"
    order.train(start_job(report.data, run, str(report.recipe), None, workers=0, scale="small"))
    for member in MEMBERS:
        first, second = (results(each / "members" / member / "model") for each in (report.run, run))
        assert {"metrics.csv", "history.csv", "model.safetensors", "curves.png"} <= set(second)
        assert first == second
