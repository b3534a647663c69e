"""Which networks can be exported as a graph, with which poolings and attentions.

One small network of each family, of random weights. Each is exported and compared with torch, as
`cairn train` does: `fit` where the graph takes images of any shape, `yes` where it takes squares
alone, `-` where torch is left to describe images, `none` where there is no such model.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from embed.graph_export import export_graph
from embed.network_settings import (
    AttentionSettings,
    ClsGemSettings,
    MapAttentionSettings,
    PoolingSettings,
)
from tests.graphs import ATTENTIONS, FAMILIES, POOLINGS, build

PLAIN = MapAttentionSettings()
EACH: list[tuple[PoolingSettings | None, AttentionSettings]] = [
    *((pooling, PLAIN) for pooling in [*POOLINGS, ClsGemSettings()]),
    *((None, attention) for attention in ATTENTIONS),
]


def run() -> str:
    """Return the lines of measure."""
    return "\n".join(measure())


def measure() -> Iterator[str]:
    """Yield a table: a row a network, a column a pooling or, with GeM, an attention."""
    logging.disable(logging.WARNING)
    titles = [attention.kind if pooling is None else pooling.kind for pooling, attention in EACH]
    yield f"| network | {' | '.join(titles)} |"
    yield f"|---{'|---' * len(EACH)}|"
    for name, size in FAMILIES.items():
        cells = [_export(name, size, pooling, attention) for pooling, attention in EACH]
        yield f"| {name} | {' | '.join(cells)} |"


def _export(
    name: str, size: int, pooling: PoolingSettings | None, attention: AttentionSettings
) -> str:
    try:
        model = build(name, size, pooling, attention)
    except (ValueError, RuntimeError):
        return "none"
    with tempfile.TemporaryDirectory() as folder:
        spec = export_graph(model, "", Path(folder))
    if spec is None:
        return "-"
    return "fit" if spec.any_shape else "yes"


if __name__ == "__main__":
    for line in measure():
        print(line, flush=True)
