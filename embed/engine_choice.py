"""Choose what describes images: the exported graph where it is faster and computes the same.

Measured once, when a model is trained, so that what is chosen belongs to the model. Imports torch.
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
from .graph import GraphEngine, has_runtime, list_precisions
from .graph_export import export_graph
from .model import DescriptorModel
from .torch_engine import TorchEngine

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.999  # of each descriptor to that of torch
BATCH = 8  # images that are measured
LEAST_SPEEDUP = 0.9  # of the graph over torch, with which it is taken: it loads faster, too
TURNS = 3  # of which the fastest counts: other work on the machine only slows them


@dataclass(frozen=True)
class EngineChoice:
    """What describes images with a model, and why."""

    engine: str = "torch"  # or that of the graph
    graph: str = ""  # openvino-bf16 or openvino-f32; empty: there is no graph
    rates: Mapping[str, float] = field(default_factory=dict)  # images a second of each
    cosines: Mapping[str, float] = field(default_factory=dict)  # the least of each to torch's


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
            noise, whose descriptors are all alike.
    """
    if not has_runtime():
        return EngineChoice()
    spec = export_graph(model, fingerprint, folder)
    if spec is None:
        return EngineChoice()
    engines: dict[str, Engine] = {"torch": TorchEngine(model)}
    try:
        for precision in list_precisions():
            engine = GraphEngine(folder, spec, precision)
            engines[engine.name] = engine
    except InputError as error:  # a training that is done is not lost for it
        logger.warning("%s; torch describes images", error)
        return EngineChoice()
    expected = engines["torch"].describe(images)[0]
    cosines = {
        name: float((engine.describe(images)[0] * expected).sum(axis=1).min())
        for name, engine in engines.items()
    }
    rates = _measure(engines, np.resize(images, (BATCH, *images.shape[1:])))
    # In the order of list_precisions: that a measurement varies shall hardly change what is chosen.
    agreeing = [name for name in engines if cosines[name] >= LEAST_COSINE and name != "torch"]
    graph = next(iter(agreeing), "")
    faster = graph and rates[graph] > LEAST_SPEEDUP * rates["torch"]
    chosen = graph if faster else "torch"
    logger.info(
        "images are described by %s: %s",
        chosen,
        ", ".join(
            f"{name} {rates[name]:.0f} images/s, cosine {cosines[name]:.4f}" for name in engines
        ),
    )
    return EngineChoice(chosen, graph, rates, cosines)


def _measure(engines: Mapping[str, Engine], images: NDArray[np.uint8]) -> dict[str, float]:
    """Return images a second of each, measured in turns."""
    seconds = dict.fromkeys(engines, float("inf"))
    for _ in range(TURNS):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.describe(images)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return {name: round(len(images) / taken, 1) for name, taken in seconds.items()}
