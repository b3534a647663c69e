"""Stage `train`: dataset and recipe to a descriptor model.

Reads train, validation, non_landmark and their images. Writes model/: model.safetensors,
model.json, head.safetensors, history.csv (a row an epoch), metrics.csv (a row every few steps),
failures.parquet, manifest.json; then curves.png, which no stage needs. While it trains also the
checkpoint that it goes on from. With train.local_weight also local.safetensors, what DELF learned
along.
"""

import copy
import logging
import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from classify_head.heads import Head, save_head
from embed.errors import InputError
from embed.failure import name_from
from embed.graph import GRAPH_FILES
from embed.history import (
    CURVES,
    save_history,
    save_steps,
    write_tensorboard,
)
from embed.model import DescriptorModel, fingerprint_model, save_model
from embed.precision import NAMES, FabricPrecision, pick_precision
from embed.processes import Report, run_processes, start_fabric
from embed.profile import Profile
from embed.shards import write_failures
from embed.train import Trainer
from embed.train_settings import FreezeSettings, TrainSettings
from embed.training_images import TrainingImages
from pipelines.artifacts import Manifest, invalidate, load_manifest, record_file
from pipelines.decorations import draw
from pipelines.progress import progress_to
from pipelines.runs.artifact import Artifact
from pipelines.runs.engines import HEAD_FILE
from pipelines.runs.job import Job
from rerank.delf.joint import save_joint
from rerank.delf.objective import MapObjective
from rerank.delf.settings import LOCAL_FILE

from .choice import choose_model
from .export import export_engines
from .plots import draw_curves
from .training_checks import check_devices, check_joint, check_training
from .training_networks import Networks, build_networks
from .training_set import TrainingSet, load_training_set
from .validation import Validation

logger = logging.getLogger(__name__)

OUTPUTS = (
    "model.safetensors",
    "model.json",
    HEAD_FILE,
    "history.csv",
    "metrics.csv",
    "failures.parquet",
)


def train(artifact: Artifact) -> Manifest:
    """Train the model of a run.

    Raises:
        InputError: the run holds a model that was trained otherwise, or the data will not do.
        TrainingCollapsed: see embed.train.
    """
    job, folder = artifact.job, artifact.folder
    _refuse_other_model(artifact)
    check_joint(job)
    job.record()
    training = load_training_set(job.dataset, job.recipe.train)
    check_training(training, job)
    profile = Profile(synchronize=job.profile)
    trained = _fit(job, training, folder / f"checkpoint-{artifact.key[:12]}.pt", profile)
    model, trainer = trained.model, trained.trainer
    invalidate(folder)
    (folder / CURVES).unlink(missing_ok=True)
    ids = training.ids  # failures count among the images trained on
    save_model(model, folder)
    save_head(trained.head, training.landmarks, folder / HEAD_FILE)
    with profile.timed("export"):
        engines = export_engines(job, training, model, folder)
    if job.profile:
        for line in profile.table().splitlines():
            logger.info("%s", line)
    _save_record(trained, job.dataset.folder, ids, folder)
    outputs = list(OUTPUTS)
    if isinstance(trainer.local, MapObjective):
        save_joint(trainer.local, folder / LOCAL_FILE)
        outputs.append(LOCAL_FILE)
    if engines.graph:
        outputs += GRAPH_FILES
    failed = len(trainer.failures)
    manifest = artifact.sign(
        [record_file(folder / name) for name in outputs],
        model={
            "fingerprint": fingerprint_model(model),
            **model.spec.to_json(),
            # What `auto` took, or what the processor has.
            "training_precision": trained.precision,
            "tuned": trained.tuned,
            **asdict(engines),
        },
        counts={"requested": len(ids), "written": len(ids) - failed, "failed": failed},
    )
    for checkpoint in folder.glob("checkpoint-*.pt"):
        checkpoint.unlink()
    draw(folder / CURVES, lambda: draw_curves(folder))
    return manifest


