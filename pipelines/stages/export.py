"""Export the graph of a trained model, and choose what describes images: a part of stage `train`.

Reads some of the photos that were trained on. Writes graph.json, graph.xml and graph.bin of model/.
"""

from pathlib import Path

import numpy as np

from embed.engine_choice import EngineChoice, choose_engine
from embed.graph import GRAPH_FILES
from embed.images import ImageFiles, ImageLoader
from embed.model import DescriptorModel, fingerprint_model
from pipelines.runs.engines import TORCH
from pipelines.runs.job import Job

from .training_set import TrainingSet

COMPARED = 16  # photos by which engines are compared


def export_engines(
    job: Job, training: TrainingSet, model: DescriptorModel, folder: Path
) -> EngineChoice:
    """Export the graph of a model, and choose by some of its photos what describes images."""
    for name in GRAPH_FILES:
        (folder / name).unlink(missing_ok=True)
    if job.recipe.embed.engine == TORCH:
        return EngineChoice()
    paths = job.dataset.images.locate_all(training.table.ids[:COMPARED])
    photos = ImageFiles(paths, ImageLoader(model.image_size, job.max_pixels))
    found = [
        item[1].numpy()
        for item in map(photos.__getitem__, range(len(paths)))
        if isinstance(item, tuple)
    ]
    if not found:
        return EngineChoice()
    return choose_engine(model, fingerprint_model(model), folder, np.stack(found))
