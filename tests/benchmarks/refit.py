"""Train the classification head of a finished run anew, on photos of other landmarks, and ask it.

That is what a classifier takes to learn landmarks which it was not trained on, and the baseline
that retrieval, which takes nothing but the photos, has to beat. The backbone stays as the run
trained it; the head, and what lies between the two, learns with the recipe's own loss, optimizer
and augmentation. Reads model/ of a run, or those of its ensemble. Writes refit/<key>/: a
submission.csv and, while it trains, the checkpoints that it goes on from.
"""

import copy
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from classify_head.ensemble import combine_heads
from classify_head.heads import build_head
from classify_head.label_scores import Choice
from classify_head.submission import save_submission
from classify_head.trained_head import TrainedHead
from embed.extract import extract_all
from embed.head_scores import HeadScores
from embed.losses import TrainingCollapsed
from embed.model import DescriptorModel
from embed.precision import pick_precision
from embed.torch_engine import TorchEngine
from embed.train import Trainer
from embed.train_settings import BalanceSettings, FreezeSettings, TrainSettings
from embed.training_images import TrainingImages
from embed.views import Views
from pipelines.answers.stored_model import open_model
from pipelines.artifacts import hash_values, load_manifest
from pipelines.datasets.dataset import ImageTable
from pipelines.progress import progress_to
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Effort:
    """How long heads are trained anew: the baseline shall lack nothing that time would give it.

    With features of ImageNet and ten photos each of 16 products, twice as many passes gave a cosine
    head nothing, a linear one .03 to .04 of GAP. At the rate of some recipes a head has not learned
    its photos by then.
    """

    epochs: int = 30
    passes: int = 4  # of an epoch over all photos, each time changed at random
    least_steps: int = 10  # of an epoch, where the photos are few
    # A head that tells a smaller share of its photos in the end is trained again, faster, and the
    # one with the lower loss is taken: too high a rate can tell more, and be sure when wrong.
    enough: float = 0.95
    faster: float = 10.0  # factor of the rate


EFFORT = Effort()


@dataclass(frozen=True, eq=False)
class RefittedHead:
    """A model of a run with a head for the landmarks of other photos."""

    job: Job  # of this one model
    model: DescriptorModel  # in eval mode; its backbone is that of the run
    classifier: TrainedHead
    learned: float  # share of the photos that the head told in the last epoch
    loss: float  # of the last epoch

    def answer(self, table: ImageTable) -> HeadScores:
        """Return what the head says of a table's N images; nothing where one cannot be read."""
        found = extract_all(
            TorchEngine(self.model, self.classifier),
            self.job.dataset.images.locate_all(table.ids),
            batch_size=self.job.recipe.embed.batch_size,
            max_pixels=self.job.max_pixels,
            workers=self.job.workers,
            views=Views.of(self.job.recipe.embed),
        )
        scores = HeadScores.none(len(table.ids), found.head.labels.shape[1])
        for name in ("labels", "scores", "probabilities"):
            getattr(scores, name)[found.positions] = getattr(found.head, name)
        return scores


def refit_settings(
    train: TrainSettings, photos: int, classes: int, effort: Effort = EFFORT
) -> TrainSettings:
    """Return how a recipe's head is trained anew on so many photos of so many classes.

    Its loss, optimizer, rates, batches and augmentation are the recipe's; what would stop the head
    before it has learned the photos is not.
    """
    # The images of a batch as training counts them, once there is no metric loss.
    batch = train.batch_size if train.sampler != "m-per-class" else 0
    batch = batch or min(train.classes_per_batch, classes) * train.images_per_class
    return train.model_copy(
        update={
            "epochs": effort.epochs,
            "epoch_steps": max(math.ceil(effort.passes * photos / batch), effort.least_steps),
            "epoch_share": 1.0,
            "phases": (),
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


def refit_head(
    job: Job, known: ImageTable, checkpoint: Path, effort: Effort = EFFORT
) -> RefittedHead:
    """Train the head of one model on all photos of a table, or go on from its checkpoint.

    The checkpoint of a second training, at a higher rate, has "-faster" at the end of its stem.
    """
    classes = len(np.unique(known.landmark_ids))
    settings = refit_settings(job.recipe.train, len(known.ids), classes, effort)
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
    model = copy.deepcopy(open_model(job.run)[0])
    landmarks, labels = np.unique(known.landmark_ids, return_inverse=True)
    torch.manual_seed(settings.seed)
    head = build_head(settings.head, model.head_dim, np.bincount(labels), settings.head_scale)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=1,
        precision=pick_precision(model, settings, checkpoint.with_suffix(".json")),
    )
    fabric.launch()
    with progress_to("refit") as move:
        trainer = Trainer(
            model,
            head,
            TrainingImages(job.dataset.images.locate_all(known.ids), labels),
            settings,
            decode=job.recipe.decode,
            fabric=fabric,
            checkpoint=checkpoint,
            workers=job.workers,
            report=move,
        )
        for _ in trainer.run(lambda _: {"gap": math.nan}):  # all photos are trained on
            pass
    last = trainer.progress.history[-1]
    logger.info(
        "%s: a head of %d landmarks, trained on %d photos at a rate of %g, tells %.1f %% of them",
        *(job.run, len(landmarks), len(known.ids), settings.head_learning_rate),
        100 * last["top1"],
    )
    classifier = TrainedHead(head.eval(), landmarks)
    return RefittedHead(job, model.eval(), classifier, last["top1"], last["head_loss"])


def answer_refitted(
    job: Job, known: ImageTable, queries: ImageTable, effort: Effort = EFFORT
) -> Path:
    """Write what the run's head, trained anew, says of other images, or return what is there.

    Of an ensemble the head of each member is, and they answer by its rule.
    """
    folder = job.run / "refit" / _make_key(job, known, queries, effort)
    submission = folder / "submission.csv"
    if submission.is_file():
        return submission
    scores = [
        refit_head(member, known, folder / f"{member.run.name}.pt", effort).answer(queries)
        for member in list_member_jobs(job)
    ]
    ensemble = job.recipe.ensemble
    together = scores[0]
    if len(scores) > 1:
        together = combine_heads(scores, ensemble.rule, ensemble.weights or None)
    probabilities = together.probabilities[:, 0].astype(np.float64)
    save_submission(submission, queries.ids, Choice(together.labels[:, 0], probabilities))
    for checkpoint in folder.glob("*.pt"):
        checkpoint.unlink()
    return submission


def _make_key(job: Job, known: ImageTable, queries: ImageTable, effort: Effort) -> str:
    """Return what names the answers: models, photos and effort."""
    manifests = [load_manifest(member.run / "model") for member in list_member_jobs(job)]
    models = [manifest and manifest.model["fingerprint"] for manifest in manifests]
    tables = [known.ids, known.landmark_ids.tolist(), queries.ids]
    recipe = job.recipe.model_dump(mode="json")
    return hash_values([models, tables, recipe, asdict(effort)])[:16]