def _refuse_other_model(artifact: Artifact) -> None:
    """Raise InputError if the folder holds a finished model of other settings or data."""
    folder, inputs = artifact.folder, artifact.inputs
    old = load_manifest(folder)
    if old is None:
        return
    changed = [
        name for name in sorted({*inputs, *old.inputs}) if inputs.get(name) != old.inputs.get(name)
    ]
    for section, values in artifact.settings.items():
        before = old.settings.get(section, {})
        changed += [f"{section}.{k}" for k in before | values if before.get(k) != values.get(k)]
    raise InputError(
        f"{folder} holds a model trained with other {', '.join(changed[:6])}; "
        f"name another --run, or train it anew: delete {folder}, and give the same command again"
    )


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a training ends with."""

    model: DescriptorModel
    head: Head
    trainer: Trainer
    history: list[dict[str, float]]  # a row an epoch; the first one of pretrained features, maybe
    tuned: bool  # or the model is as it was before the training
    precision: str


def _fit(job: Job, training: TrainingSet, checkpoint: Path, profile: Profile) -> TrainingResult:
    """Train, and return the best of what was there."""
    settings = job.recipe.train
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    check_devices(job.devices)
    networks = build_networks(job, training)
    model, head, first = networks.model, networks.head, networks.first
    precision = pick_precision(model, settings, checkpoint.with_name("precision.json"))
    task = TrainingTask(replace(job), training, checkpoint, precision, profile)
    with progress_to("train on images", profile) as move:
        if job.devices > 1 and settings.epochs:
            run_processes(job.devices, partial(_train_in_process, task), move)
        # What processes have done is in the checkpoint: nothing is left to train here.
        alone = replace(task, job=replace(job, devices=1))
        trainer, validation = _train_epochs(alone, networks, move)
    done_best = trainer.progress.best.get("epoch") == trainer.progress.epoch
    last = copy.deepcopy((model, head)) if first and not done_best else (model, head)
    trainer.restore_best()
    name = next(name for name, chosen in NAMES.items() if chosen == precision)
    history, tuned = trainer.progress.history, settings.epochs > 0
    if first:
        start = first[0]
        choice = choose_model(start, model, last[0], validation)
        history, tuned = [{"epoch": 0.0, **choice.start}, *history], choice.tuned
        model, head = ((model, head), first, last)[choice.place]
        if tuned and settings.pretrained_share:
            model = model.with_pretrained(start, settings.pretrained_share)
    return TrainingResult(model.cpu().eval(), head.cpu().eval(), trainer, history, tuned, name)


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """A training, as each of its processes gets it."""

    job: Job
    training: TrainingSet
    checkpoint: Path
    precision: FabricPrecision
    profile: Profile


def _train_in_process(task: TrainingTask, report: Report) -> None:
    """Train in one of several processes, on one device; what is learned is in the checkpoint."""
    _train_epochs(task, build_networks(task.job, task.training), report)


def _train_epochs(
    task: TrainingTask, networks: Networks, report: Report
) -> tuple[Trainer, Validation]:
    """Train the epochs that are left; the first process tells of each, and judges it."""
    job, training, settings = task.job, task.training, task.job.recipe.train
    # What is frozen for a while has no gradient.
    freezes = settings.phases or settings.freeze != FreezeSettings() or not settings.head_weight
    fabric = start_fabric(job.devices, task.precision, find_unused_parameters=bool(freezes))
    start = networks.first[0].to(fabric.device) if networks.first else None
    validation = Validation.of(
        job.dataset,
        training,
        job.recipe,
        networks.head,
        workers=job.workers,
        before=start if settings.pretrained_share else None,
    )
    trainer = Trainer(
        networks.model,
        networks.head,
        _list_images(job, training),
        settings,
        decode=job.recipe.decode,
        fabric=fabric,
        checkpoint=task.checkpoint,
        workers=job.workers,
        local=networks.local,
        report=report,
        profile=task.profile,
    )
    for row in trainer.run(validation.score):
        if fabric.is_global_zero:
            _log_epoch(row, settings)
            _write_events(job, trainer)
    return trainer, validation


def _write_events(job: Job, trainer: Trainer) -> None:
    """Show TensorBoard how far the training has come, if it is wanted."""
    if (folder := job.tensorboard) is not None:
        record = trainer.progress
        draw(folder, lambda: write_tensorboard(record.history, record.steps, folder))


def _log_epoch(row: dict[str, float], settings: TrainSettings) -> None:
    """Log an epoch's row of the history, as far as there is something to tell."""
    names = {
        "triplet_loss": settings.metric_loss if settings.triplet_weight else "",
        "head_loss": "head",
        "top1": "top-1",
        "local_loss": "DELF",
    }
    found = [f"{label} {row[name]:.3f}" for name, label in names.items() if label and name in row]
    judged = {
        "gap": "GAP",
        "gap_unseen": "GAP of unseen landmarks",
        "recall_at_1": "recall@1",
        "head_top1": "top-1 of the head",
    }
    held_out = [
        f"{label} {row[name]:.3f}"
        for name, label in judged.items()
        if not math.isnan(row.get(name, math.nan))
    ]
    logger.info(
        "epoch %d of %d: %s%s",
        *(row["epoch"], settings.epochs, ", ".join(found)),
        f"; held out: {', '.join(held_out)}" if held_out else "",
    )


def _list_images(job: Job, training: TrainingSet) -> TrainingImages:
    ids, examples = training.ids, training.examples
    paths = job.dataset.images.locate_all(ids)
    return TrainingImages(paths, training.labels, examples, () if examples is None else ids)


def _save_record(trained: TrainingResult, data: Path, ids: tuple[str, ...], folder: Path) -> None:
    """Write how the training went; the manifest, written later, makes it count."""
    save_history(trained.history, folder / "history.csv")
    save_steps(trained.trainer.progress.steps, folder / "metrics.csv")
    write_failures(folder / "failures.parquet", ids, name_from(data, trained.trainer.failures))
