"""Open what describes images in a run: the exported graph of its model, or the model in torch.

Reads model/ of a run, or of a member of an ensemble. What was opened last is kept; graphs are
opened in a thread. Imports torch only where the graph will not do, and nothing else that is slow.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

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
from index.base import INDEX
from pipelines.artifacts import Manifest, load_manifest
from pipelines.runs.engines import HEAD_FILE, TORCH, pick_engine
from pipelines.runs.integrity import intact_file
from pipelines.runs.members import list_members
from pipelines.runs.recipe import Recipe

if TYPE_CHECKING:
    from embed.torch_engine import TorchEngine  # torch

logger = logging.getLogger(__name__)

KEPT = 8  # engines in memory: those of an ensemble, or one


def begin_engines(run: Path, recipe: Recipe) -> None:
    """Begin to open the graphs that describe single photos, for open_engine to return.

    So they are opened while other things are imported. Errors are those of open_engine.
    """
    if recipe.rerank.method == "delf":  # torch finds its features in the pass that describes
        return
    if (run / "index" / INDEX).is_file():
        # Sets an environment variable while it loads FAISS, which a thread that compiles may read.
        import index.kernels  # noqa: F401

    for folder, settings in list_members(run, recipe).items():
        _find_graph(folder, settings.embed.engine, Views.of(settings.embed))


def find_model(run: Path) -> tuple[Path, Manifest]:
    """Return the folder of the model of a run, or of a member of an ensemble, and its manifest.

    Raises:
        MissingFileError: there is none.
    """
    folder = run / "model"
    if folder.is_symlink():  # of an ensemble: that of its first member
        folder = run / folder.readlink()
    trained = load_manifest(folder)
    if trained is None:
        raise MissingFileError(f"no model in {folder}; run `cairn train` first")
    return folder, trained


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
    graph, fingerprint, why_not = _find_graph(run, setting, views, streams)
    if why_not:
        logger.warning("torch describes images: %s", why_not)
    if graph is None:
        return open_torch_engine(run), fingerprint
    try:
        return graph.result(), fingerprint
    except Exception:
        _open_graph.cache_clear()  # it may be mended
        raise


def open_torch_engine(run: Path) -> "TorchEngine":
    """Return the model in torch, on a GPU where there is one; errors as open_engine."""
    # torch takes seconds, which the graph has no need of
    from embed.torch_engine import TorchEngine, pick_device

    from .stored_model import open_head, open_model

    device = pick_device()
    return TorchEngine(open_model(run)[0].to(device), open_head(run, device))


def _find_graph(
    run: Path, setting: str, views: Views, streams: int = 1
) -> tuple["Future[GraphEngine] | None", str, str]:
    """Begin to open the graph of a run, unless torch shall describe images.

    Returns:
        The graph, or None; the fingerprint of the model; and why there is no graph, empty where
        none is asked for.
    """
    folder, trained = find_model(run)
    fingerprint = str(trained.model["fingerprint"])
    name = pick_engine(setting, trained.model)
    if name == TORCH:
        return None, fingerprint, _explain_none(run) if setting == "openvino" else ""
    if not has_runtime():
        return None, fingerprint, f"OpenVINO, which takes less time, is not installed ({INSTALL})"
    intact_file(folder, "graph.json")
    if not read_graph_spec(folder, fingerprint).takes(views):
        return None, fingerprint, f"the graph knows no views such as {views}"
    precision = cast(Precision, name.removeprefix("openvino-"))
    kept = folder, trained.content, fingerprint, precision
    return _open_graph(*kept, views=views, streams=streams), fingerprint, ""


def _explain_none(run: Path) -> str:
    return (
        f"the model of {run} has no graph; its network cannot be exported, or OpenVINO was not "
        "there when it was trained, and `cairn train` makes up for it"
    )


@lru_cache(maxsize=KEPT)
def _open_graph(
    folder: Path,
    content: str,
    fingerprint: str,
    precision: Precision,
    *,
    views: Views,
    streams: int,
) -> "Future[GraphEngine]":
    def load() -> GraphEngine:
        for name in GRAPH_FILES:
            intact_file(folder, name)
        head = ArrayHead.load(intact_file(folder, HEAD_FILE))
        spec = read_graph_spec(folder, fingerprint)
        engine = GraphEngine(folder, spec, precision, head, views=views, streams=streams)
        # What a graph makes for the first image takes as long as loading it.
        engine.compute(np.zeros((1, 3, spec.image_size, spec.image_size), dtype=np.uint8))
        return engine

    pool = ThreadPoolExecutor(1, "graph")
    try:
        return pool.submit(load)
    finally:
        pool.shutdown(wait=False)
