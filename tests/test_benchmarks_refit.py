"""The baseline of bench_unseen: a head trained anew on photos of landmarks never seen before."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from classify_head.ensemble import combine_heads
from classify_head.submission import load_submission
from embed.model import load_model
from embed.train_settings import FreezeSettings, PhaseSettings, TrainSettings
from pipelines.datasets.dataset import Dataset, ImageTable
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs
from pipelines.runs.recipe import change_recipe
from pipelines.stages import order
from tests.benchmarks.bench_unseen import measure, open_run
from tests.benchmarks.landmark_split import split_landmarks
from tests.benchmarks.refit import (
    Effort,
    RefittedHead,
    answer_refitted,
    refit_head,
    refit_settings,
)
from tests.datasets import PHOTOS, make_dataset, make_job, make_recipe_file

SHORT = Effort(epochs=2, least_steps=2, passes=1, enough=0)
CHANGES = """
[train]
epochs = 1
head_learning_rate = 0.02

[train.augment]
crop = "none"
erase = 0.0

[ensemble]
rule = "mean"

[ensemble.members.one]

[ensemble.members.two.train]
seed = 1
triplet_weight = 0.0
sampler = "uniform"
dim = 0
pooling.kind = "spoc"
head.kind = "linear"
"""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset whose database has the landmarks that are not trained on.

    The first photo of the database is broken, and the first that is asked about.
    """
    folder = tmp_path_factory.mktemp("unseen")
    source = make_dataset(folder / "source")
    data = split_landmarks(Dataset(source), folder / "data", photos=PHOTOS)
    for name in ("index", "test"):
        broken = Dataset(data).load_split(name).ids[0]
        (source / "images" / f"{broken}.jpg").write_bytes(b"no photo")
    return data


