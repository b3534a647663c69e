"""Open what describes images in a run: the exported graph of its model, or the model in torch.

Reads model/ of a run, or of a member of an ensemble. What was opened last is kept. Imports torch
only where the graph will not do.
"""

import logging
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from classify_head.array_head import ArrayHead
from embed.engine import Engine
from embed.errors import MissingFileError
from embed.graph import (
    GRAPH_FILES,
    INSTALL,
    GraphEngine,
    Precision,
    has_runtime,
    read_graph_spec,
)
from embed.views import ONE_VIEW, Views
from pipelines.artifacts import Manifest, load_manifest
from pipelines.runs.artifact import HEAD_FILE
from pipelines.runs.engines import TORCH, pick_engine
from pipelines.runs.integrity import intact_file

if TYPE_CHECKING:
    from embed.torch_engine import TorchEngine  # torch

logger = logging.getLogger(__name__)

KEPT = 8  # engines in memory: those of an ensemble, or one


def open_engine(
    run: Path, setting: str, views: Views = ONE_VIEW, streams: int = 1
) -> tuple[Engine, str]:
    """Return what describes images, and the fingerprint of its model.

    Args:
        run: run folder, or that of a member of an ensemble.
        setting: embed.engine.
        views: that will be asked for; torch describes what the graph cannot.
        streams: see GraphEngine.

    Raises:
        MissingFileError: the run has no model.
        InputError: a file of it is damaged.
    """
    folder = run / "model"
    if folder.is_symlink():  # of an ensemble: that of its first member
        folder = run / folder.readlink()
    trained = load_manifest(folder)
    if trained is None:
        raise MissingFileError(f"no model in {folder}; run `cairn train` first")
    fingerprint = str(trained.model["fingerprint"])
    name = pick_engine(setting, trained.model)
    if setting == "openvino" and name == TORCH:
        logger.warning(
            "the model of %s has no graph: it was trained without OpenVINO, or its network cannot "
            "be exported; torch describes images",
            run,
        )
    if name != TORCH and _can_run(folder, trained, views):
        precision = cast(Precision, name.removeprefix("openvino-"))
        graph = _open_graph(folder, trained.key, fingerprint, precision, views, streams)
        return graph, fingerprint
    return open_torch_engine(run), fingerprint


def open_torch_engine(run: Path) -> "TorchEngine":
    """Return the model in torch, on a GPU where there is one; errors as open_engine."""
    # torch takes seconds, which the graph has no need of
    from embed.torch_engine import TorchEngine, pick_device

    from .stored_model import open_head, open_model

    device = pick_device()
    return TorchEngine(open_model(run)[0].to(device), open_head(run, device))


def _can_run(folder: Path, trained: Manifest, views: Views) -> bool:
    """Tell whether the graph of a model can be used here; if not, say why."""
    if not has_runtime():
        logger.warning(
            "OpenVINO is not installed: torch describes images, which takes longer (%s)", INSTALL
        )
        return False
    intact_file(folder, "graph.json")
    if read_graph_spec(folder, str(trained.model["fingerprint"])).takes(views):
        return True
    logger.info("torch describes images: the graph knows no views such as %s", views)
    return False


@lru_cache(maxsize=KEPT)
def _open_graph(
    folder: Path, key: str, fingerprint: str, precision: Precision, views: Views, streams: int
) -> GraphEngine:
    for name in GRAPH_FILES:
        intact_file(folder, name)
    head = ArrayHead.load(intact_file(folder, HEAD_FILE))
    spec = read_graph_spec(folder, fingerprint)
    return GraphEngine(folder, spec, precision, head, views, streams)
