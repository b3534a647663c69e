"""Stage `train` of DELF: the run's model and the training images to its local features.

Reads model/, train and its images. Writes delf/: delf.safetensors, delf.json, history.csv,
failures.parquet, manifest.json. The descriptor model is not changed. Where DELF was trained along
with it (train.local_weight), what is left to do is to finish that.
"""

import csv
from pathlib import Path

from embed.failure import name_from
from embed.files import writing
from embed.model import DescriptorModel
from embed.shards import write_failures
from embed.torch_engine import pick_device
from pipelines.answers.stored_model import open_model
from pipelines.artifacts import Manifest, invalidate, record_file
from pipelines.datasets.dataset import ImageTable
from pipelines.progress import progress_to
from pipelines.runs.artifact import Artifact
from pipelines.runs.integrity import intact_file
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs
from rerank.delf.calibration import Remedies
from rerank.delf.joint import finish_delf
from rerank.delf.model import save_delf
from rerank.delf.settings import LOCAL_FILE
from rerank.delf.training import TrainedDelf, train_delf

from .keys import is_joint

OUTPUTS = ("delf.safetensors", "delf.json", "history.csv", "failures.parquet")


def train_local_features(artifact: Artifact, trained: Manifest) -> Manifest:
    """Train DELF on the run's model.

    Raises:
        ValueError, TrainingCollapsed: see rerank.delf.training and rerank.delf.joint.
    """
    job, folder = artifact.job, artifact.folder
    table = job.dataset.load_split("train")
    invalidate(folder)
    model = open_model(job.run)[0].to(pick_device())
    result = (_finish if is_joint(job) else _train)(job, model, table)
    save_delf(result.local.cpu(), job.recipe.rerank.delf, folder)
    _write_history(result, folder / "history.csv")
    failures = name_from(job.dataset.folder, result.failures)
    write_failures(folder / "failures.parquet", table.ids, failures)
    failed = len(result.failures)
    return artifact.sign(
        [record_file(folder / name) for name in OUTPUTS],
        model=trained.model,
        counts={"requested": len(table.ids), "written": len(table.ids) - failed, "failed": failed},
    )


def _train(job: Job, model: DescriptorModel, table: ImageTable) -> TrainedDelf:
    with progress_to("train DELF") as move:
        return train_delf(
            model,
            job.dataset.images.locate_all(table.ids),
            table.landmark_ids,
            job.recipe.rerank.delf,
            decode=job.recipe.decode,
            augment=job.recipe.train.augment,
            workers=job.workers,
            report=move,
        )


def _finish(job: Job, model: DescriptorModel, table: ImageTable) -> TrainedDelf:
    folder, settings = job.run / "model", list_member_jobs(job)[0].recipe.train
    local, failures = finish_delf(
        model,
        intact_file(folder, LOCAL_FILE),
        job.dataset.images.locate_all(table.ids),
        job.recipe.rerank.delf,
        decode=job.recipe.decode,
        remedies=Remedies(
            f"train.head_learning_rate (now {settings.head_learning_rate:g})",
            f"train.epochs (now {settings.epochs})",
        ),
        workers=job.workers,
    )
    return TrainedDelf(local, _read_joint_history(intact_file(folder, "history.csv")), failures)


def _read_joint_history(path: Path) -> list[dict[str, float]]:
    """Return epoch and DELF's loss of each epoch of the model's training."""
    with path.open(newline="") as file:
        return [
            {"epoch": float(row["epoch"]), "loss": float(row["local_loss"])}
            for row in csv.DictReader(file)
        ]


def _write_history(result: TrainedDelf, path: Path) -> None:
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(result.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(result.history)
