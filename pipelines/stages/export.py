"""Export the graph of a trained model, and choose what describes images: a part of stage `train`.

Reads some of the photos that were trained on. Writes graph.json, graph.xml and graph.bin of model/.
"""

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np

from embed.engine_choice import EngineChoice, choose_engine
from embed.graph import GRAPH_FILES
from embed.images import ImageFiles, ImageLoader
from embed.model import DescriptorModel, fingerprint_model
from pipelines.answers.stored_model import open_model
from pipelines.artifacts import Manifest, record_file
from pipelines.runs.artifact import Artifact
from pipelines.runs.engines import TORCH
from pipelines.runs.job import Job

from .training_set import TrainingSet, load_training_set

logger = logging.getLogger(__name__)

COMPARED = 256  # photos by which engines are compared: what .5 % of them is can be told


def export_engines(
    job: Job, training: TrainingSet, model: DescriptorModel, folder: Path
) -> EngineChoice:
    """Export the graph of a model, and choose by some of its photos what describes images."""
    for name in GRAPH_FILES:
        (folder / name).unlink(missing_ok=True)
    if job.recipe.embed.engine == TORCH:
        return EngineChoice()
    # From all of the table: the photos of a landmark mostly follow each other in it.
    count = len(training.table.ids)
    rows = np.unique(np.linspace(0, count - 1, min(COMPARED, count), dtype=np.int64))
    paths = job.dataset.images.locate_all([training.table.ids[row] for row in rows])
    photos = ImageFiles(paths, ImageLoader(model.image_size, job.max_pixels))
    found = [
        item[1].numpy()
        for item in map(photos.__getitem__, range(len(paths)))
        if isinstance(item, tuple)
    ]
    if not found:
        return EngineChoice()
    return choose_engine(model, fingerprint_model(model), folder, np.stack(found))


def add_graph(artifact: Artifact, trained: Manifest) -> Manifest:
    """Export the graph of a model that was trained without the runtime, and sign the model anew."""
    job, folder = artifact.job, artifact.folder
    logger.info("OpenVINO was not there when the model was trained: it gets its graph now")
    model, _ = open_model(job.run)
    training = load_training_set(job.dataset, job.recipe.train)
    choice = export_engines(job, training, model, folder)
    records = [record for record in trained.outputs if record.name not in GRAPH_FILES]
    records += [record_file(folder / name) for name in GRAPH_FILES if choice.graph]
    described = {**trained.model, **asdict(choice)}
    return artifact.sign(records, model=described, counts=trained.counts)
