"""Tell what describes images in a run: the recipe asks, and the model's manifest says what it has.

Reads nothing. Imports no torch.
"""

from collections.abc import Mapping
from typing import Any

from embed.errors import InputError
from embed.settings import EmbedSettings

TORCH = "torch"
HEAD_FILE = "head.safetensors"  # in model/


def lacks_graph(setting: str, model: Mapping[str, Any]) -> bool:
    """Tell whether a model has no graph because there was no runtime, or no wish, to make one."""
    return setting != TORCH and not model.get("runtime")


def embed_settings(embed: EmbedSettings) -> dict[str, Any]:
    """Return the settings that decide descriptors, but for the engine: what it names does."""
    return embed.model_dump(mode="json", exclude={"engine"})


def pick_engine(setting: str, model: Mapping[str, Any]) -> str:
    """Return the name of the engine that a run is described by.

    The same on every machine: what a machine has none of is replaced when images are described.

    Args:
        setting: embed.engine.
        model: of the model's manifest: `engine` is what was the fastest when it was trained,
            `graph` the faster one of its graph, or empty.
    """
    names = {"auto": model["engine"], "openvino": model["graph"] or TORCH, TORCH: TORCH}
    if setting not in names:
        raise InputError(f"there is no engine {setting!r}; there are {', '.join(names)}")
    return str(names[setting])
