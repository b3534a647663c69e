"""Set the confidence below which the answer is "no known landmark".

Images of non_landmark are asked like queries: the threshold is the confidence that a given share
of them stays below. Reads index/, features/ and embeddings/. Writes decision/: threshold.json,
manifest.json.
"""

import logging

import numpy as np

from .artifacts import Manifest, invalidate, record_file, write_json
from .job import Job
from .prepare import open_features, open_recognizer, threshold_pool
from .stage import Artifact

logger = logging.getLogger(__name__)
FEW = 20  # images say little of the 95 % point


def set_threshold(job: Job, indexed: Manifest) -> Manifest:
    """Set the threshold of a run whose index, features and pool are there."""
    recipe, folder = job.recipe, job.run / "decision"
    sections = ("search", "votes", "rerank", "decide")
    settings = {name: getattr(recipe, name).model_dump() for name in sections}
    artifact = Artifact(job, "threshold", folder, settings, {"index": indexed.key}, redo=job.redo)
    if done := artifact.find():
        return done
    invalidate(folder)
    asked, threshold = 0, recipe.decide.reject_below
    if job.dataset.find_table("non_landmark"):
        confidences = _ask_pool(job, indexed)
        asked = len(confidences)
        # Of few images the highest quantile is their maximum: just above it, all are rejected.
        rank = int(np.ceil(asked * recipe.decide.reject_share))
        if asked < FEW:
            logger.warning(
                "only %d images of non_landmark set the threshold of rejection; have %d or more",
                *(asked, 2 * FEW),
            )
        if rank and asked:
            threshold = float(np.nextafter(np.sort(confidences)[rank - 1], np.inf))
    else:
        logger.warning(
            "no non_landmark table, so the threshold of rejection is a guess (%.2f); photos "
            "without any of the landmarks, listed in non_landmark.csv, would set it",
            threshold,
        )
    values = {"threshold": threshold, "pool_images": asked, "share": recipe.decide.reject_share}
    write_json(values, folder / "threshold.json")
    return artifact.sign([record_file(folder / "threshold.json")], model=indexed.model)


def _ask_pool(job: Job, indexed: Manifest) -> list[float]:
    """Return the confidence that each image of the threshold pool gets."""
    fingerprint = str(indexed.model["fingerprint"])
    recognizer = open_recognizer(job.run, job.recipe, fingerprint, threshold=0.0)
    pool = threshold_pool(job.run)
    features = open_features(job.run, "non_landmark", job.recipe)
    evidence = recognizer.gather(
        pool.ids, pool.vectors, lambda query: features.get(pool.ids[query]) if features else None
    )
    return [prediction.confidence for prediction in recognizer.predict(evidence)]
