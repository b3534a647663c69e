"""Plan a run: run its stages on samples of the photos, and extrapolate what they took.

Reads tables and images of a dataset. Writes into a temporary folder alone, which is deleted.
"""

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from classify_head.heads import build_head
from embed.errors import InputError
from embed.train import size_epoch
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import SIDE_TABLES, SPLITS
from pipelines.datasets.derive import write_derived
from pipelines.datasets.facts.tables import Tables, read_tables
from pipelines.datasets.selection.sample import draw_sample
from pipelines.memory import POLL, watch_memory
from pipelines.runs.job import Job
from pipelines.runs.members import list_members
from pipelines.runs.networks import check_networks
from pipelines.runs.recipe import Recipe, make_recipe

from .order import index, submit
from .prepared_data import prepare_data
from .training_networks import compares_start
from .training_set import TrainingSet, load_training_set
from .validation import Validation

PHOTOS = 96  # training photos of the larger sample; the smaller has a third
PATIENCE = 30.0  # seconds: where the smaller sample takes longer, the larger is but twice as large
STEP = 3  # forward passes that a training step takes of an image: one there and two back
MARGIN = 1.25  # factor that other photos and other programs may add or spare
SHORT = 1.0  # seconds that they may, too: of a stage of a second a factor says nothing
# What grows in memory with the dataset: so many times what a stage keeps on disk. A head is there
# with its gradient and two moments; descriptors are read, put together, and in the index.
HELD = {"train": ("train", 4)} | dict.fromkeys(("index", "decision", "submit"), ("embed", 3))


@dataclass(frozen=True)
class Work:
    """How much a stage has to do."""

    items: float  # that its time grows with
    kept: float  # that its bytes on disk grow with


@dataclass(frozen=True)
class Usage:
    """What a stage took of the machine."""

    seconds: float = 0.0
    disk: int = 0  # bytes of its outputs
    memory: int = 0  # bytes at their most, of this process and its children; 0: not known


@dataclass(frozen=True)
class StagePlan:
    """What a stage will take of the machine."""

    stage: str
    seconds: float
    low: float  # seconds, the range
    high: float
    disk: float  # bytes
    memory: float  # bytes at their most; 0: not known


@dataclass(frozen=True)
class Plan:
    """What a run will take, and what that is known from."""

    recipe: str
    images: int  # that are described: searched, queries about, without a landmark, held out
    samples: tuple[int, ...]  # such images of each run that was measured
    measured: float  # seconds that all of these took
    tuned: bool  # or the samples kept pretrained features, which take less than trained ones beside
    stages: tuple[StagePlan, ...]


def plan_run(job: Job) -> Plan:
    """Run the stages of a job on samples of its dataset, and plan them for all of it.

    Neither the job's run folder nor its dataset is written to.

    Raises:
        InputError: too few photos; or what the stages raise, of weights or of unreadable photos.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cairn-plan-") as temporary, ExitStack() as stack:
        logging.disable(logging.WARNING)  # they would be of runs that nobody queries for
        stack.callback(logging.disable, logging.NOTSET)
        scratch = Path(temporary)
        check_networks(replace(job, run=scratch))
        whole = prepare_data(replace(job, run=scratch / "chosen"))
        tables = read_tables(whole.dataset)
        small = min(PHOTOS, len(tables.ids[tables.classes])) // 3
        runs: list[tuple[dict[str, Work], dict[str, Usage]]] = []
        for scale in (1, 1, 3):  # the first one warms up
            steps = min(scale, 3 if time.perf_counter() - started < PATIENCE else 2)
            sample = _prepare_sample(whole, tables, scratch / str(len(runs)), small * steps, steps)
            try:
                usage, tuned = measure(sample)
            except InputError as error:  # of a folder that is gone when it is read
                raise InputError(str(error).replace(str(sample.data), str(job.data))) from error
            runs.append((count_work(sample), usage))
        work = count_work(whole)
    return Plan(
        job.recipe_name,
        int(work["embed"].items),
        tuple(int(done["embed"].items) for done, _ in runs),
        time.perf_counter() - started,
        tuned or not (job.recipe.train.epochs and job.recipe.train.pretrained_share),
        extrapolate(runs, work),
    )


def _prepare_sample(whole: Job, tables: Tables, folder: Path, photos: int, steps: int) -> Job:
    """Write a sample of a job's dataset, and return the job of a short run on it."""
    trained = [m.train for m in list_members(whole.run, whole.recipe).values() if m.train.epochs]
    least = max((max(settings.balance.min_count, 2) for settings in trained), default=1)
    drawn = {**dict.fromkeys([*SIDE_TABLES, "solution"]), **draw_sample(tables, photos, least)}
    write_derived(whole.dataset, folder / "data", drawn, {"sample of": str(whole.data.resolve())})
    recipe = _shorten(whole.recipe, steps)
    return replace(whole, data=folder / "data", run=folder / "run", recipe=recipe)


def _shorten(recipe: Recipe, steps: int) -> Recipe:
    """Return the recipe with trainings of so many steps, which change next to nothing.

    So none collapses, and of models as good the trained one is kept, as after a whole training.
    """
    values = recipe.model_dump(exclude={"data"})
    short = {"epochs": 1, "epoch_steps": steps, "epoch_share": 1.0, "phases": ()}
    short |= {"learning_rate": 1e-9, "head_learning_rate": 1e-9}
    sections = [values, *values.get("ensemble", {}).get("members", {}).values()]
    models = [recipe, *list_members(Path(), recipe).values()]
    for section, model in zip(sections, models, strict=False):  # without members the first alone
        if model.train.epochs:
            section.setdefault("train", {}).update(short)
    values["rerank"]["delf"]["epochs"] = 1
    return make_recipe(values, "of a plan")


