"""The plan of a run: samples of the dataset, what their runs took, and the arithmetic of it."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest

from embed.errors import InputError
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.tables import Tables, read_tables
from pipelines.datasets.selection.sample import draw_sample
from pipelines.memory import read_memory, watch_memory
from pipelines.runs.artifact import Artifact
from pipelines.runs.job import Job
from pipelines.runs.members import list_members
from pipelines.runs.recipe import change_recipe, load_recipe
from pipelines.stages import plan
from pipelines.stages.known_queries import load_known_queries
from pipelines.stages.plan import (
    MARGIN,
    SHORT,
    Usage,
    Work,
    count_work,
    extrapolate,
    fit,
    measure,
    plan_run,
)
from tests.conftest import Tiny
from tests.datasets import make_dataset, make_job, write_table


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that temporary ones are made in."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def tables_of(folder: Path, sizes: list[int], **others: list[str]) -> Tables:
    folder.mkdir(exist_ok=True)
    rows = [f"a{c}-{n},{c}" for c, size in enumerate(sizes) for n in range(size)]
    write_table(folder / "train.csv", "id,landmark_id", rows)
    for name, ids in others.items():
        labelled = name in ("index", "validation")
        write_table(folder / f"{name}.csv", "id,landmark_id" if labelled else "id", ids)
    return read_tables(Dataset(folder))


def usage_of(seconds: Callable[[Work], float]) -> Callable[[Job], tuple[dict[str, Usage], bool]]:
    """Return a stand-in for measure, of stages that take a known time."""

    def measured(job: Job) -> tuple[dict[str, Usage], bool]:
        work = count_work(job)
        return {
            name: Usage(seconds(work[name]), int(1000 + 7 * work[name].kept), 10**9)
            for name in ("train", "embed", "submit")
        }, True

    return measured


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    paths = [path for path in folder.rglob("*")] + [folder]
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in paths}


def test_a_line_has_what_is_fixed_and_a_rate() -> None:
    assert fit([(10, 7.0), (10, 7.0), (40, 13.0)], 1000) == (
        205.0,
        205.0,
        325.0,
    )  # 13 s may all be of the 40 items


def test_the_range_is_between_the_two_small_runs() -> None:
    # The first run took 4 s more: that is its start, or it is chance.
    value, low, high = fit([(10, 11.0), (10, 7.0), (40, 13.0)], 1000)
    assert (value, high) == (9.0 + 200.0, 1000 * 13 / 40)
    assert low == pytest.approx(9.0 + 1000 * 2 / 30)


def test_what_is_too_little_to_measure_has_a_wide_range() -> None:
    value, low, high = fit([(10, 0.5), (10, 0.5), (40, 0.4)], 1000)
    assert (value, low) == (0.5, 0.5)
    assert high == pytest.approx(1000 * 0.4 / 40)


def test_a_stage_of_a_moment_may_take_a_second_more() -> None:
    work = {"index": Work(10, 10)}, {"index": Work(10, 10)}, {"index": Work(30, 30)}
    taken = ({"index": Usage(seconds, 100, 0)} for seconds in (0.2, 0.16, 0.18))
    (index,) = extrapolate(list(zip(work, taken, strict=True)), {"index": Work(40, 40)})
    assert index.low == 0
    assert index.seconds == pytest.approx(0.23)
    assert index.high > 1 + index.seconds


def test_work_that_does_not_grow_takes_what_the_first_run_took() -> None:
    assert fit([(0, 6.0), (0, 2.0), (0, 2.0)], 0) == (6.0, 6.0, 6.0)


def test_stages_are_extrapolated_each_by_its_own_work() -> None:
    def run(scale: int, start: float) -> tuple[dict[str, Work], dict[str, Usage]]:
        work = {"train": Work(100 * scale, 2 * scale), "embed": Work(10 * scale, 10 * scale)}
        work["index"] = Work(5 * scale, 5 * scale)
        usage = {
            "train": Usage(start + 20 * scale, 500 + 40 * scale, 2 * 10**9),
            "embed": Usage(start + 3 * scale, 100 * scale, 10**9),
            "index": Usage(start + 1 * scale, 50 * scale, 10**8),
        }
        return work, usage

    whole = {"train": Work(10_000, 200), "embed": Work(1000, 1000), "index": Work(500, 500)}
    train, embed, index = extrapolate([run(1, 4.0), run(1, 1.0), run(3, 1.0)], whole)
    assert (train.stage, embed.stage, index.stage) == ("train", "embed", "index")
    assert train.seconds == pytest.approx(4 + 2000)
    assert embed.seconds == pytest.approx(4 + 300)
    assert train.high == pytest.approx(MARGIN * 10_000 * 61 / 300 + SHORT)
    assert embed.low == pytest.approx((4 + 1000 * 0.15) / MARGIN - SHORT)
    assert (train.disk, embed.disk, index.disk) == (500 + 4000, 10_000, 5000)
    assert train.memory == 2 * 10**9 + 4 * (4500 - 620)  # the head, with gradient and moments
    assert embed.memory == 10**9
    assert index.memory == 10**8 + 3 * (10_000 - 300)  # the descriptors


def test_a_known_rate_is_found_again(
    finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset(tmp_path / "data", landmarks=40)
    job = make_job(data, tmp_path / "run", finished.recipe)
    monkeypatch.setattr(plan, "measure", usage_of(lambda work: 5 + 0.1 * work.items))
    monkeypatch.setattr(plan, "PATIENCE", 1e9)
    made, work = plan_run(job), count_work(job)
    assert (made.images, made.tuned) == (160 + 8 + 6, True)
    assert made.samples == (32 + 8 + 6, 32 + 8 + 6, 96 + 8 + 6)
    for stage in made.stages:
        assert stage.seconds == pytest.approx(5 + 0.1 * work[stage.stage].items)
        assert stage.disk == pytest.approx(1000 + 7 * work[stage.stage].kept)
        assert stage.low < stage.seconds < stage.high
    monkeypatch.setattr(plan, "PATIENCE", 0.0)
    assert plan_run(job).samples[-1] == 64 + 8 + 6


def test_a_plan_of_a_tiny_dataset_is_near_its_run(finished: Tiny, tmp_path: Path) -> None:
    job = make_job(finished.data, tmp_path / "run", finished.recipe)
    before = snapshot(finished.data)
    made = plan_run(job)
    assert not job.run.exists() and snapshot(finished.data) == before
    assert made.samples in ((12, 12, 38), (12, 12, 25))  # the latter on a busy machine
    real, _ = measure(make_job(finished.data, tmp_path / "real", finished.recipe))
    assert {stage.stage for stage in made.stages} == set(real)
    for stage in made.stages:
        assert 0.4 < stage.disk / real[stage.stage].disk < 2.5
        assert 0 <= stage.low <= stage.seconds < stage.high - 1
        assert stage.memory > 10**7


def test_the_work_is_what_the_stages_do(finished: Tiny) -> None:
    job = make_job(finished.data, finished.run, finished.recipe)
    work = count_work(job)
    embedded = [load_manifest(path) for path in (finished.run / "embeddings").iterdir()]
    assert work["embed"].items == sum(done.counts["requested"] for done in embedded if done)
    assert work["decision"].kept == len(load_known_queries(job).ids)
    assert work["train"].kept == 6
    # Batches of 3 landmarks x 2 photos, 3 of 18 photos; 6 held out, 6 of the pool, 18 searched.
    assert work["train"].items == 2 * (3 * 18 + 6 + 6 + 18)
    # Without pretrained weights there is no model from before the training to judge, too.
    shared = ["train.unseen_share=0.2", "train.pretrained_share=0.5"]
    assert (
        count_work(replace(job, recipe=change_recipe(job.recipe, shared)))["train"] == work["train"]
    )
    without = replace(job, recipe=change_recipe(job.recipe, ["train.epochs=0"]))
    assert count_work(without)["train"].items == 0


def test_what_manifests_say_is_summed(
    finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(finished.data, tmp_path / "run", finished.recipe)

    def fake_submit(job: Job) -> None:
        for split, started in (("train", 97.0), ("test", 98.5)):
            folder = job.run / "embeddings" / split
            folder.mkdir(parents=True)
            Artifact(job, "embed", folder, {}, {}, _started=started).sign([])

    monkeypatch.setattr("pipelines.runs.artifact.time.perf_counter", lambda: 100.0)
    monkeypatch.setattr(plan, "submit", fake_submit)
    usage, tuned = measure(job)
    assert usage["embed"].seconds == 4.5 and list(usage) == ["embed"] and tuned


def test_scratch_folders_vanish(finished: Tiny, tmp_path: Path, scratch: Path) -> None:
    plan_run(make_job(finished.data, tmp_path / "run", finished.recipe))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("error", [InputError("wrong"), ZeroDivisionError, KeyboardInterrupt])
def test_scratch_folders_vanish_after_errors(
    finished: Tiny,
    tmp_path: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    def fail(job: Job) -> None:
        (job.run / "half").mkdir(parents=True)
        raise error

    monkeypatch.setattr(plan, "submit", fail)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):  # type: ignore[arg-type]
        plan_run(make_job(finished.data, tmp_path / "run", finished.recipe))
    assert list(scratch.iterdir()) == []


def test_photos_that_cannot_be_read_are_named_by_the_dataset(
    tmp_path: Path, finished: Tiny
) -> None:
    data = make_dataset(tmp_path / "data")
    for path in (data / "images").glob("thing*"):
        path.write_bytes(b"no photo")
    with pytest.raises(InputError, match="could be read") as raised:
        plan_run(make_job(data, tmp_path / "run", finished.recipe))
    assert str(data / "images") in str(raised.value)
    assert "cairn-plan" not in str(raised.value)


def test_weights_of_no_network_are_an_error_that_names_them(finished: Tiny, tmp_path: Path) -> None:
    job = make_job(finished.data, tmp_path / "run", finished.recipe)
    with pytest.raises(InputError, match=r"none\.safetensors"):
        plan_run(replace(job, weights=tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"bad\.safetensors"):
        plan_run(replace(job, weights=tmp_path / "bad.safetensors"))


def test_every_member_of_an_ensemble_is_shortened() -> None:
    recipe = load_recipe("balanced-ensemble")
    short = plan._shorten(recipe, 3)
    assert short.data.changes_nothing
    for each in list_members(Path(), short).values():
        assert (each.train.epochs, each.train.epoch_steps, each.train.phases) == (1, 3, ())


def test_the_sections_of_data_are_chosen_first(
    finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset(tmp_path / "data", landmarks=40)
    job = make_job(data, tmp_path / "run", finished.recipe)
    monkeypatch.setattr(plan, "measure", usage_of(lambda work: work.items))
    made = plan_run(replace(job, recipe=change_recipe(job.recipe, ["data.top=10"])))
    assert made.images == 10 * 4 + 8 + 6


def test_a_sample_has_whole_landmarks_and_some_of_all_else(tmp_path: Path) -> None:
    index = [f"i{n},{n % 50}" for n in range(400)]
    pool = [f"p{n}" for n in range(100)]
    tables = tables_of(tmp_path / "data", [5] * 50, index=index, non_landmark=pool, test=["q"])
    small, large = (draw_sample(tables, photos, 2) for photos in (32, 96))
    for drawn, photos in ((small, 32), (large, 96)):
        landmarks, sizes = np.unique(drawn["train"]["landmark_id"], return_counts=True)
        assert set(sizes) == {5} and photos <= len(landmarks) * 5 < photos + 5
        searched = drawn["index"]["landmark_id"].to_pylist()
        assert len(searched) == photos and set(searched) <= set(landmarks.tolist())
        assert len(drawn["non_landmark"]) == photos // 4 and len(drawn["test"]) == 1
    assert set(small["train"]["landmark_id"].to_pylist()) < set(
        large["train"]["landmark_id"].to_pylist()
    )
    assert draw_sample(tables, 32, 2) == small


def test_few_landmarks_give_more_photos_each(tmp_path: Path) -> None:
    tables = tables_of(tmp_path / "data", [100, 60, 1])
    sizes = np.unique(draw_sample(tables, 96, 2)["train"]["landmark_id"], return_counts=True)[1]
    assert sizes.tolist() == [48, 48]
    with pytest.raises(InputError, match=r"needs two landmarks of 80 photos and more.*has 1"):
        draw_sample(tables, 96, 80)
    assert len(draw_sample(tables_of(tmp_path / "one", [1]), 96, 1)["train"]) == 1


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="needs Linux")
def test_memory_is_watched() -> None:
    before = read_memory()
    with watch_memory() as seen, mmap(-1, 300 << 20) as held:
        for place in range(0, len(held), 4096):
            held[place] = 1
        while not seen:
            os.sched_yield()
        seen.append((0.0, read_memory()))
    assert max(size for _, size in seen) > before + (250 << 20)
