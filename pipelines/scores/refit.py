"""Train the classification head of a finished run anew, on photos of other landmarks, and ask it.

That is what a classifier takes to learn landmarks which it was not trained on, and the baseline
that retrieval, which takes nothing but the photos, has to beat. The backbone stays as the run
trained it; the head, and what lies between the two, learns with the recipe's own loss, optimizer
and augmentation. Reads model/ of a run, or those of its ensemble. Writes refit/: submission.csv,
history.csv (of an ensemble one a member), failures.parquet, manifest.json; while it trains also the
checkpoints that it goes on from.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from pydantic import Field

from classify_head.ensemble import combine_embeddings, keep_shared
from classify_head.gap import NO_LANDMARK
from classify_head.heads import build_head
from classify_head.submission import save_submission
from classify_head.trained_head import TrainedHead
from embed.errors import InputError, MissingFileError
from embed.extract import extract_all
from embed.failure import Failure
from embed.history import save_history
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel
from embed.precision import pick_precision
from embed.settings import BalanceSettings, FreezeSettings, Settings, TrainSettings
from embed.shards import Embeddings, write_failures
from embed.train import Trainer, TrainingImages
from embed.views import Views
from pipelines.answers.stored_model import open_model
from pipelines.artifacts import Manifest, hash_values, invalidate, load_manifest, record_file
from pipelines.datasets.dataset import ImageTable
from pipelines.progress import progress_to
from pipelines.runs.artifact import Artifact
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs

logger = logging.getLogger(__name__)


class Effort(Settings):
    """How long heads are trained anew: the baseline shall lack nothing that time would give it.

    With features of ImageNet and ten photos each of 16 products, twice as many passes gave a cosine
    head nothing, a linear one .03 to .04 of GAP. At the rate of some recipes a head has not learned
    its photos by then.
    """

    epochs: int = Field(30, ge=1)
    passes: int = Field(4, ge=1)  # of an epoch over all photos, each time changed at random
    least_steps: int = Field(10, ge=1)  # of an epoch, where the photos are few
    # A head that tells a smaller share of its photos in the end is trained again, faster, and the
    # one with the lower loss is taken: too high a rate can tell more, and be sure when wrong.
    enough: float = Field(0.95, ge=0, le=1)
    faster: float = Field(10.0, gt=1)  # factor of the rate


EFFORT = Effort()


@dataclass(frozen=True, eq=False)
class RefittedHead:
    """A model of a run with a head for the landmarks of other photos."""

    job: Job  # of this one model
    model: DescriptorModel  # in eval mode; its backbone is that of the run
    classifier: TrainedHead
    history: tuple[dict[str, float], ...]  # a row an epoch: head_loss, top1 in training, ...
    failures: tuple[Failure, ...]  # photos that could not be trained on, by position

    @property
    def learned(self) -> float:
        """Share of the photos that the head told in the last epoch of its training."""
        return self.history[-1]["top1"]

    @property
    def loss(self) -> float:
        """Loss of the head in the last epoch of its training."""
        return self.history[-1]["head_loss"]

    def answer(self, table: ImageTable) -> tuple[Embeddings, tuple[Failure, ...]]:
        """Return what the head says of a table's images, and those that could not be read."""
        found = extract_all(
            self.model,
            self.job.dataset.images.locate_all(table.ids),
            batch_size=self.job.recipe.embed.batch_size,
            max_pixels=self.job.max_pixels,
            workers=self.job.workers,
            views=Views.of(self.job.recipe.embed),
            classifier=self.classifier,
        )
        ids = tuple(table.ids[position] for position in found.positions)
        labels = table.landmark_ids[found.positions]
        return Embeddings(ids, labels, found.vectors, found.head), found.failures


def refit_settings(
    train: TrainSettings, photos: int, classes: int, effort: Effort = EFFORT
) -> TrainSettings:
    """Return how a recipe's head is trained anew on so many photos of so many classes.

    Its loss, optimizer, rates, batches and augmentation are the recipe's; what would stop the head
    before it has learned the photos is not.
    """
    steps = math.ceil(effort.passes * photos / _count_batch(train, classes))
    return train.model_copy(
        update={
            "epochs": effort.epochs,
            "epoch_steps": max(steps, effort.least_steps),
            "epoch_share": 1.0,
            "stages": (),
            "freeze": FreezeSettings(last_convolutions=0),
            "triplet_weight": 0.0,
            "local_weight": 0.0,
            "head_weight": 1.0,
            "schedule": "cosine",  # steps of a recipe are made for its own number of epochs
            "warmup": 0.1,
            "patience": 0,
            "balance": BalanceSettings(),
        }
    )


