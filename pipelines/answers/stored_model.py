"""Load the networks of a run, whose files are as their manifests say.

Reads model/ and delf/ of a run, or of a member of an ensemble. What was loaded last is kept, so
that all stages of a command share it: who changes a network works on a copy. Imports torch.
"""

from functools import lru_cache
from pathlib import Path

import torch

from classify_head.trained_head import TrainedHead
from embed.model import DescriptorModel, load_model
from pipelines.runs.engines import HEAD_FILE
from pipelines.runs.integrity import intact_file
from rerank.delf.model import LocalModel, load_delf

KEPT = 8  # networks in memory: those of an ensemble, or one
MODEL_FILES = ("model.json", "model.safetensors")
DELF_FILES = ("delf.json", "delf.safetensors")

State = tuple[tuple[int, int, int], ...]


def open_model(run: Path) -> tuple[DescriptorModel, str]:
    """Return the descriptor model in eval mode and its fingerprint.

    Raises:
        MissingFileError: the run has none.
        InputError: a file of it is damaged.
    """
    folder = run / "model"
    if folder.is_symlink():  # of an ensemble: that of its first member
        folder = run / folder.readlink()
    return _load_model(folder, _read_state(folder, MODEL_FILES))


def open_head(run: Path, device: torch.device) -> TrainedHead:
    """Return the classification head; errors as open_model."""
    folder = run / "model"
    return _load_head(folder, device, _read_state(folder, (HEAD_FILE,)))


def open_delf(run: Path, model_fingerprint: str) -> LocalModel:
    """Return the local model that belongs to a descriptor model; errors as open_model."""
    folder = run / "delf"
    return _load_delf(folder, model_fingerprint, _read_state(folder, DELF_FILES))


@lru_cache(maxsize=KEPT)
def _load_model(folder: Path, state: State) -> tuple[DescriptorModel, str]:
    for name in MODEL_FILES:
        intact_file(folder, name)
    return load_model(folder, verified=True)


@lru_cache(maxsize=KEPT)
def _load_head(folder: Path, device: torch.device, state: State) -> TrainedHead:
    return TrainedHead.load(intact_file(folder, HEAD_FILE), device)


@lru_cache(maxsize=KEPT)
def _load_delf(folder: Path, model_fingerprint: str, state: State) -> LocalModel:
    for name in DELF_FILES:
        intact_file(folder, name)
    return load_delf(folder, model_fingerprint, verified=True)[0]


def _read_state(folder: Path, names: tuple[str, ...]) -> State:
    """Return what tells whether files, or what their manifest says of them, have changed."""
    paths = [folder / name for name in ("manifest.json", *names)]
    found = [path.stat() for path in paths if path.is_file()]
    return tuple((status.st_size, status.st_ctime_ns, status.st_ino) for status in found)
