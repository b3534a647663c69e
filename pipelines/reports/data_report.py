"""The report on a dataset: what is in it, and what each later stage will take.

Reads the tables and images of a dataset, and those of the dataset it was made from. Writes
data_report.html and data_report.png.
"""

import dataclasses
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from pipelines.runs.job import Job
from pipelines.runs.members import list_members

if TYPE_CHECKING:
    from pipelines.stages.plan import Plan  # torch takes seconds


RUNS = Path("runs")  # where run folders are made
MEMORY_LIMITS = (  # of a container, for both versions of control groups
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


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
class Machine:
    """What a run can use."""

    cores: int
    memory: int  # bytes, of the machine or of its share that a container may use
    disk_free: int  # bytes, where run folders are made
    load: float  # processes that ran or waited to run in the last minute, the plan's included


@dataclass(frozen=True)
class DataReport:
    """All that is reported."""

    facts: Facts
    plan: "Plan | None"
    machine: Machine
    no_plan: str  # why there is no plan; empty where there is one


def make_report(
    dataset: Dataset, before: Path | None = None, job: Job | None = None
) -> tuple[DataReport, Measured]:
    """Report on a dataset; return also what was seen of its images.

    Args:
        dataset: that is reported on.
        before: folder of a dataset to compare with; None: that which this one was made from.
        job: the run to plan; None: no plan.

    Raises:
        FileNotFoundError: the folder of images, or that of `before`, is missing.
        ValueError: a table cannot be read.
    """
    facts, measured = collect_facts(dataset, before, training=job is not None and _trains(job))
    plan, no_plan = None, ""
    if job is not None:
        from pipelines.stages.plan import plan_run  # torch takes seconds

        try:
            plan = plan_run(job)
        except InputError as error:  # a run would end with it, and the facts are known all the same
            no_plan = str(error)
    return DataReport(facts, plan, look_at_machine(), no_plan), measured


def _trains(job: Job) -> bool:
    return any(each.train.epochs for each in list_members(job.run, job.recipe).values())


def collect_facts(
    dataset: Dataset, before: Path | None = None, *, training: bool = False
) -> tuple[Facts, Measured]:
    """Collect what is in a dataset, and what was seen of its images.

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
    return facts, measured


def look_at_machine() -> Machine:
    """Return what this machine has."""
    there = next(folder for folder in (RUNS, *RUNS.resolve().parents) if folder.is_dir())
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    texts = [path.read_text().strip() for path in MEMORY_LIMITS if path.is_file()]
    memory = min([total, *(int(text) for text in texts if text.isdigit())])
    free = shutil.disk_usage(there).free
    return Machine(os.cpu_count() or 1, memory, free, os.getloadavg()[0])


def to_json(report: DataReport) -> dict[str, Any]:
    """Return the report as plain values."""
    return dataclasses.asdict(report)
