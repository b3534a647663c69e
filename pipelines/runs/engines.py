"""Tell what describes images in a run: the recipe asks, and the model's manifest says what it has.

Reads nothing. Imports no torch.
"""

from collections.abc import Mapping
from typing import Any

TORCH = "torch"


def pick_engine(setting: str, model: Mapping[str, Any]) -> str:
    """Return the name of the engine that a run is described by.

    The same on every machine: what a machine has none of is replaced when images are described.

    Args:
        setting: embed.engine.
        model: of the model's manifest: `engine` is what was the fastest when it was trained,
            `graph` the faster one of its graph, or empty.
    """
    names = {"auto": model["engine"], "openvino": model["graph"] or TORCH}
    return str(names.get(setting, TORCH))
