"""The descriptor model: backbone, GeM, neck and L2 norm; saved as model.safetensors + model.json.

Knows nothing of training data or search. The fingerprint names a model by what it computes: two
models with one fingerprint give the same descriptors.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .backbone import Backbone, BackboneSpec
from .pooling import GeM

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ModelSpec:
    """What a descriptor model is made of, besides its weights."""

    backbone: BackboneSpec
    image_size: int  # pixels; every image is resized to a square of this side
    dim: int  # length of the descriptor

    def to_json(self) -> dict[str, Any]:
        """Return plain values that from_json reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ModelSpec":
        """Rebuild a spec. Raises KeyError or TypeError for missing or unknown fields."""
        backbone = dict(values["backbone"])
        backbone["mean"], backbone["std"] = tuple(backbone["mean"]), tuple(backbone["std"])
        return cls(**{**values, "backbone": BackboneSpec(**backbone)})


class DescriptorModel(nn.Module):
    """Images to global descriptors of length 1."""

    def __init__(self, spec: ModelSpec, backbone: Backbone | None = None) -> None:
        """Build around a given backbone, or around a new one with random weights."""
        super().__init__()
        self.spec = spec
        self.backbone = backbone or Backbone(spec.backbone)
        self.pool = GeM()
        self.neck = nn.Linear(self.backbone.channels, spec.dim, bias=False)
        self.neck_norm = nn.BatchNorm1d(spec.dim)

    def forward(self, images: Tensor) -> Tensor:
        """Describe a batch.

        Args:
            images: [B, 3, H, W] float, normalised by the spec's mean and std.

        Returns:
            [B, dim] float32, rows of length 1.
        """
        return self.describe_map(self.backbone(images))

    def describe_map(self, features: Tensor) -> Tensor:
        """Describe a batch from the backbone's last map [B, C, h, w], as forward does."""
        pooled = self.pool(features)
        # Float32 from here on: distances between near neighbours are lost in bfloat16.
        with torch.autocast(features.device.type, enabled=False):
            descriptors = self.neck_norm(self.neck(pooled.float()))
            return nn.functional.normalize(descriptors, dim=1)


def fingerprint_model(model: DescriptorModel) -> str:
    """Return the sha256 of the spec and of every tensor, as 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(model.spec.to_json(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_model(model: DescriptorModel, folder: Path) -> str:
    """Write model.safetensors and model.json into a folder; return the fingerprint."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    fingerprint = fingerprint_model(model)
    text = {"format": FORMAT_VERSION, "fingerprint": fingerprint, "spec": model.spec.to_json()}
    (folder / "model.json").write_text(json.dumps(text, indent=2) + "\n")
    return fingerprint


def load_model(folder: Path) -> tuple[DescriptorModel, str]:
    """Read a saved model in eval mode, and its fingerprint.

    Raises:
        FileNotFoundError: no model in the folder.
        ValueError: another format, or weights that are not those the fingerprint names.
    """
    try:
        text = json.loads((folder / "model.json").read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no model in {folder}; run `cairn train` first") from error
    if text.get("format") != FORMAT_VERSION:
        raise ValueError(
            f"{folder}/model.json has format {text.get('format')}, this version reads "
            f"{FORMAT_VERSION}; train again or use the version that wrote it"
        )
    misfit = (
        f"{folder}/model.safetensors is not the file that model.json describes; "
        "copy both from the same run, or train again"
    )
    model = DescriptorModel(ModelSpec.from_json(text["spec"]))
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(misfit) from error
    if fingerprint_model(model) != text["fingerprint"]:
        raise ValueError(misfit)
    return model.eval(), text["fingerprint"]
