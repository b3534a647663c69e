"""Load the networks of a run, whose files are as their manifests say.

Reads model/ and delf/ of a run, or of a member of an ensemble. Imports torch.
"""

from pathlib import Path

import torch

from classify_head.trained_head import TrainedHead
from embed.model import DescriptorModel, load_model
from pipelines.runs.artifact import HEAD_FILE
from pipelines.runs.integrity import intact_file
from rerank.delf.model import LocalModel, load_delf


def open_model(run: Path) -> tuple[DescriptorModel, str]:
    """Return the descriptor model in eval mode and its fingerprint.

    Raises:
        MissingFileError: the run has none.
        InputError: a file of it is damaged.
    """
    for name in ("model.json", "model.safetensors"):
        intact_file(run / "model", name)
    return load_model(run / "model", verified=True)


def open_head(run: Path, device: torch.device) -> TrainedHead:
    """Return the classification head; errors as open_model."""
    return TrainedHead.load(intact_file(run / "model", HEAD_FILE), device)


def open_delf(run: Path, model_fingerprint: str) -> LocalModel:
    """Return the local model that belongs to a descriptor model; errors as open_model."""
    for name in ("delf.json", "delf.safetensors"):
        intact_file(run / "delf", name)
    return load_delf(run / "delf", model_fingerprint, verified=True)[0]
