"""The resource plan: what is counted, the arithmetic of rates, what does not fit."""

from dataclasses import replace
from mmap import PAGESIZE, mmap
from pathlib import Path

import numpy as np
import pytest

from classify_head.heads import build_head
from embed.sampling import split_validation
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.tables import read_tables
from pipelines.runs.recipe import Recipe, change_recipe, load_recipe, make_recipe
from pipelines.stages.forecast.laps import Laps, Rate, time_laps
from pipelines.stages.forecast.limits import find_limits
from pipelines.stages.forecast.machine import Machine, look_at_machine
from pipelines.stages.forecast.measure import measure
from pipelines.stages.forecast.plan import count_sums, plan_stages
from pipelines.stages.forecast.processes import Ticks, read_memory, watch_memory
from pipelines.stages.forecast.rates import ModelRates, Rates
from pipelines.stages.forecast.stage_plan import Part, StagePlan
from pipelines.stages.forecast.subject import Trial
from pipelines.stages.forecast.workload import Counts, count_images, plan_work
from pipelines.stages.known_queries import load_known_queries
from pipelines.stages.training_set import load_training_set
from pipelines.stages.validation import Validation
from tests.conftest import Tiny
from tests.datasets import make_dataset, make_job, make_recipe_file, write_table

MODEL = ModelRates(
    dim=256,
    values=1000,
    head_values=256,
    train=(Rate(0.1, others=0.5),),
    validate=Rate(0.01),
    describe=Rate(0.02),
    training_memory=2e9,
    describing_memory=1e9,
)
RATES = Rates(
    models=(MODEL,),
    extract=Rate(0.03),
    read=Rate(0.001),
    verify=Rate(0.002),
    search=Rate(1e-9),
    feature_bytes=80_000,
    libraries=10**9,
)
FAST = Rates(models=(ModelRates(dim=256, train=(Rate(),)),), feature_bytes=80_000)
LARGE = Machine(cores=2, memory=10**12, disk_free=10**13)


def recipe_of(**sections: dict[str, object]) -> Recipe:
    return make_recipe({"train": {"dim": 256}, **sections}, "test")


def counts_of(sizes: list[int], **others: int) -> Counts:
    total = sum(sizes)
    known = {"database": total, "searched": total, "validation": 0, "unsearched": 0}
    array = np.array(sizes)
    return Counts(array, array, **{**known, "test": 0, "pool": 0, **others})


def gldv2() -> Counts:
    return counts_of([20] * 203_094, test=117_577, pool=0)


def part(stage: StagePlan, kind: str) -> Part:
    return next(part for part in stage.parts if part.kind == kind)


def test_the_workload_is_what_the_stages_do(finished: Tiny) -> None:
    job = make_job(finished.data, finished.run, finished.recipe)
    work = plan_work(count_images(read_tables(job.dataset)), job.recipe)
    training = load_training_set(job.dataset, job.recipe.train)
    batch = 3 * 2
    (model,) = work.models
    assert (model.name, model.classes) == ("", len(training.landmarks))
    assert (model.batch, model.epochs) == (batch, 2)
    assert model.epoch_images == len(training.rows) // batch * batch
    assert model.validated == len(training.held_out.ids) + 6 + len(training.rows)
    assert (work.embedded, work.held_out) == (24 + 6 + 8, 0)
    assert work.known == len(load_known_queries(job).ids)
    assert (work.neighbors, work.candidates) == (24, 24)


def test_landmarks_held_out_are_counted_as_they_are_drawn(tmp_path: Path) -> None:
    data, recipe = make_dataset(tmp_path / "data", 12), make_recipe_file(tmp_path / "tiny.toml")
    job = make_job(data, tmp_path / "run", recipe)
    changed = change_recipe(job.recipe, ["train.unseen_share=0.2"])
    training = load_training_set(job.dataset, changed.train)
    head = build_head(changed.train.head, changed.train.dim, np.ones(9, dtype=np.int64), 16.0)
    validation = Validation.of(job.dataset, training, changed, head, workers=0)
    (model,) = plan_work(count_images(read_tables(job.dataset)), changed).models
    assert model.classes == len(training.landmarks) == 9
    assert model.epoch_images == len(training.rows) // 6 * 6
    assert model.validated == len(validation.queries) + len(validation.database)


def test_held_out_images_are_counted_as_they_are_split() -> None:
    sizes = [1, 2, 3, 4, 15, 16, 44, 45, 60]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for share in (0.0, 0.1, 0.25, 0.9):
        kept, held_out = split_validation(labels, share, 0)
        work = plan_work(counts_of(sizes), recipe_of(train={"validation_share": share}))
        asked = len(held_out) + sum(min(np.sum(labels[kept] == c), 3) for c in range(len(sizes)))
        assert work.models[0].validated == (asked if len(held_out) else 0)
        assert work.known == len(held_out)