def _count_batch(train: TrainSettings, classes: int) -> int:
    """Return the images of a batch as training counts them, once there is no metric loss."""
    if train.sampler != "m-per-class" and train.batch_size:
        return train.batch_size
    return min(train.classes_per_batch, classes) * train.images_per_class


def refit_head(
    job: Job, known: ImageTable, checkpoint: Path, effort: Effort = EFFORT
) -> RefittedHead:
    """Train the head of one model of a run on all photos of a table, or go on doing so.

    Args:
        job: of a run with a model, not of an ensemble.
        known: photos of the landmarks that the head shall know, two landmarks or more.
        checkpoint: the file that the training goes on from, and with "-faster" at the end of its
            stem that of a second one; the caller deletes them.
        effort: how long.

    Raises:
        MissingFileError: the run has no model.
        InputError: photos of fewer than two landmarks.
        TrainingCollapsed: see embed.train.
    """
    landmarks = np.unique(known.landmark_ids)
    if len(landmarks) < 2:
        raise InputError(
            f"{known.path} has photos of {len(landmarks)} landmark; a head tells landmarks apart "
            "and needs two: add some"
        )
    settings = refit_settings(job.recipe.train, len(known.ids), len(landmarks), effort)
    found = _train_head(job, known, checkpoint, settings)
    if found.learned >= effort.enough:
        return found
    faster = {"head_learning_rate": effort.faster * settings.head_learning_rate}
    checkpoint = checkpoint.with_stem(f"{checkpoint.stem}-faster")
    try:
        again = _train_head(job, known, checkpoint, settings.model_copy(update=faster))
    except TrainingCollapsed as error:
        logger.info("%s: at %g times the rate: %s", job.run, effort.faster, error)
        return found
    return min(found, again, key=lambda head: head.loss)


def _train_head(
    job: Job, known: ImageTable, checkpoint: Path, settings: TrainSettings
) -> RefittedHead:
    model, _ = open_model(job.run)
    landmarks, labels = np.unique(known.landmark_ids, return_inverse=True)
    torch.manual_seed(settings.seed)
    head = build_head(settings.head, model.head_dim, np.bincount(labels), settings.head_scale)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with progress_to("refit") as move:
        trainer = Trainer(
            model,
            head,
            TrainingImages(job.dataset.images.locate_all(known.ids), labels),
            settings,
            decode=job.recipe.decode,
            fabric=_make_fabric(model, settings, checkpoint),
            checkpoint=checkpoint,
            workers=job.workers,
            report=move,
        )
        for _ in trainer.run(_judge_nothing):
            pass
    found = RefittedHead(
        job,
        model.eval(),
        TrainedHead(head.eval(), landmarks),
        tuple(trainer.progress.history),
        tuple(trainer.failures),
    )
    logger.info(
        "%s: a head of %d landmarks, trained on %d photos at a rate of %g, tells %.1f %% of them",
        *(job.run, len(landmarks), len(known.ids), settings.head_learning_rate),
        100 * found.learned,
    )
    return found


