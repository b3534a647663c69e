"""Stage `train`: dataset and recipe to a descriptor model.

Reads train, validation, non_landmark and their images. Writes model/: model.safetensors,
model.json, head.safetensors, history.csv, curves.png, failures.parquet, manifest.json; while it
trains also the checkpoint that it goes on from.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from classify_head.heads import CosineHead, save_head
from embed.backbone import BackboneSpec, build_backbone
from embed.history import plot_history, save_history
from embed.image_file import ImageFile
from embed.model import DescriptorModel, ModelSpec, fingerprint_model, save_model
from embed.precision import pick_precision
from embed.shards import write_failures
from embed.train import Trainer, TrainingImages

from .artifacts import Manifest, hash_file, invalidate, load_manifest, record_file
from .job import Job, weights_inputs
from .progress import progress_to
from .stage import Artifact
from .training_set import TrainingSet, load_training_set
from .validation import MAX_DISTRACTORS, Validation, pick_database

logger = logging.getLogger(__name__)

OUTPUTS = (
    "model.safetensors",
    "model.json",
    "head.safetensors",
    "history.csv",
    "curves.png",
    "failures.parquet",
)


def train(job: Job) -> Manifest:
    """Train the model of a run, or return what is there.

    Raises:
        ValueError: the run holds a model that was trained otherwise, or the data will not do.
        TrainingCollapsed: see embed.train.
    """
    folder = job.run / "model"
    table = job.dataset.load_split("train")
    settings = {"train": job.recipe.train.model_dump(), "decode": job.recipe.decode.model_dump()}
    # Not an input: the pool, which only helps to choose among epochs. It may grow later.
    inputs = {"train": hash_file(table.path), **weights_inputs(job)}
    if (held_out := job.dataset.find_table("validation")) is not None:
        inputs["validation"] = hash_file(held_out)
    artifact = Artifact(job, "train", folder, settings, inputs, redo=job.redo)
    if done := artifact.find():
        job.fill()
        return done
    if not job.redo:
        _refuse_other_model(job, folder, settings, inputs)
    job.fill()
    if job.redo:  # a checkpoint would bring back what is to be done again
        invalidate(folder)
        for name in ("precision.json", *(path.name for path in folder.glob("checkpoint-*.pt"))):
            (folder / name).unlink(missing_ok=True)
    training = load_training_set(job.dataset, job.recipe.train)
    _check(training, job)
    model, trainer = _fit(job, training, folder / f"checkpoint-{artifact.key[:12]}.pt")
    invalidate(folder)
    ids = training.ids  # failures count among the images trained on
    _save(model, trainer, training.landmarks, ids, folder)
    failed = len(trainer.failures)
    manifest = artifact.sign(
        [record_file(folder / name) for name in OUTPUTS],
        model={"fingerprint": fingerprint_model(model), **model.spec.to_json()},
        counts={"requested": len(ids), "written": len(ids) - failed, "failed": failed},
    )
    for checkpoint in folder.glob("checkpoint-*.pt"):
        checkpoint.unlink()
    return manifest


def _refuse_other_model(
    job: Job, folder: Path, settings: dict[str, dict[str, Any]], inputs: dict[str, str]
) -> None:
    """Raise ValueError if the folder holds a finished model of other settings or data."""
    old = load_manifest(folder)
    if old is None:
        return
    changed = [
        name for name in sorted({*inputs, *old.inputs}) if inputs.get(name) != old.inputs.get(name)
    ]
    for section, values in settings.items():
        before = old.settings.get(section, {})
        changed += [f"{section}.{k}" for k in before | values if before.get(k) != values.get(k)]
    raise ValueError(
        f"{folder} holds a model trained with other {', '.join(changed[:6]) or 'files'}; "
        f"name another --run, or train it anew: cairn train --redo --run {job.run}"
    )


def _check(training: TrainingSet, job: Job) -> None:
    """Say what is left out, and raise ValueError if nothing can be learned from the rest."""
    settings, path = job.recipe.train, training.table.path
    if training.strangers:
        logger.warning(
            "%d of %d images of %s are of landmarks that are not trained on; they are not asked",
            *(training.strangers, training.strangers + len(training.held_out.ids)),
            training.held_out.path,
        )
    count = len(training.landmarks)
    dropped = len(np.unique(training.table.landmark_ids)) - count
    if dropped:
        logger.info(
            "%d of %d landmarks have fewer than %d photos and are not trained on",
            *(dropped, dropped + count, settings.balance.min_count),
        )
    if count < 2 and settings.epochs:
        fewer = f" of {settings.balance.min_count} photos and more" if dropped else ""
        raise ValueError(
            f"{path} has {count} landmark{fewer}; training tells landmarks apart and "
            "needs two: add some, or set train.epochs = 0 for features without training"
        )


def _fit(job: Job, training: TrainingSet, checkpoint: Path) -> tuple[DescriptorModel, Trainer]:
    """Return the best model and the trainer."""
    settings = job.recipe.train
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    model, head = _build(job, len(training.landmarks))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it sets its own on import
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=job.devices,
        strategy="ddp" if job.devices > 1 else "auto",
        precision=pick_precision(model, settings, checkpoint.with_name("precision.json")),
    )
    fabric.launch()
    images = _list_images(job, training)
    with progress_to("train") as move:
        trainer = Trainer(
            model,
            head,
            images,
            settings,
            decode=job.recipe.decode,
            fabric=fabric,
            checkpoint=checkpoint,
            workers=job.workers,
            report=move,
        )
        for row in trainer.run(_make_validation(job, images.paths, training).score):
            if not fabric.is_global_zero:
                continue
            logger.info(
                "epoch %d of %d: triplet %.3f, head %.3f; held out: GAP %.3f, recall@1 %.3f",
                *(row["epoch"], settings.epochs, row["triplet_loss"], row["head_loss"]),
                *(row["gap"], row["recall_at_1"]),
            )
    if not fabric.is_global_zero:
        raise SystemExit(0)  # the first process does the rest alone
    trainer.restore_best()
    return model.cpu().eval(), trainer


def _list_images(job: Job, training: TrainingSet) -> TrainingImages:
    ids, labels, examples = training.ids, training.classes, training.examples
    paths = job.dataset.images.locate_all(ids)
    if examples is None:
        return TrainingImages(paths, labels)
    return TrainingImages(paths, labels[examples.rows], examples, ids)


def _build(job: Job, classes: int) -> tuple[DescriptorModel, CosineHead]:
    """Return model and head with their first weights, the same ones for the same seed."""
    settings = job.recipe.train
    torch.manual_seed(settings.seed)
    backbone, spec = build_backbone(
        BackboneSpec(settings.backbone), weights=job.weights, pretrained=settings.pretrained
    )
    model = DescriptorModel(ModelSpec(spec, settings.image_size, settings.dim), backbone)
    return model, CosineHead(settings.dim, classes, settings.head_scale)


def _make_validation(job: Job, paths: Sequence[ImageFile], training: TrainingSet) -> Validation:
    """Ask for the held-out images and for some of the pool; search the images trained on."""
    truths = np.searchsorted(training.landmarks, training.held_out.landmark_ids)
    pool: tuple[str, ...] = ()
    if job.dataset.find_table("non_landmark"):
        pool = job.dataset.load_split("non_landmark").ids[:MAX_DISTRACTORS]
    labels = training.classes
    database = pick_database(labels, np.arange(len(labels)), job.recipe.train.seed)
    return Validation(
        queries=list(job.dataset.images.locate_all(training.held_out.ids + pool)),
        query_labels=np.concatenate([truths, np.full(len(pool), -1)]),
        database=[paths[row] for row in database],
        database_labels=labels[database],
        batch_size=job.recipe.embed.batch_size,
        max_pixels=job.max_pixels,
        workers=job.workers,
    )


def _save(
    model: DescriptorModel,
    trainer: Trainer,
    landmarks: NDArray[np.int64],
    ids: tuple[str, ...],
    folder: Path,
) -> None:
    """Write the OUTPUTS; the manifest, written later, makes them count."""
    head = trainer.head
    assert isinstance(head, CosineHead)
    save_model(model, folder)
    save_head(head.cpu(), landmarks, folder / "head.safetensors")
    save_history(trainer.progress.history, folder / "history.csv")
    plot_history(trainer.progress.history, folder / "curves.png")
    write_failures(folder / "failures.parquet", ids, trainer.failures)