def test_a_table_of_held_out_images_is_kept_to(finished: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_table(folder / "train.csv", "id,landmark_id", [f"a{n},{n % 4}" for n in range(40)])
    write_table(folder / "validation.csv", "id,landmark_id", ["v0,0", "v1,1"])
    write_table(
        folder / "index.csv", "id,landmark_id", ["v1,1", *(f"a{n},{n % 4}" for n in (3, 4))]
    )
    counts = count_images(read_tables(Dataset(folder)))
    assert (counts.validation, counts.unsearched, counts.searched) == (2, 1, 2)
    work = plan_work(counts, recipe_of(train={"classes_per_batch": 4, "images_per_class": 2}))
    # Of the database v1 was not trained on; v0, which it lacks, is described for it.
    assert (work.models[0].epoch_images, work.held_out, work.known) == (40, 1, 2)


def test_without_training_every_image_is_a_query_of_known_answer() -> None:
    work = plan_work(counts_of([5, 5], pool=7), recipe_of(train={"epochs": 0}))
    (model,) = work.models
    assert (model.epochs, model.epoch_images, model.validated) == (0, 0, 0)
    assert work.known == 10 + 3


def test_times_are_rates_times_items() -> None:
    recipe = recipe_of(search={"neighbors": 20}, rerank={"candidates": 10})
    work = plan_work(counts_of([40] * 50, test=100, pool=60), recipe)
    (model,) = work.models
    train, embed, index, submit = plan_stages(work, RATES, recipe, workers=1)
    assert part(train, "train").seconds == pytest.approx(0.1 * 10 * model.epoch_images)
    assert part(train, "train").alone == pytest.approx(part(train, "train").seconds / 2)
    assert part(train, "validate").seconds == pytest.approx(0.01 * 10 * model.validated)
    assert train.seconds == pytest.approx(sum(part.seconds for part in train.parts))
    assert embed.seconds == pytest.approx(0.02 * (2000 + 60 + 100))
    assert part(index, "extract").seconds == pytest.approx(0.03 * (2000 + 60))
    assert part(submit, "extract").seconds == pytest.approx(0.03 * 100)
    # Each of the 1,000 candidates is read once, the cache holds them all; so are the queries.
    assert part(submit, "verify").seconds == pytest.approx(0.002 * 1000 + 0.001 * (1000 + 100))
    sums = 100 * (2000 + 30) + 2000 * 30
    assert part(submit, "search").seconds == pytest.approx(1e-9 * 256 * sums)


def test_disk_and_memory_grow_with_the_images() -> None:
    recipe = recipe_of()
    work = plan_work(gldv2(), recipe)
    rates = replace(RATES, models=(replace(MODEL, head_values=203_094 * 256),))
    train, embed, index, _ = plan_stages(work, rates, recipe, workers=1)
    rows, head = 20 * 203_094, 203_094 * 256 * 4
    assert train.disk == head + 4000
    # AdamW keeps two numbers for each weight, and a file has weights and best weights besides.
    assert train.scratch == 2 * 4 * (head + 4000)
    assert train.memory["model and head"] == 5 * (head + 4000)
    # The ten likeliest classes are stored: label, score, probability.
    assert embed.disk == pytest.approx((rows + 117_577) * (1024 + 50 + 10 * (8 + 4 + 4)))
    assert part(index, "extract").disk == pytest.approx(rows * 80_050)
    assert index.memory["descriptors"] == 3 * rows * 1024
    assert index.memory["libraries"] == 10**9
    assert index.total_memory == sum(index.memory.values())


def test_whoever_does_not_verify_needs_no_local_features() -> None:
    recipe = recipe_of(rerank={"method": "none"})
    work = plan_work(counts_of([4, 4], test=3), recipe)
    stages = plan_stages(work, RATES, recipe, workers=0)
    assert work.candidates == 0
    assert not {part.kind for stage in stages for part in stage.parts} & {"extract", "verify"}


def test_without_test_images_there_is_no_submission() -> None:
    recipe = recipe_of()
    stages = plan_stages(plan_work(counts_of([4, 4]), recipe), RATES, recipe, workers=1)
    assert [stage.stage for stage in stages] == ["train", "embed", "index"]


def test_expanding_queries_searches_twice() -> None:
    work = plan_work(counts_of([10] * 10), recipe_of())
    once, twice = (
        count_sums(5, work, recipe_of(search={"expand_query": count})) for count in (0, 3)
    )
    assert twice - once == 5 * 100


def limits_of(machine: Machine, recipe: Recipe, rates: Rates = RATES) -> dict[str, str]:
    """Return the remedies of what does not fit, by stage and problem."""
    stages = plan_stages(plan_work(gldv2(), recipe), rates, recipe, workers=1)
    found = find_limits(stages, machine, recipe)
    return {f"{limit.stage}: {limit.problem}": limit.remedy for limit in found}


def test_what_fits_is_not_mentioned() -> None:
    assert limits_of(LARGE, recipe_of(), FAST) == {}


def test_a_full_disk_is_foreseen_with_what_fills_it() -> None:
    machine = Machine(2, 10**12, disk_free=45 * 10**9)
    (problem, remedy), *_ = limits_of(machine, recipe_of(), FAST).items()
    assert problem.startswith("index: the run takes 340 GB on disk, 45 GB are free; most of it")
    assert "local features of 4,061,880 database images (sift)" in problem
    assert "rerank.max_features (now 600)" in remedy and 'rerank.method = "none"' in remedy


def test_too_little_memory_is_foreseen_for_the_stages_that_want_it() -> None:
    machine = Machine(2, memory=8 * 10**9, disk_free=10**13)
    model = replace(FAST.models[0], training_memory=2e10)
    rates = Rates(models=(model,), libraries=10**9)
    found = limits_of(machine, recipe_of(), rates)
    assert [problem.split(" of memory")[0] for problem in found] == [
        "train: needs 22 GB",
        "index: needs 15 GB",
        "submit: needs 12 GB",
    ]
    assert "train.classes_per_batch (now 16)" in next(iter(found.values()))
    assert "train.dim (now 256)" in list(found.values())[1]


def test_months_are_too_long() -> None:
    found = limits_of(LARGE, recipe_of())
    # 10 epochs of 3.7 million images at .1 s, and .8 million to validate at .01 s: 43 days.
    (problem, remedy), *_ = found.items()
    assert problem.startswith("train: takes 43 days; most of it, 42 days, for: 10 epochs of 3,6")
    assert "train.epochs, now 10" in remedy


def test_the_first_half_of_the_laps_is_a_warm_up() -> None:
    # A lap ends when note is called, the next begins when it returns.
    times = iter([0.0, 9.0, 9.0, 18.0, 18.0, 19.0, 19.0, 22.0, 22.0])
    laps = Laps(1e9, clock=lambda: next(times))
    for count in (1, 1, 1, 3):
        laps.note(count)
    rate = laps.measure()
    assert rate.seconds == pytest.approx((1.0 + 3.0) / (1 + 3))
    assert rate.error == pytest.approx(0.0)


def test_a_stage_is_stopped_when_the_time_is_over() -> None:
    seen: list[int] = []

    def run(note: object) -> None:
        assert callable(note)
        while True:
            seen.append(1)
            note(1)

    assert time_laps(run, 0.0).seconds > 0
    assert len(seen) < 5


def test_a_stage_that_ends_by_itself_is_timed_and_one_that_does_nothing_is_refused() -> None:
    assert time_laps(lambda note: note(7), 10.0).seconds > 0
    with pytest.raises(ValueError, match="nothing was timed"):
        time_laps(lambda note: None, 1.0)


def test_the_share_of_others_is_what_is_busy_and_not_ours() -> None:
    before, after = Ticks(10, 100, 200), Ticks(14, 110, 220)
    assert before.others_until(after) == pytest.approx(0.3)
    assert before.others_until(before) == 0.0
    assert Rate(2.0, others=0.25).alone == 1.5


def test_memory_is_seen_while_it_is_there() -> None:
    before = read_memory()
    with watch_memory() as peak:
        with mmap(-1, 200_000_000) as full:  # not of the heap, which may keep it
            for page in range(0, len(full), PAGESIZE):
                full[page] = 1
        assert read_memory() < before + 150_000_000
    if before:  # known on this system
        assert peak.bytes >= before


def test_the_machine_has_something_of_everything(tmp_path: Path) -> None:
    machine = look_at_machine(tmp_path / "runs" / "not" / "there")
    assert machine.cores >= 1
    assert machine.memory > 2**28
    assert machine.disk_free > 0


@pytest.mark.parametrize("method", ["sift", "delf", "none"])
def test_the_stages_are_timed_by_their_own_code(
    finished: Tiny, tmp_path: Path, method: str
) -> None:
    changes = {
        "rerank": {"method": method, "max_side": 96, "candidates": 5, "delf": DELF},
        "embed": {"batch_size": 4, "scales": [1.0, 2.0] if method == "sift" else [1.0]},
    }
    recipe = load_recipe(str(finished.recipe)).model_dump() | changes
    files = [finished.data / "images" / f"thing{n}-0.jpg" for n in range(6)]
    rates = measure(
        Trial(files, None, 0, tmp_path, seconds=0.02),
        plan_work(counts_of([4] * 6), make_recipe(recipe, "changed")),
        make_recipe(recipe, "changed"),
    )
    (model,) = rates.models
    for rate in (*model.train, model.validate, model.describe, rates.search):
        assert rate.seconds > 0
    local = [rates.extract.seconds, rates.read.seconds, rates.verify.seconds, rates.feature_bytes]
    assert [value > 0 for value in local] == [method != "none"] * 4
    assert (model.delf.seconds > 0) == (method == "delf")
    assert model.values > 1000
    assert (model.dim, model.head_values) == (16, 6 * 16)
    assert list(tmp_path.iterdir()) == []  # nothing is left


DELF = {"stride": 8, "hidden": 8, "dim": 8, "batch_size": 4, "scales": [1.0], "max_features": 50}