@pytest.fixture(scope="module")
def trained(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return the job of an ensemble whose models are there."""
    folder = tmp_path_factory.mktemp("trained")
    job = make_job(split, folder / "run", make_recipe_file(folder / "tiny.toml", CHANGES))
    order.train(job)
    return job


@pytest.fixture
def job(trained: Job, tmp_path: Path) -> Job:
    """Return the same with a run folder of its own."""
    shutil.copytree(trained.run, tmp_path / "run", symlinks=True)
    return replace(trained, run=tmp_path / "run")


def known_and_asked(job: Job) -> tuple[ImageTable, ImageTable]:
    return job.dataset.load_split("index"), job.dataset.load_split("test")


def test_a_head_learns_the_photos_and_the_backbone_stays(job: Job, tmp_path: Path) -> None:
    member, (known, _) = list_member_jobs(job)[0], known_and_asked(job)
    effort = Effort(epochs=6, least_steps=5)
    refitted = refit_head(member, known, tmp_path / "checkpoint.pt", effort)
    assert refitted.learned > 0.8
    assert refitted.classifier.landmark_ids.tolist() == sorted(set(known.landmark_ids.tolist()))
    before, after = load_model(member.run / "model")[0].state_dict(), refitted.model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"pool", "neck", "neck_norm"}


def refit_at(job: Job, rate: float, effort: Effort, checkpoint: Path) -> RefittedHead:
    recipe = change_recipe(job.recipe, [f"train.head_learning_rate={rate}"])
    known = job.dataset.load_split("index")
    return refit_head(replace(job, recipe=recipe), known, checkpoint, effort)


def test_a_head_that_did_not_learn_is_trained_faster(job: Job, tmp_path: Path) -> None:
    member, effort = list_member_jobs(job)[0], Effort(epochs=6, least_steps=5, enough=0)
    slow = refit_at(member, 2e-6, effort, tmp_path / "slow.pt")
    fast = refit_at(member, 2e-2, effort, tmp_path / "fast.pt")
    assert slow.learned < 0.8 < fast.learned
    demanding = replace(effort, enough=0.8, faster=1e4)
    assert refit_at(member, 2e-6, demanding, tmp_path / "anew.pt").loss == fast.loss
    assert refit_at(member, 2e-2, demanding, tmp_path / "not-anew.pt").loss == fast.loss
    assert not (tmp_path / "not-anew-faster.pt").exists()


@pytest.mark.parametrize("faster", [1e4, 1e30])  # worse; and collapses
def test_a_head_stays_where_a_higher_rate_is_no_better(
    faster: float, job: Job, tmp_path: Path
) -> None:
    member, effort = list_member_jobs(job)[1], Effort(epochs=2, least_steps=1, enough=0)
    first = refit_at(member, 2e-2, effort, tmp_path / "first.pt")
    demanding = replace(effort, enough=1, faster=faster)
    assert first.learned < 1
    assert refit_at(member, 2e-2, demanding, tmp_path / "second.pt").loss == first.loss


def test_the_members_answer_together_for_every_image(job: Job, tmp_path: Path) -> None:
    known, queries = known_and_asked(job)
    answers = read_answers(answer_refitted(job, known, queries, SHORT))
    assert set(answers) == set(queries.ids)
    assert answers[queries.ids[0]][0] == -1  # it is broken
    heads = [refit_head(m, known, tmp_path / m.run.name, SHORT) for m in list_member_jobs(job)]
    together = combine_heads([head.answer(queries) for head in heads], "mean")
    labels, confidences = together.labels[:, 0].tolist(), together.probabilities[:, 0].tolist()
    assert answers == dict(zip(queries.ids, zip(labels, confidences, strict=True), strict=True))
    assert {label for label, _ in list(answers.values())[1:]} <= set(known.landmark_ids.tolist())


def read_answers(path: Path) -> dict[str, tuple[int, float]]:
    ids, choice = load_submission(path)
    pairs = zip(choice.labels.tolist(), choice.confidences.tolist(), strict=True)
    return dict(zip(ids, pairs, strict=True))


def test_what_is_done_is_kept_until_something_else_is_asked_for(job: Job) -> None:
    known, queries = known_and_asked(job)
    path = answer_refitted(job, known, queries, SHORT)
    stamp = path.stat().st_mtime_ns
    assert list(path.parent.glob("*.pt")) == []
    assert answer_refitted(job, known, queries, SHORT) == path
    assert path.stat().st_mtime_ns == stamp
    fewer = ImageTable(known.path, known.ids[2:], known.landmark_ids[2:])
    assert answer_refitted(job, fewer, queries, SHORT) != path


def test_what_would_stop_a_head_early_is_left_out() -> None:
    recipe = TrainSettings(
        epochs=2,
        phases=(PhaseSettings(epochs=2, freeze=FreezeSettings(head=True)),),
        schedule="step",
        patience=1,
        epoch_share=0.1,
        head_loss="focal",
        optimizer="sgd",
        sampler="uniform",
        triplet_weight=0.0,
        batch_size=32,
    )
    settings = refit_settings(recipe, photos=160, classes=16)
    assert (settings.epochs, settings.epoch_steps) == (30, 4 * 160 // 32)
    phase = settings.phase_at(29)
    assert phase.freeze == FreezeSettings(last_convolutions=0)
    assert (settings.schedule, settings.patience, settings.epoch_share) == ("cosine", 0, 1.0)
    assert (settings.head_loss, settings.optimizer) == (recipe.head_loss, recipe.optimizer)
    assert TrainSettings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("sampler", "classes", "steps"), [("m-per-class", 16, 10), ("m-per-class", 4, 40)]
)
def test_batches_are_counted_as_training_counts_them(
    sampler: str, classes: int, steps: int
) -> None:
    recipe = TrainSettings.model_validate({"sampler": sampler, "batch_size": 32})
    assert refit_settings(recipe, 160, classes).epoch_steps == steps  # 4 images of each class


def test_a_recipe_gets_a_line_of_the_table(split: Path, tmp_path: Path) -> None:
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[train]\nepochs = 1\n")
    job = open_run(str(recipe), split, tmp_path / "runs", None, ["rerank.method=none"], workers=0)
    row = measure(job, "random", SHORT)
    assert job.run == tmp_path / "runs" / "tiny"
    shares = (row.gap, row.gap_knn, row.gap_refitted, row.top1_refitted)
    assert all(0 <= share <= 1 for share in shares) and row.train_seconds > 0
    assert row.format().count("|") == 8
    assert measure(job, "random", SHORT) == row  # nothing is done again
    (path,) = job.run.glob("refit/*/submission.csv")
    assert set(read_answers(path)) == set(job.dataset.load_split("test").ids)
