"""The report on a dataset: what is in it, and what each later stage will take.

Reads the tables and images of a dataset, and those of the dataset it was made from. Writes
data_report.html and data_report.png.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from embed.errors import InputError
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.before import Before, describe_before
from pipelines.datasets.facts.class_sizes import ClassSizes, describe_sizes
from pipelines.datasets.facts.image_sizes import (
    ImageFacts,
    Measured,
    describe_images,
    measure_images,
)
from pipelines.datasets.facts.tables import (
    LargeClass,
    QueryFacts,
    TableFacts,
    compare_queries,
    count_tables,
    find_largest,
    read_tables,
)
from pipelines.datasets.image_table import refuse
from pipelines.runs.recipe import Recipe
from pipelines.stages.forecast.chosen import Chosen, count_chosen
from pipelines.stages.forecast.limits import Limit, find_limits
from pipelines.stages.forecast.machine import Machine, look_at_machine
from pipelines.stages.forecast.model_work import list_models
from pipelines.stages.forecast.plan import plan_stages
from pipelines.stages.forecast.rates import Rates
from pipelines.stages.forecast.stage_plan import StagePlan
from pipelines.stages.forecast.workload import Counts, Workload, count_images, plan_work

FILES = 2000  # images that are timed at most, again and again
RUNS = Path("runs")  # where run folders are made


@dataclass(frozen=True)
class Facts:
    """What is in a dataset."""

    dataset: str  # name of its folder
    tables: tuple[TableFacts, ...]
    sizes: Mapping[str, ClassSizes]  # of train if it is there, and of index where it is searched
    largest: tuple[LargeClass, ...]  # of the first of these
    before: Before | None  # None unless the dataset was made from another
    queries: QueryFacts | None  # None without a solution
    images: ImageFacts
    problems: tuple[str, ...]  # what has to be mended before a run


@dataclass(frozen=True)
class Plan:
    """What a recipe will take of this machine."""

    recipe: str
    chosen: Chosen | None  # by the recipe's section [data]; None: the dataset as it is
    machine: Machine
    work: Workload
    rates: Rates
    stages: tuple[StagePlan, ...]
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class DataReport:
    """All that is reported."""

    facts: Facts
    plan: Plan | None
    no_plan: str  # why there is no plan; empty where there is one


@dataclass(frozen=True)
class Planned:
    """What a plan is to be made for, and how."""

    name: str  # of the recipe
    recipe: Recipe
    weights: Path | None
    workers: int
    scratch: Path  # a folder to write to meanwhile
    seconds: float = 6.0  # that each part of the stages is watched


def make_report(
    dataset: Dataset, before: Path | None = None, planned: Planned | None = None
) -> tuple[DataReport, Measured]:
    """Report on a dataset; return also what was seen of its images.

    Args:
        dataset: that is reported on.
        before: folder of a dataset to compare with; None: that which this one was made from.
        planned: what to plan for; None: no plan.

    Raises:
        FileNotFoundError: the folder of images, or that of `before`, is missing.
        ValueError: a table cannot be read, or the recipe's model cannot be built.
    """
    training = planned is not None and _trains(planned.recipe)
    facts, measured, counts = collect_facts(dataset, before, training=training)
    if planned is None:
        return DataReport(facts, None, ""), measured
    settings = planned.recipe.data
    if not settings.changes_nothing:
        try:
            counts = count_chosen(dataset, settings, planned.scratch)
        except InputError as error:
            return DataReport(facts, None, f"the recipe's section [data]: {error}"), measured
    why_not = _find_obstacle(measured, counts, planned.recipe)
    plan = None if why_not else make_plan(dataset, measured, counts, planned)
    return DataReport(facts, plan, why_not), measured


def collect_facts(
    dataset: Dataset, before: Path | None = None, *, training: bool = False
) -> tuple[Facts, Measured, Counts]:
    """Collect what is in a dataset, what was seen of its images, and what a plan needs.

    Args:
        dataset: that is reported on.
        before: as of make_report.
        training: whether a model is to be trained, which needs more of the dataset.

    Raises:
        FileNotFoundError: the folder of images, or that of `before`, is missing.
        InputError: a table cannot be read; the message lists all that has to be mended.
    """
    problems, _ = dataset.find_problems(training=training)
    try:
        tables = read_tables(dataset)
        queries = compare_queries(dataset, tables)
        names = dataset.names
    except InputError:
        refuse(problems, str(dataset.folder))
        raise
    sizes = {
        name: describe_sizes(tables.sizes(name)) for name in {tables.classes: 0, tables.database: 0}
    }
    measured = measure_images(dataset, tables)
    facts = Facts(
        dataset=dataset.folder.resolve().name,
        tables=count_tables(tables, dataset),
        sizes=sizes,
        largest=find_largest(tables, names),
        before=describe_before(dataset, tables, before),
        queries=queries,
        images=describe_images(measured),
        problems=tuple(problems),
    )
    return facts, measured, count_images(tables)


def _trains(recipe: Recipe) -> bool:
    return any(each.train.epochs for each in list_models(recipe).values())


def make_plan(dataset: Dataset, measured: Measured, counts: Counts, planned: Planned) -> Plan:
    """Time the stages of a recipe on some images, and plan a run.

    Args:
        dataset: that is reported on.
        measured: what was seen of its images.
        counts: of what the recipe chooses of it.
        planned: what to plan for.

    Raises:
        ValueError: a model of the recipe cannot be built.
    """
    from pipelines.stages.forecast.measure import measure  # torch takes seconds
    from pipelines.stages.forecast.subject import Trial

    recipe = planned.recipe
    files = [dataset.locate(image_id) for image_id in measured.draw(FILES)]
    pa.default_memory_pool().release_unused()  # of the tables: else it would count as the stages'
    work = plan_work(counts, recipe)
    trial = Trial(files, planned.weights, planned.workers, planned.scratch, planned.seconds)
    rates = measure(trial, work, recipe)
    machine = look_at_machine(RUNS)
    stages = plan_stages(work, rates, recipe, planned.workers)
    limits = find_limits(stages, machine, recipe)
    chosen = None if recipe.data.changes_nothing else Chosen.of(counts)
    return Plan(planned.name, chosen, machine, work, rates, stages, limits)


def _find_obstacle(measured: Measured, counts: Counts, recipe: Recipe) -> str:
    """Say why a plan cannot be made; nothing if it can."""
    if not len(measured.readable):
        return "none of the images that were looked at can be read"
    for each in list_models(recipe).values():
        least = each.train.balance.min_count
        classes = int((counts.class_sizes >= least).sum())
        enough = f" of train.balance.min_count = {least} images" if least else ""
        if not classes:
            return f"train has no landmark{enough}"
        if classes < 2 and each.train.epochs:
            return f"training needs two landmarks{enough}, and train has one"
    if recipe.rerank.method == "delf-hub":
        return 'the features of rerank.method = "delf-hub" cannot be timed without its network'
    return ""


def to_json(report: DataReport) -> dict[str, Any]:
    """Return the report as plain values, with the totals of the stages."""
    values = dataclasses.asdict(report)
    if report.plan is not None:
        for stage, plain in zip(report.plan.stages, values["plan"]["stages"], strict=True):
            names = ("seconds", "alone", "disk", "total_memory")
            plain["total"] = {name: getattr(stage, name) for name in names}
    return values