def answer_refitted(
    job: Job, known: ImageTable, asked: ImageTable, effort: Effort = EFFORT
) -> Manifest:
    """Write the answers of the run's head, trained anew, or return what is there.

    Of an ensemble the head of each member is, and they answer by its rule.

    Args:
        job: of a run that has its model, or its models.
        known: photos of the landmarks that the heads shall know.
        asked: images that are answered with the likeliest landmark and its probability.
        effort: how long the heads are trained.

    Raises:
        MissingFileError: the run has no model.
        InputError: none of the images asked about could be read, or see refit_head.
    """
    members, folder = list_member_jobs(job), job.run / "refit"
    artifact = _find_artifact(job, members, known, asked, effort)
    if done := artifact.find():
        return done
    invalidate(folder)
    parts, histories, failures = [], [], set[Failure]()
    checkpoints = [folder / f"checkpoint-{artifact.key[:12]}-{n}.pt" for n in range(len(members))]
    for member, checkpoint in zip(members, checkpoints, strict=True):
        refitted = refit_head(member, known, checkpoint, effort)
        part, unread = refitted.answer(asked)
        parts.append(part)
        histories.append(folder / _name_history(job, member))
        save_history(refitted.history, histories[-1])
        failures |= {*refitted.failures, *_shift(unread, len(known.ids))}
    together = _combine(parts, job, asked)
    _write_answers(together, asked, folder / "submission.csv")
    ids = (*known.ids, *asked.ids)
    ordered = sorted(failures, key=lambda failure: failure.position)
    write_failures(folder / "failures.parquet", ids, ordered)
    for checkpoint in folder.glob("checkpoint-*"):  # and what was measured for it
        checkpoint.unlink()
    outputs = [folder / "submission.csv", *histories, folder / "failures.parquet"]
    requested, written = len(asked.ids), len(together.ids)
    return artifact.sign(
        [record_file(path) for path in outputs],
        counts={"requested": requested, "written": written, "failed": requested - written},
    )


def _make_fabric(model: DescriptorModel, settings: TrainSettings, checkpoint: Path) -> Fabric:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it sets its own on import
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=1,
        precision=pick_precision(model, settings, checkpoint.with_suffix(".json")),
    )
    fabric.launch()
    return fabric


def _judge_nothing(model: DescriptorModel) -> dict[str, float]:
    """Hold nothing out: all photos are trained on, and the last epoch is taken."""
    return {"gap": math.nan}


def _find_artifact(
    job: Job, members: Sequence[Job], known: ImageTable, asked: ImageTable, effort: Effort
) -> Artifact:
    """Return the artifact, with all that decides the answers."""
    inputs = {
        "known": hash_values([known.ids, known.landmark_ids.tolist()]),
        "asked": hash_values(asked.ids),
    }
    settings: dict[str, Any] = {
        "effort": effort.model_dump(),
        "ensemble": job.recipe.ensemble.model_dump(include={"rule", "weights"}),
        "decode": job.recipe.decode.model_dump(),
    }
    classes = len(np.unique(known.landmark_ids))
    for number, member in enumerate(members):
        trained = load_manifest(member.run / "model")
        if trained is None:
            raise MissingFileError(
                f"no finished model in {member.run}; run `cairn train --run {job.run}` first"
            )
        inputs[f"model {number}"] = str(trained.model["fingerprint"])
        train = refit_settings(member.recipe.train, len(known.ids), classes, effort)
        settings[f"model {number}"] = [train.model_dump(), member.recipe.embed.model_dump()]
    return Artifact(job, "refit", job.run / "refit", settings, inputs)


def _name_history(job: Job, member: Job) -> str:
    return f"history-{member.run.name}.csv" if job.recipe.ensemble.members else "history.csv"


def _shift(failures: Sequence[Failure], by: int) -> list[Failure]:
    return [Failure(f.position + by, f.reason, f.message) for f in failures]


def _combine(parts: Sequence[Embeddings], job: Job, asked: ImageTable) -> Embeddings:
    """Return what the models together say of the images that all of them could read."""
    shared = keep_shared(parts)
    if not shared[0].ids:
        raise InputError(f"none of the {len(asked.ids)} images of {asked.path} could be read")
    if len(shared) == 1:
        return shared[0]
    ensemble = job.recipe.ensemble
    return combine_embeddings(shared, ensemble.rule, ensemble.weights or None)


def _write_answers(answers: Embeddings, asked: ImageTable, path: Path) -> None:
    """Write a row an image, an empty one where it could not be read."""
    read = set(answers.ids)
    unread = [image_id for image_id in asked.ids if image_id not in read]
    nothing = np.full(len(unread), NO_LANDMARK, dtype=np.int64)
    save_submission(
        path,
        [*answers.ids, *unread],
        np.append(answers.head.labels[:, 0], nothing),
        np.append(answers.head.probabilities[:, 0].astype(np.float64), np.zeros(len(unread))),
    )
