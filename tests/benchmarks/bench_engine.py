"""Images a second of eager torch and of exported graphs, and how far their descriptors agree.

Networks have random weights, or those of a file: `python -m tests.benchmarks.bench_engine FILE...`.
All is measured in turns, on images in memory; each figure is the median.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embed.backbone import BackboneSpec, build_backbone
from embed.engine import Engine
from embed.graph import GraphEngine, list_precisions
from embed.graph_export import export_graph
from embed.model import DescriptorModel, ModelSpec
from embed.torch_engine import TorchEngine
from tests.images import photo

NETWORKS = ("mobilenetv2_100", "efficientnet_b0", "resnet50", "vit_small_patch16_224")
SIZE, BATCH, TURNS = 224, 8, 5
COMPARED = 64  # images whose neighbours are compared


def run(weights: Sequence[Path] = ()) -> str:
    """Return a table: a row a network and engine."""
    lines = ["| network | engine | images/s | times torch | least cosine | same top-1 |"]
    lines.append("|---|---|---|---|---|---|")
    for name in NETWORKS if not weights else weights:
        lines += _measure(name)
    return "\n".join(lines)


def _measure(source: str | Path) -> list[str]:
    torch.manual_seed(0)
    file = source if isinstance(source, Path) else None
    name = NETWORKS[0] if isinstance(source, Path) else source
    backbone, spec = build_backbone(BackboneSpec(name), weights=file)
    model = DescriptorModel(ModelSpec(spec, SIZE, 0), backbone).eval()
    images = np.stack([photo(SIZE, SIZE, seed).transpose(2, 0, 1) for seed in range(COMPARED)])
    with tempfile.TemporaryDirectory() as folder:
        exported = export_graph(model, "", Path(folder))
        engines: list[Engine] = [TorchEngine(model)]
        if exported is not None:
            engines += [GraphEngine(Path(folder), exported, each) for each in list_precisions()]
        seconds: dict[str, list[float]] = {engine.name: [] for engine in engines}
        for turn in range(TURNS + 1):
            for engine in engines:
                started = time.perf_counter()
                engine.describe(images[:BATCH])
                if turn:  # the first warms up
                    seconds[engine.name].append(time.perf_counter() - started)
        found = {engine.name: _describe(engine, images) for engine in engines}
    rates = {each: BATCH / statistics.median(taken) for each, taken in seconds.items()}
    expected = found["torch"]
    return [
        f"| {spec.architecture} | {each} | {rates[each]:.0f} | "
        f"{rates[each] / rates['torch']:.1f} | "
        f"{(vectors * expected).sum(axis=1).min():.5f} | "
        f"{(_nearest(vectors, expected) == _nearest(expected, expected)).mean():.3f} |"
        for each, vectors in found.items()
    ]


def _describe(engine: Engine, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = np.split(images, range(BATCH, len(images), BATCH))
    return np.concatenate([engine.describe(part)[0] for part in parts])


def _nearest(queries: NDArray[np.float32], database: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the nearest other image of each."""
    cosines = queries @ database.T
    np.fill_diagonal(cosines, -np.inf)
    return np.asarray(cosines.argmax(axis=1))


if __name__ == "__main__":
    print(run([Path(name) for name in sys.argv[1:]]))