def measure(job: Job) -> tuple[dict[str, Usage], bool]:
    """Do all stages of a job; return what each took, and whether its models are trained ones."""
    with watch_memory() as seen:
        (submit if job.dataset.find_table("test") else index)(job)
    usage: dict[str, Usage] = {}
    tuned = True
    for path in sorted(job.run.rglob("manifest.json"), key=lambda path: path.stat().st_mtime):
        done = load_manifest(path.parent)
        assert done is not None  # it was just written
        end, before = path.stat().st_mtime, usage.get(done.stage, Usage())
        held = (size for at, size in seen if end - done.seconds - POLL <= at <= end + POLL)
        usage[done.stage] = Usage(
            before.seconds + done.seconds,
            before.disk + sum(record.bytes for record in done.outputs),
            max(before.memory, *held, 0),
        )
        tuned &= done.model.get("tuned", True)
    return usage, tuned


def count_work(job: Job) -> dict[str, Work]:
    """Count what each stage of a job has to do, from the tables; opens no image."""
    dataset, recipe = job.dataset, job.recipe
    found = [name for name in SPLITS if dataset.find_table(name)]
    rows = {name: len(dataset.load_split(name).ids) for name in found}
    searched, test = rows[dataset.database_split], rows.get("test", 0)
    pool = rows.get("non_landmark", 0)
    passes, classes, known, outside = 0.0, 0, searched, 0
    for each in list_members(job.run, recipe).values():
        training = load_training_set(dataset, each.train)
        classes += len(training.landmarks)
        if each.train.epochs:
            passes += _count_passes(job, each, training)
            known = len(training.held_out.ids) + len(training.unseen.ids)
            outside = known if dataset.database_split == "index" else 0
    candidates = min(recipe.rerank.candidates, searched)
    if recipe.rerank.of == "predicted-class":
        labels = dataset.load_split(dataset.database_split).landmark_ids
        sizes = np.unique(labels, return_counts=True)[1]
        candidates = np.average(np.minimum(sizes, candidates), weights=sizes)
    pairs = 1 if recipe.rerank.method == "none" else float(candidates)  # of a query
    images = searched + pool + test + outside
    queries = min(known, recipe.decide.calibration_queries) + pool // 2
    return {
        "train": Work(passes, classes),
        "train_delf": Work(rows[dataset.class_split] * recipe.rerank.delf.epochs, 0),
        "embed": Work(images, images),
        "features": Work(images, images),
        "index": Work(searched, searched),
        "decision": Work(queries * pairs, queries),
        "submit": Work(test * pairs, test * min(recipe.search.neighbors, searched)),
    }


def _count_passes(job: Job, recipe: Recipe, training: TrainingSet) -> float:
    """Return the forward passes of a training: STEP for an image trained on, one for one judged."""
    settings = recipe.train
    head = build_head(settings.head, 2, np.ones(2, dtype=np.int64), settings.head_scale)
    judged = Validation.of(job.dataset, training, recipe, head, workers=0)
    times = settings.epochs * bool((judged.query_labels >= 0).any())
    if times and compares_start(job, settings):
        times += 3  # see choice.choose_model
    batch, steps = size_epoch(settings, training.labels)
    sides = [settings.phase_at(e).image_size / settings.image_size for e in range(settings.epochs)]
    times *= len(judged.queries) + len(judged.database)
    return STEP * batch * steps * sum(side**2 for side in sides) + times


def extrapolate(
    runs: Sequence[tuple[Mapping[str, Work], Mapping[str, Usage]]], whole: Mapping[str, Work]
) -> tuple[StagePlan, ...]:
    """Plan the stages by what runs on two small samples and a larger one had to do and took."""
    plans: dict[str, StagePlan] = {}
    for stage in runs[-1][1]:
        times = [(work[stage].items, usage[stage].seconds) for work, usage in runs]
        seconds, low, high = fit(times, whole[stage].items)
        disk = fit([(w[stage].kept, u[stage].disk) for w, u in runs], whole[stage].kept)[0]
        memory: float = max(usage[stage].memory for _, usage in runs)
        if memory and stage in HELD:  # stages come in the order in which they are done
            source, copies = HELD[stage]
            kept = disk if source == stage else plans[source].disk
            memory += copies * max(kept - runs[-1][1][source].disk, 0)
        low, high = max(low / MARGIN - SHORT, 0.0), high * MARGIN + SHORT
        plans[stage] = StagePlan(stage, seconds, low, high, disk, memory)
    return tuple(plans.values())


def fit(points: Sequence[tuple[float, float]], items: float) -> tuple[float, float, float]:
    """Extrapolate a line through (items, amount), two of few items and one of more; and its range.

    The first run loads libraries and warms up, as every run does once: what it took beside its
    items is fixed. The second gives the rate; the range is of both rates, and of no start at all.
    """
    (few, cold), (_, warm), (many, last) = points
    if many == few:
        return cold, cold, cold
    rates = [max((last - first) / (many - few), 0.0) for first in (warm, cold)]
    fixed = max(cold - rates[0] * few, 0.0)
    amounts = [fixed + rate * items for rate in rates]
    return amounts[0], min(amounts), max(*amounts, last / many * items)
