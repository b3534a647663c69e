"""The descriptor model: backbone, attention, pooling, neck and L2 norm; pretrained features beside.

Saved as model.safetensors + model.json. Knows nothing of training data or search. The fingerprint
names a model by what it computes: two models with one fingerprint give the same descriptors.
"""

import copy
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .attention import attach_stage_attention, build_attention
from .backbone import Backbone, BackboneSpec, LastLayer
from .errors import InputError, MissingFileError
from .network_settings import AttentionSettings, GemSettings, MapAttentionSettings, PoolingSettings
from .pooling import build_pooling, concatenate_weighted
from .train_settings import TrainSettings

FORMAT_VERSION = 2
ATTENTION: TypeAdapter[AttentionSettings] = TypeAdapter(AttentionSettings)
POOLING: TypeAdapter[PoolingSettings] = TypeAdapter(PoolingSettings)
REMEDY = "copy both from the same run, or train again: cairn train --redo"


@dataclass(frozen=True)
class ModelSpec:
    """What a descriptor model is made of, besides its weights."""

    backbone: BackboneSpec
    image_size: int  # pixels; every image is resized to a square of this side
    dim: int  # length of the projected descriptor; 0: what pooling returns, not projected
    input_norm: bool = False  # a batch norm before the backbone
    attention: AttentionSettings = field(default_factory=MapAttentionSettings)
    pooling: PoolingSettings = field(default_factory=GemSettings)
    # Of the cosine, that a network as it was before training has beside the trained one.
    pretrained_share: float = 0.0

    @property
    def pretrained(self) -> "ModelSpec":
        """What there is of the model before any training: backbone and pooling, no new part."""
        pooling = self.pooling
        if pooling.kind == "dolg":
            pooling = GemSettings(p=pooling.p)
        return ModelSpec(self.backbone, self.image_size, 0, pooling=pooling)

    @classmethod
    def of(cls, backbone: BackboneSpec, settings: TrainSettings) -> "ModelSpec":
        """Return the spec of what the settings train, around a backbone."""
        return cls(
            backbone,
            settings.image_size,
            settings.dim,
            settings.input_norm,
            settings.attention,
            settings.pooling,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values that from_json reads back."""
        parts = {name: getattr(self, name).model_dump() for name in ("attention", "pooling")}
        return {**vars(self), **parts, "backbone": asdict(self.backbone)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ModelSpec":
        """Rebuild a spec. Raises KeyError, TypeError or ValueError for fields it does not know."""
        backbone = dict(values["backbone"])
        backbone["mean"], backbone["std"] = tuple(backbone["mean"]), tuple(backbone["std"])
        parts = {
            "backbone": BackboneSpec(**backbone),
            "attention": ATTENTION.validate_python(values["attention"]),
            "pooling": POOLING.validate_python(values["pooling"]),
        }
        return cls(**{**values, **parts})


class DescriptorModel(nn.Module):
    """Images to global descriptors of length 1.

    Attributes:
        dim: values of a descriptor.
        head_dim: values that classification heads read; less where there are pretrained features.
        pretrained: the network before training, whose features lie beside the trained ones.
    """

    def __init__(self, spec: ModelSpec, backbone: Backbone | None = None) -> None:
        """Build around a given backbone, or around a new one with random weights.

        Raises:
            ValueError: attention or pooling that does not suit the backbone.
        """
        super().__init__()
        self.spec = spec
        self.backbone = backbone or Backbone(spec.backbone, token=spec.pooling.kind == "cls-gem")
        if spec.input_norm:
            self.backbone.input_norm = nn.BatchNorm2d(3)
        attach_stage_attention(self.backbone, spec.attention)
        self.attention = build_attention(spec.attention, self.backbone.channels)
        earlier = 0
        if spec.pooling.kind == "dolg":
            self.backbone.level = self.backbone.find_level(
                spec.pooling.stride, "train.pooling.stride"
            )
            earlier = self.backbone.level.channels
        self.pool = build_pooling(spec.pooling, self.backbone.channels, earlier)
        self.dim = self.head_dim = spec.dim or self.pool.out_features
        self.pretrained: DescriptorModel | None = None
        if spec.pretrained_share:
            self._attach(DescriptorModel(spec.pretrained), spec.pretrained_share)
        self.neck: nn.Module = nn.Identity()
        self.neck_norm: nn.Module = nn.Identity()
        if spec.dim:
            self.neck = nn.Linear(self.pool.out_features, spec.dim, bias=False)
            self.neck_norm = nn.BatchNorm1d(spec.dim)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that it was made for."""
        return self.spec.image_size

    @property
    def stride(self) -> int:
        """Pixels of the input from one location of the last map to the next."""
        return self.backbone.stride

    def forward(self, images: Tensor) -> Tensor:
        """Describe a batch.

        Args:
            images: [B, 3, H, W] float, normalised by the spec's mean and std.

        Returns:
            [B, dim] float32, rows of length 1.
        """
        return self.describe(self.features(images), images)

    def features(self, images: Tensor) -> Tensor:
        """Return what classification heads read: [B, head_dim] float32, of any length."""
        return self.pool_map(self.backbone(images))

    def pool_map(self, last: LastLayer) -> Tensor:
        """Return the features [B, head_dim] of what the backbone makes of images."""
        beside = [part for part in (last.token, last.earlier) if part is not None]
        pooled = self.pool(self.attention(last.map), *beside)
        # Float32 from here on: distances between near neighbours are lost in bfloat16.
        with torch.autocast(pooled.device.type, enabled=False):
            described: Tensor = self.neck_norm(self.neck(pooled.float()))
            return described

    def describe(self, features: Tensor, images: Tensor) -> Tensor:
        """Describe images [B, 3, H, W] whose features are known, as forward does."""
        trained = nn.functional.normalize(features, dim=1)
        if self.pretrained is None:
            return trained
        return concatenate_weighted(trained, self.pretrained(images), self.spec.pretrained_share)

    def with_pretrained(self, before: "DescriptorModel", share: float) -> "DescriptorModel":
        """Return a copy whose descriptors have those of another model beside them.

        A cosine is then the mean of both models' cosines: what training lost is still there.

        Args:
            before: as it was pretrained, without projection and attention; of the same images.
            share: of the cosine that it has, above 0 and below 1.
        """
        joined = copy.deepcopy(self)
        joined.spec = replace(self.spec, pretrained_share=share)
        joined._attach(copy.deepcopy(before), share)
        return joined

    def _attach(self, before: "DescriptorModel", share: float) -> None:
        if not 0 < share < 1:
            raise ValueError(f"pretrained_share is {share}, expected above 0 and below 1")
        self.pretrained = before.requires_grad_(False)
        self.dim = self.head_dim + before.dim


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


def load_model(folder: Path, *, verified: bool = False) -> tuple[DescriptorModel, str]:
    """Read a saved model in eval mode, and its fingerprint.

    Args:
        folder: where it was saved.
        verified: whether the caller has compared the hashes of both files with what was written;
            then the weights are not hashed again.

    Raises:
        MissingFileError: no model in the folder.
        InputError: another format, or weights that are not those the fingerprint names.
    """
    try:
        text = json.loads((folder / "model.json").read_bytes())
        if (version := text["format"]) != FORMAT_VERSION:
            raise InputError(
                f"{folder}/model.json was written by another version of Cairn (format {version}, "
                f"this one has {FORMAT_VERSION}); train again: cairn train --redo"
            )
        spec, fingerprint = ModelSpec.from_json(text["spec"]), str(text["fingerprint"])
    except FileNotFoundError as error:
        raise MissingFileError(f"no model in {folder}; run `cairn train` first") from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/model.json is damaged ({error}); {REMEDY}") from error
    misfit = f"{folder}/model.safetensors is not the file that model.json describes; {REMEDY}"
    try:
        model = DescriptorModel(spec)
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, RuntimeError, FileNotFoundError, ValueError) as error:
        raise InputError(misfit) from error
    if not verified and fingerprint_model(model) != fingerprint:
        raise InputError(misfit)
    return model.eval(), fingerprint
