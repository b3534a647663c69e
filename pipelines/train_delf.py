"""Stage `train` of DELF: the run's model and the training images to its local features.

Reads model/, train and its images. Writes delf/: delf.safetensors, delf.json, history.csv,
failures.parquet, manifest.json. The descriptor model is not changed.
"""

import csv
from pathlib import Path

from embed.extract import pick_device
from embed.model import load_model
from embed.shards import write_failures
from rerank.delf.model import save_delf
from rerank.delf.training import TrainedDelf, train_delf

from .artifacts import Manifest, hash_file, invalidate, record_file, writing
from .job import Job
from .progress import progress_to
from .stage import Artifact
from .train import train

OUTPUTS = ("delf.safetensors", "delf.json", "history.csv", "failures.parquet")
# Settings that training does not read: with others the features are made anew, not the model.
EXTRACTION = {"extraction_batch", "scales", "max_features", "score_threshold", "nms_overlap"}


def train_local_features(job: Job) -> Manifest:
    """Train DELF on the run's model, or return what is there; trains the model if need be.

    Raises:
        ValueError, TrainingCollapsed: see rerank.delf.training.
    """
    trained = train(job.without_redo())
    settings = {
        "delf": job.recipe.rerank.delf.model_dump(mode="json", exclude=EXTRACTION),
        "augment": job.recipe.train.augment.model_dump(),
        "decode": job.recipe.decode.model_dump(),
    }
    table, folder = job.dataset.load_split("train"), job.run / "delf"
    inputs = {"train": hash_file(table.path), "model": str(trained.model["fingerprint"])}
    artifact = Artifact(job, "train_delf", folder, settings, inputs, redo=job.redo)
    if done := artifact.find():
        return done
    invalidate(folder)
    model = load_model(job.run / "model")[0].to(pick_device())
    paths = job.dataset.images.locate_all(table.ids)
    with progress_to("train DELF") as move:
        result = train_delf(
            model,
            paths,
            table.landmark_ids,
            job.recipe.rerank.delf,
            decode=job.recipe.decode,
            augment=job.recipe.train.augment,
            workers=job.workers,
            report=move,
        )
    save_delf(result.local.cpu(), job.recipe.rerank.delf, folder)
    _write_history(result, folder / "history.csv")
    write_failures(folder / "failures.parquet", table.ids, result.failures)
    failed = len(result.failures)
    return artifact.sign(
        [record_file(folder / name) for name in OUTPUTS],
        model=trained.model,
        counts={"requested": len(paths), "written": len(paths) - failed, "failed": failed},
    )


def _write_history(result: TrainedDelf, path: Path) -> None:
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(result.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(result.history)
