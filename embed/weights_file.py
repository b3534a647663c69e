"""Read what a .safetensors file of weights says of itself. Imports no torch, and no tensors."""

from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, MissingFileError

Colours = tuple[float, float, float]


@dataclass(frozen=True)
class WeightsMetadata:
    """What the metadata of a weights file say its weights need; None where they say nothing."""

    architecture: str | None = None  # timm model name
    pad_type: str | None = None  # "same" for weights that came from TensorFlow
    mean: Colours | None = None  # RGB, of values in [0, 1]
    std: Colours | None = None


def read_weights_metadata(path: Path) -> WeightsMetadata:
    """Read the metadata of a weights file.

    Raises:
        MissingFileError: no file there.
        InputError: not a safetensors file, or a metadata value that makes no sense.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MissingFileError(
            f"no weights file at {path}; pass a .safetensors file of timm weights"
        )
    try:
        with safe_open(str(path), "np") as file:
            found = file.metadata() or {}
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a safetensors file ({error}); pass a .safetensors file of timm weights"
        ) from error
    return WeightsMetadata(
        found.get("architecture"),
        found.get("pad_type"),
        _read_colours(found, "mean", path),
        _read_colours(found, "std", path),
    )


def _read_colours(metadata: dict[str, str], key: str, path: Path) -> Colours | None:
    if key not in metadata:
        return None
    try:
        red, green, blue = (float(value) for value in metadata[key].split(","))
    except ValueError as error:
        raise InputError(
            f"metadata '{key}' of {path} is '{metadata[key]}', expected three numbers as '.5,.5,.5'"
        ) from error
    return red, green, blue
