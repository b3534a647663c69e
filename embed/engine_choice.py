"""Choose what describes images: the exported graph where it is faster and computes the same.

The same are descriptors that are as good as equal, and have the same nearest neighbours. Measured
once, when a model is trained, so that what is chosen belongs to the model. Imports torch.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .engine import Engine
from .errors import InputError
from .graph import Floats, GraphEngine, find_runtime, has_runtime, list_precisions
from .graph_export import export_graph
from .model import DescriptorModel
from .torch_engine import TorchEngine

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.999  # of each descriptor to that of torch
LEAST_NEAREST = 0.995  # share of images whose nearest neighbour is the same
EXACT = "openvino-f32"
TIE = 1e-6  # of cosines: what is as near as the nearest, such as its copy, is the same
BATCH = 8  # images that are measured
OF_TORCH = 16  # images that torch describes, too: it is the slowest
LEAST_SPEEDUP = 0.9  # of the graph over torch, with which it is taken: it loads faster, too
TURNS = 3  # of which the fastest counts: other work on the machine only slows them


@dataclass(frozen=True)
class EngineChoice:
    """What describes images with a model, and why."""

    engine: str = "torch"  # or that of the graph
    graph: str = ""  # openvino-bf16 or openvino-f32; empty: there is no graph
    rates: Mapping[str, float] = field(default_factory=dict)  # images a second of each
    cosines: Mapping[str, float] = field(default_factory=dict)  # the least of each to torch's
    nearest: Mapping[str, float] = field(default_factory=dict)  # share of the same neighbours
    compared: int = 0  # images
    runtime: str = ""  # version of the runtime that was there


def choose_engine(
    model: DescriptorModel,
    fingerprint: str,
    folder: Path,
    images: NDArray[np.uint8],
) -> EngineChoice:
    """Export a model as a graph, if a runtime is installed, and measure what is fastest.

    Args:
        model: in eval mode, on the CPU.
        fingerprint: of it.
        folder: where the graph goes.
        images: [n, 3, S, S] that descriptors are compared on, n at least 1; photos tell more than
            noise, whose descriptors are all alike. The more, the better neighbours are judged.
    """
    if not has_runtime():
        return EngineChoice()
    runtime = find_runtime()
    spec = export_graph(model, fingerprint, folder)
    if spec is None:
        return EngineChoice(runtime=runtime)
    engines: dict[str, Engine] = {"torch": TorchEngine(model)}
    try:
        for precision in list_precisions():
            engine = GraphEngine(folder, spec, precision)
            engines[engine.name] = engine
    except InputError as error:  # a training that is done is not lost for it
        logger.warning("%s; torch describes images", error)
        return EngineChoice(runtime=runtime)
    cosines, nearest = _compare(engines, images)
    rates = _measure(engines, np.resize(images, (BATCH, *images.shape[1:])))
    # In the order of list_precisions: that a measurement varies shall hardly change what is chosen.
    agreeing = [
        name
        for name in engines
        if name != "torch" and cosines[name] >= LEAST_COSINE and nearest[name] >= LEAST_NEAREST
    ]
    graph = next(iter(agreeing), "")
    faster = graph and rates[graph] > LEAST_SPEEDUP * rates["torch"]
    chosen = graph if faster else "torch"
    logger.info(
        "images are described by %s: %s",
        chosen,
        "; ".join(
            f"{name} {rates[name]:.0f} images/s, cosine {cosines[name]:.4f}, same neighbour of "
            f"{nearest[name]:.1%} of {len(images)}"
            for name in engines
        ),
    )
    return EngineChoice(chosen, graph, rates, cosines, nearest, len(images), runtime)


def same_nearest(found: Floats, expected: Floats) -> float:
    """Return the share of n images whose nearest other image is the same by both descriptors.

    Args:
        found: [n, dim], rows of length 1.
        expected: [n, dim], likewise; what is as near by these as the nearest is the same.

    >>> rows = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
    >>> same_nearest(rows[[0, 1, 0]], rows)
    0.3333333333333333
    """
    if len(found) < 2:
        return 1.0
    cosines = _to_others(expected)
    chosen = np.take_along_axis(cosines, _to_others(found).argmax(axis=1)[:, None], axis=1)[:, 0]
    return float((chosen >= cosines.max(axis=1) - TIE).mean())


def _to_others(rows: Floats) -> Floats:
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines


def _compare(
    engines: Mapping[str, Engine], images: NDArray[np.uint8]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the least cosine of each engine to the descriptors of torch, and its same_nearest.

    Torch, the slowest, describes some; where these agree with it, EXACT stands for it.
    """
    few = engines["torch"].describe(images[:OF_TORCH])[0]
    exact = _describe(engines[EXACT], images)
    cosines, nearest = {"torch": 1.0}, {"torch": 1.0}
    for name in [name for name in engines if name != "torch"]:
        found = exact if name == EXACT else _describe(engines[name], images)
        pairs = ((found[: len(few)], few), (found, exact))
        cosines[name] = min(float((mine * other).sum(axis=1).min()) for mine, other in pairs)
        nearest[name] = same_nearest(found, exact)
    return cosines, nearest


def _describe(engine: Engine, images: NDArray[np.uint8]) -> Floats:
    starts = range(0, len(images), BATCH)
    return np.concatenate([engine.describe(images[at : at + BATCH])[0] for at in starts])


def _measure(engines: Mapping[str, Engine], images: NDArray[np.uint8]) -> dict[str, float]:
    """Return images a second of each, measured in turns."""
    seconds = dict.fromkeys(engines, float("inf"))
    for _ in range(TURNS):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.describe(images)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return {name: round(len(images) / taken, 1) for name, taken in seconds.items()}
