"""What finds local features in a map of the backbone; saved as delf.safetensors + delf.json.

It belongs to one descriptor model, whose backbone makes the maps, and is useless beside another.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embed.errors import InputError, MissingFileError

from .attention import Attention
from .reduction import Reduction
from .settings import DelfSettings

FORMAT_VERSION = 1


@dataclass(frozen=True)
class LocalSpec:
    """What a local model is made of, besides its weights."""

    model_fingerprint: str  # of the descriptor model it belongs to
    stride: int  # of the map it reads, in pixels of the input
    channels: int  # of that map
    center: float  # input pixel that the first location looks at, see measure_center
    hidden: int  # channels of the attention
    dim: int  # values of a descriptor


class LocalModel(nn.Module):
    """Attention and reduction: maps to scores, descriptors to shorter ones."""

    mean_score: Tensor

    def __init__(self, spec: LocalSpec) -> None:
        """Build with random weights. Raises ValueError unless dim is at most channels."""
        super().__init__()
        self.spec = spec
        self.attention = Attention(spec.channels, spec.hidden)
        self.reduction = Reduction(spec.channels, spec.dim)
        self.register_buffer("mean_score", torch.ones(()))

    def score(self, maps: Tensor) -> Tensor:
        """Return scores [B, h, w] of maps [B, C, h, w]; 1 is the mean of the training images."""
        return cast(Tensor, self.attention(maps)) / self.mean_score


def fingerprint_delf(local: LocalModel) -> str:
    """Return the sha256 of the spec, which names the descriptor model, and of every tensor."""
    digest = hashlib.sha256(json.dumps(asdict(local.spec), sort_keys=True).encode())
    for name, tensor in sorted(local.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_delf(local: LocalModel, settings: DelfSettings, folder: Path) -> str:
    """Write delf.safetensors and delf.json into a folder; return the fingerprint."""
    tensors = {name: tensor.contiguous() for name, tensor in local.state_dict().items()}
    save_file(tensors, folder / "delf.safetensors")
    fingerprint = fingerprint_delf(local)
    text = {
        "format": FORMAT_VERSION,
        "fingerprint": fingerprint,
        "spec": asdict(local.spec),
        "settings": settings.model_dump(),
    }
    (folder / "delf.json").write_text(json.dumps(text, indent=2) + "\n")
    return fingerprint


def load_delf(
    folder: Path, model_fingerprint: str, *, verified: bool = False
) -> tuple[LocalModel, DelfSettings]:
    """Read a saved local model in eval mode, and the settings it was trained with.

    Args:
        folder: where it was saved.
        model_fingerprint: of the descriptor model it is to be used with.
        verified: whether the caller has compared the hashes of both files with what was written;
            then the weights are not hashed again.

    Raises:
        MissingFileError: none in the folder.
        InputError: another format, a damaged file, or it belongs to another descriptor model.
    """
    try:
        text = json.loads((folder / "delf.json").read_bytes())
        spec, fingerprint = LocalSpec(**text["spec"]), text["fingerprint"]
        settings = DelfSettings(**text["settings"])
    except FileNotFoundError as error:
        raise MissingFileError(f"no DELF model in {folder}; train it first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/delf.json is damaged ({error}); train DELF again") from error
    if text.get("format") != FORMAT_VERSION:
        raise InputError(
            f"{folder}/delf.json has format {text.get('format')}, this version reads "
            f"{FORMAT_VERSION}; train DELF again or use the version that wrote it"
        )
    if spec.model_fingerprint != model_fingerprint:
        raise InputError(
            f"DELF in {folder} belongs to descriptor model {spec.model_fingerprint[:12]}, not to "
            f"{model_fingerprint[:12]}; train DELF again for this model, or use the one it "
            "belongs to"
        )
    misfit = (
        f"{folder}/delf.safetensors is not the file that delf.json describes; copy both from the "
        "same run, or train DELF again"
    )
    try:
        local = LocalModel(spec)
        local.load_state_dict(load_file(folder / "delf.safetensors"))
    except (SafetensorError, RuntimeError, FileNotFoundError, ValueError) as error:
        raise InputError(misfit) from error
    if not verified and fingerprint_delf(local) != fingerprint:
        raise InputError(misfit)
    return local.eval(), settings
