"""The plan of recipes with ensembles, stages, heads as judges, a section [data]."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from embed.settings import TrainSettings
from embed.train import Trainer
from pipelines.commands.data_report import report
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.tables import read_tables
from pipelines.reports.data_report import DataReport, Planned, make_report
from pipelines.reports.data_report_sections import make_sections
from pipelines.runs.job import Job
from pipelines.runs.recipe import Recipe, load_recipe, make_recipe
from pipelines.stages.forecast.chosen import count_chosen
from pipelines.stages.forecast.laps import Rate
from pipelines.stages.forecast.limits import find_limits
from pipelines.stages.forecast.machine import Machine
from pipelines.stages.forecast.measure import measure
from pipelines.stages.forecast.model_work import count_batch, count_steps, list_models
from pipelines.stages.forecast.plan import plan_stages
from pipelines.stages.forecast.rates import ModelRates, Rates
from pipelines.stages.forecast.stage_plan import Part, StagePlan
from pipelines.stages.forecast.subject import Trial
from pipelines.stages.forecast.workload import Counts, Workload, count_images, plan_work
from pipelines.stages.prepared_data import prepare_data
from pipelines.stages.training_set import load_training_set
from tests.conftest import Tiny
from tests.datasets import write_table

HEAD_JUDGES = {"judge": "head", "triplet_weight": 0.0, "sampler": "uniform"}
DELF = {"stride": 8, "hidden": 8, "dim": 8, "batch_size": 4, "scales": [1.0], "max_features": 50}


def recipe_of(**sections: dict[str, object]) -> Recipe:
    return make_recipe(sections, "test")


def members(**changes: dict[str, object]) -> dict[str, object]:
    return {"members": {name: {"train": train} for name, train in changes.items()}}


def counts_of(sizes: list[int], **others: int) -> Counts:
    array, total = np.array(sizes), sum(sizes)
    known = {"database": total, "searched": total, "validation": 0, "unsearched": 0}
    return Counts(array, array, **{**known, "test": 0, "pool": 0, **others})


def rates_of(work: Workload, *dims: int) -> Rates:
    """Return rates of a second for all that is done by models of these lengths."""
    models = tuple(
        ModelRates(
            dim=dim,
            values=1000,
            head_values=dim * model.classes,
            timed_classes=model.classes,
            train=tuple(Rate(1.0) for _ in model.stages),
            validate=Rate(1.0),
            describe=Rate(1.0),
            delf=Rate(1.0),
        )
        for dim, model in zip(dims, work.models, strict=True)
    )
    return Rates(models=models, verify=Rate(1.0), feature_bytes=1000)


def plan_of(recipe: Recipe, counts: Counts, *dims: int) -> dict[str, StagePlan]:
    work = plan_work(counts, recipe)
    stages = plan_stages(work, rates_of(work, *dims), recipe, workers=1)
    return {stage.stage: stage for stage in stages}


def parts_of(stage: StagePlan, kind: str) -> list[Part]:
    return [part for part in stage.parts if part.kind == kind]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"epoch_share": 0.1},
        {"epoch_share": 0.001},
        {"epoch_steps": 15},
        {**HEAD_JUDGES, "batch_size": 32},
        {**HEAD_JUDGES, "batch_size": 5000},
        {**HEAD_JUDGES, "batch_size": 32, "triplet_weight": 1.0},  # triplets need groups
        {"classes_per_batch": 500},
    ],
)
def test_an_epoch_has_as_many_images_as_that_of_the_trainer(changes: dict[str, Any]) -> None:
    settings = TrainSettings(**changes)
    labels = np.arange(1000) % 40
    trainer = SimpleNamespace(
        settings=settings, fabric=SimpleNamespace(world_size=1), labels=labels
    )
    batch, steps = Trainer._count_steps(cast(Trainer, trainer))
    assert count_batch(settings, 40) == batch
    assert count_steps(settings, 1000, batch) == steps


def test_balanced_classes_are_counted_as_they_are_drawn(tmp_path: Path) -> None:
    sizes = [3, 8, 30, 200]
    rows = [f"{label}-{n},{label}" for label, size in enumerate(sizes) for n in range(size)]
    write_table(tmp_path / "train.csv", "id,landmark_id", rows)
    (tmp_path / "images").mkdir()
    balance = {"min_count": 5, "cap": 60, "upsample_to": 20}
    recipe = recipe_of(
        train={"classes_per_batch": 2, "images_per_class": 2},
        ensemble=members(
            set_0={"balance": {**balance, "set_number": 0}},
            set_1={"balance": {**balance, "set_number": 1}},
            rare={"balance": {"min_count": 20}},
        ),
    )
    work = plan_work(counts_of(sizes), recipe)
    assert [model.name for model in work.models] == ["set_0", "set_1", "rare"]
    for model, each in zip(work.models, list_models(recipe).values(), strict=True):
        training = load_training_set(Dataset(tmp_path), each.train)
        examples = training.rows if training.examples is None else training.examples.rows
        assert model.classes == len(training.landmarks)
        assert model.epoch_images == len(examples) // 4 * 4


def test_where_the_head_judges_nothing_is_searched() -> None:
    counts = counts_of([20, 20], pool=7)
    asked = [
        plan_work(counts, recipe_of(train={**HEAD_JUDGES, "judge": judge})).models[0].validated
        for judge in ("head", "neighbors")
    ]
    assert asked == [4 + 7, 4 + 7 + 6]


def test_stages_are_planned_each_at_its_own_size() -> None:
    stages = [{"epochs": 1, "image_size": 64}, {"epochs": 3}]
    recipe = recipe_of(train={"epochs": 4, "stages": stages, "image_size": 128})
    counts = counts_of([40] * 20)
    (images,) = {model.epoch_images for model in plan_work(counts, recipe).models}
    first, second = parts_of(plan_of(recipe, counts, 256)["train"], "train")
    assert first.what == f"1 epoch of {images} images at 64 pixels"
    assert second.what == f"3 epochs of {images} images at 128 pixels"
    assert (first.seconds, second.seconds) == (images, 3 * images)


def test_an_ensemble_takes_each_models_time_and_the_largest_memory() -> None:
    recipe = recipe_of(
        rerank={"method": "none"}, ensemble=members(a={}, b={"epochs": 5, "optimizer": "sgd"})
    )
    counts = counts_of([40] * 20, test=10)
    found = plan_of(recipe, counts, 100, 30)
    train, embed, index = found["train"], found["embed"], found["index"]
    a, b = parts_of(train, "train")
    images = plan_work(counts, recipe).models[0].epoch_images
    assert a.what.startswith("a: 10 epochs") and b.what.startswith("b: 5 epochs")
    assert (a.seconds, b.seconds) == (10 * images, 5 * images)
    large, small = 4 * (1000 + 20 * 100), 4 * (1000 + 20 * 30)
    assert train.disk == large + small
    assert train.memory["model and head"] == 5 * large
    assert train.scratch == 8 * large
    described = parts_of(embed, "describe")
    head = 10 * 16
    assert [part.disk for part in described] == [
        810 * (4 * dim + 50 + head) for dim in (100, 30, 130)
    ]
    assert described[2].what == "the descriptors of 2 models side by side, 130 numbers"
    assert embed.seconds == 2 * 810
    assert embed.memory["descriptors"] == 3 * 4 * 800 * 130
    assert index.memory["descriptors"] == 3 * 4 * 800 * 130


def test_images_of_the_predicted_class_are_verified() -> None:
    rerank = {"method": "sift", "of": "predicted-class", "matching": "aggregated", "candidates": 20}
    recipe = recipe_of(rerank=rerank, search={"neighbors": 10})
    counts = counts_of([10, 10, 60], test=5)
    work = plan_work(counts, recipe)
    # A quarter of the queries is of the small classes, three quarters are of the large one.
    assert work.candidates == 0.25 * 10 + 0.75 * 20
    assert (work.most_candidates, work.neighbors) == (20, 10 + 20)
    submit = plan_of(recipe, counts, 256)["submit"]
    (verified,) = parts_of(submit, "verify")
    assert verified.what == "about 88 images of predicted classes verified"
    assert verified.seconds == 88
    assert submit.memory["features of classes"] == 4 * 4 * 20 * 1000


def test_delf_that_was_trained_along_is_finished_in_one_pass() -> None:
    counts = counts_of([10] * 4)
    for weight, passes in ((0.0, 4), (1.0, 1)):
        recipe = recipe_of(train={"local_weight": weight}, rerank={"method": "delf"})
        delf = plan_of(recipe, counts, 256)["train"].parts[-1]
        assert delf.what.startswith("DELF")
        assert delf.seconds == passes * 40


def test_the_remedies_are_of_settings_that_the_recipe_uses() -> None:
    recipe = recipe_of(
        train={**HEAD_JUDGES, "dim": 0, "batch_size": 256}, embed={"crops": 10}, rerank={}
    )
    work = plan_work(counts_of([40] * 20, test=10), recipe)
    rates = rates_of(work, 2048)
    models = (replace(rates.models[0], training_memory=1e12, describe=Rate(1e4)),)
    stages = plan_stages(work, replace(rates, models=models), recipe, workers=1)
    machine = Machine(cores=2, memory=10**7, disk_free=10**13)
    limits = find_limits(stages, machine, recipe)
    text = " ".join(limit.remedy for limit in limits)
    assert "lower train.batch_size (now 256)" in text
    assert "set train.dim, 256 say (now 0" in text
    assert "embed.crops = 0" in text


def test_the_section_data_is_counted_as_a_run_chooses(finished: Tiny, tmp_path: Path) -> None:
    data = {"ids": "0:5", "cap": 3, "split": "per-class", "validation": 1, "unknown": "drop"}
    values = load_recipe(str(finished.recipe)).model_dump() | {"data": data}
    recipe = make_recipe(values, "test")
    job = prepare_data(Job(finished.data, tmp_path / "run", recipe, "test"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = count_chosen(Dataset(finished.data), recipe.data, scratch)
    expected = count_images(read_tables(job.dataset))
    np.testing.assert_array_equal(found.class_sizes, expected.class_sizes)
    assert found.class_sizes.tolist() == [2] * 5
    assert (found.validation, found.test, found.pool) == (5, expected.test, 6)
    assert list(scratch.iterdir()) == []


def report_of(finished: Tiny, scratch: Path, **sections: object) -> DataReport:
    values = load_recipe(str(finished.recipe)).model_dump() | sections
    planned = Planned("test", make_recipe(values, "test"), None, 0, scratch, seconds=0.02)
    return make_report(Dataset(finished.data), None, planned)[0]


def test_the_plan_says_what_is_chosen(finished: Tiny, tmp_path: Path) -> None:
    made = report_of(finished, tmp_path, data={"ids": "0:4"}, rerank={"method": "none"})
    assert made.facts.sizes["train"].classes == 6
    assert made.plan is not None
    assert (made.plan.work.training, made.plan.work.models[0].classes) == (16, 4)
    notes = make_sections(made)[-1].notes
    assert notes[0] == (
        "The plan is for what the recipe's section [data] chooses: 16 images of 4 landmarks to "
        "train on, 8 to ask about."
    )


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"data": {"ids": "1000:1300"}}, "section [data]: --ids 1000:1300 leaves none of 6"),
        ({"ensemble": members(a={}, b={"balance": {"min_count": 9}})}, "train has no landmark of"),
    ],
)
def test_a_recipe_that_leaves_nothing_to_learn_has_no_plan(
    finished: Tiny, tmp_path: Path, sections: dict[str, object], reason: str
) -> None:
    made = report_of(finished, tmp_path, **sections)
    assert made.plan is None
    assert reason in made.no_plan


def test_every_part_of_a_recipe_of_models_is_timed(finished: Tiny, tmp_path: Path) -> None:
    train = {
        "dim": 0,
        **HEAD_JUDGES,
        "batch_size": 4,
        "epoch_share": 0.5,
        "epochs": 2,
        "stages": [
            {"epochs": 1, "freeze": {"last_convolutions": 0}},
            {"epochs": 1, "image_size": 48},
        ],
        "pooling": {"kind": "flatten", "grid": 1},
        "head": {"kind": "subcenter"},
        "local_weight": 1.0,
    }
    rerank = {"method": "delf", "of": "predicted-class", "matching": "aggregated", "delf": DELF}
    values = load_recipe(str(finished.recipe)).model_dump()
    recipe = make_recipe(
        {
            **values,
            "train": {**values["train"], **train},
            "embed": {"batch_size": 4, "crops": 12, "square": "crop"},
            "rerank": rerank,
            "ensemble": members(
                one={"balance": {"cap": 2, "set_number": 0}},
                two={"balance": {"cap": 2, "set_number": 1}, "seed": 1},
                projected={"dim": 8, "local_weight": 0.0, "stages": [], "head": {"kind": "linear"}},
            ),
        },
        "test",
    )
    files = [finished.data / "images" / f"thing{n}-0.jpg" for n in range(6)]
    work = plan_work(counts_of([4] * 6, test=3), recipe)
    rates = measure(Trial(files, None, 0, tmp_path, seconds=0.02), work, recipe)
    one, two, projected = rates.models
    assert one is two  # they differ in their images alone, and are timed once
    assert (one.dim, projected.dim, one.views) == (96, 8, 12)
    assert rates.dim == 96 + 96 + 8
    assert (len(one.train), len(projected.train)) == (2, 1)
    for rate in (*one.train, *projected.train, one.describe, one.validate, one.delf, rates.verify):
        assert rate.seconds > 0
    assert projected.delf.seconds == 0
    assert one.head_values == 6 * (3 * 96 + 1)  # three centres a class, and its margin
    stages = plan_stages(work, rates, recipe, workers=0)
    assert all(stage.seconds > 0 for stage in stages)
    assert list(tmp_path.iterdir()) == []


def test_a_head_too_large_to_be_timed_is_timed_in_part_and_weighed_whole(
    finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.stages.forecast.subject.LARGEST_HEAD", 16 * 3)
    made = report_of(finished, tmp_path, rerank={"method": "none"})
    assert made.plan is not None
    (model,) = made.plan.rates.models
    assert (model.timed_classes, model.head_values) == (3, 6 * 16)
    notes = " ".join(make_sections(made)[-1].notes)
    assert "The head was timed with 3 of its 6 classes" in notes


def test_the_command_plans_at_a_scale_with_changes(
    finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Planned] = []

    def remember(dataset: Dataset, before: Path | None, planned: Planned) -> Any:
        asked.append(planned)
        return make_report(dataset, before)

    monkeypatch.setattr("pipelines.reports.data_report.make_report", remember)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(report)
    options = ["--recipe", "xception-bilinear", "--scale", "small", "--set", "train.epochs=3"]
    done = CliRunner().invoke(app, [str(finished.data), *options, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert asked[0].name == "xception-bilinear --scale small --set train.epochs=3"
    assert asked[0].recipe == load_recipe("xception-bilinear", "small", ["train.epochs=3"])
