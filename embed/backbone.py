"""Make a timm backbone that returns a feature map, from the hub, a local file or random weights.

Reads one .safetensors file when asked to. The file's metadata, where it has any, says what the
weights need: architecture, pad_type, mean, std. Knows nothing of pooling or training.
"""

import contextlib
import difflib
import logging
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from safetensors import safe_open
from torch import Tensor, nn

from .errors import InputError, MissingFileError
from .hub import offline_unless_reachable
from .strong_backbones import PERMISSIVE
from .weights_file import Colours, read_weights_metadata

logger = logging.getLogger(__name__)

# Parts of timm's networks that come behind the last map: pre_logits is VGG's, attn_pool SigLIP's,
# AuxLogits Inception's. What a network keeps of them is loaded all the same.
CLASSIFIERS = frozenset({"classifier", "fc", "head", "pre_logits", "attn_pool", "AuxLogits"})


@dataclass(frozen=True)
class BackboneSpec:
    """All that is needed to build the network again without its weights."""

    architecture: str  # timm model name
    pad_type: str = ""  # "same" for weights that came from TensorFlow; empty is timm's default
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # RGB, of values in [0, 1]
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Level:
    """An intermediate map of a network, the last one of its stride."""

    index: int  # in timm's list of the network's maps
    stride: int  # pixels of the input from one location to the next
    channels: int


class LastLayer(NamedTuple):
    """What a network makes of B images."""

    map: Tensor  # [B, C, h, w]; the patch tokens of a ViT as their grid
    token: Tensor | None = None  # [B, C], of the whole image; None where nobody asked for it
    earlier: Tensor | None = None  # [B, C', h', w'], the map of an earlier level; None likewise


class Backbone(nn.Module):
    """A timm model without its classifier: images [B, 3, H, W] to a map [B, C, h, w].

    With `token` also to a vector of the whole image: what the attention pooling of SigLIP and its
    like makes of the patches, or else the class token of a ViT. Registers are left out.

    Attributes:
        level: of an earlier map that forward returns, too; None for no such map.
    """

    def __init__(
        self, spec: BackboneSpec, *, pretrained: bool = False, token: bool = False
    ) -> None:
        """Build the network.

        Raises:
            InputError: a network that gives no map, or has no token that is asked for.
        """
        super().__init__()
        self.token = token
        self.network = _create(spec, pretrained, token)
        if hasattr(self.network, "pre_logits"):  # VGG's hidden layers: 120 million parameters
            self.network.pre_logits = nn.Identity()
        self.input_norm: nn.Module = nn.Identity()
        self.level: Level | None = None
        self.channels = int(self.network.num_features)

    @property
    def stride(self) -> int:
        """Pixels of the input from one location of the last map to the next; a ViT's patch."""
        return int(self.network.feature_info[-1]["reduction"])

    def forward(self, images: Tensor) -> LastLayer:
        """Return the last feature map, and token and earlier map where they are asked for."""
        if self.level is not None:
            return self.forward_both(images, self.level)[1]
        return self._read(self.network.forward_features(self.input_norm(images)), images)

    def find_level(self, stride: int = 16, setting: str = "stride") -> Level:
        """Find the last map of a stride.

        Networks of one stride throughout, such as ViTs, give the map at three quarters of their
        depth: the last blocks trade what is where for what the whole image shows.

        Args:
            stride: pixels from one location to the next.
            setting: that says so, named in errors.

        Raises:
            InputError: the network has no map of that stride; the error names those it has.
        """
        levels = [
            Level(index, int(entry["reduction"]), int(entry["num_chs"]))
            for index, entry in enumerate(self.network.feature_info)
        ]
        found = [level for level in levels if level.stride == stride]
        if not found:
            strides = sorted({level.stride for level in levels})
            raise InputError(
                f"{setting} = {stride}: {type(self.network).__name__} has no intermediate map of "
                f"that stride, only of {strides}; choose one of these, or another backbone"
            )
        return found[len(found) * 3 // 4 - 1] if 1 < len(found) == len(levels) else found[-1]

    def forward_both(self, images: Tensor, level: Level) -> tuple[Tensor, LastLayer]:
        """Return the map of a level [B, C', h', w'] and what forward does, in one pass."""
        indices = sorted({each.index for each in (level, self.level) if each is not None})
        final, found = self.network.forward_intermediates(self.input_norm(images), indices=indices)
        maps = dict(zip(indices, found, strict=True))
        last = self._read(final, images)
        if self.level is not None:
            last = last._replace(earlier=maps[self.level.index])
        return maps[level.index], last

    def forward_to(self, images: Tensor, level: Level) -> Tensor:
        """Return the map of a level [B, C', h', w'] alone; what follows it is not computed."""
        (intermediate,) = self.network.forward_intermediates(
            self.input_norm(images),
            indices=[level.index],
            stop_early=True,
            intermediates_only=True,
        )
        return cast(Tensor, intermediate)

    def _read(self, features: Tensor, images: Tensor) -> LastLayer:
        if features.ndim == 3:
            patches = _tokens_to_map(features, self.network, images.shape[-2:])
            return LastLayer(patches, self._read_token(features) if self.token else None)
        if features.shape[1] != self.channels:  # Swin and its like: [B, h, w, C]
            return LastLayer(features.permute(0, 3, 1, 2))
        return LastLayer(features)

    def _read_token(self, tokens: Tensor) -> Tensor:
        if getattr(self.network, "attn_pool", None) is not None:
            return cast(Tensor, self.network.pool(tokens))
        return tokens[:, 0]


def _create(spec: BackboneSpec, pretrained: bool, token: bool) -> Any:
    pool = _find_token(spec.architecture) if token else ""
    options: dict[str, Any] = {"num_classes": 0, "global_pool": pool, "pretrained": pretrained}
    if spec.pad_type:
        options["pad_type"] = spec.pad_type
    config = timm.get_pretrained_cfg(spec.architecture)
    if config is not None and config.fixed_input_size:
        # ViTs interpolate their position embedding to the size of the images. Others of fixed size
        # do not know the option; they take images of the size they were made for.
        with contextlib.suppress(TypeError):
            return timm.create_model(spec.architecture, dynamic_img_size=True, **options)
    try:
        return timm.create_model(spec.architecture, **options)
    except AssertionError as error:  # some know no map without a pooling of their own
        raise InputError(
            f"'{spec.architecture}' gives no feature map ({error}); name another network: "
            "train.backbone"
        ) from error


@cache
def _find_token(name: str) -> str:
    """Return timm's name of the pooling that gives the token of the whole image.

    Raises:
        InputError: the network has none.
    """
    with torch.device("meta"):  # shapes alone: nothing is computed or fetched
        network = timm.create_model(name, num_classes=0)
    if getattr(network, "attn_pool", None) is not None:
        return "map"
    if getattr(network, "num_prefix_tokens", 0) and getattr(network, "cls_token", None) is not None:
        return "token"
    raise InputError(
        f"pooling 'cls-gem' needs a token of the whole image, and '{name}' "
        f"({type(network).__name__}) has none; set train.pooling.kind = 'gem', or take a ViT: "
        "train.backbone = 'vit_small_patch14_reg4_dinov2'"
    )


def _tokens_to_map(tokens: Tensor, network: nn.Module, image_size: torch.Size) -> Tensor:
    """Drop the prefix tokens of [B, N, C] and lay the others out as [B, C, h, w]."""
    patches = tokens[:, int(getattr(network, "num_prefix_tokens", 0)) :]
    patch_height, patch_width = network.patch_embed.patch_size  # type: ignore[union-attr, misc]
    height, width = image_size[0] // int(patch_height), image_size[1] // int(patch_width)
    return patches.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)


def check_backbone(name: str, *, published: bool = False, token: bool = False) -> None:
    """Judge the name of a network before anything is made of it.

    Args:
        name: of timm; what follows a dot names weights.
        published: whether weights of it will be fetched.
        token: whether its token of the whole image will be pooled.

    Raises:
        InputError: timm has no such network, or no such weights, and close names are named; or the
            network has no such token.
    """
    architecture, _, weights = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=5)
        hint = f"close names: {', '.join(close)}" if close else "timm.list_models() names them"
        raise InputError(f"timm has no network '{name}' (train.backbone); {hint}")
    known = [
        full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", pretrained=True)
    ]
    if weights and weights not in known:
        raise InputError(
            f"timm has no weights '{weights}' of the network '{architecture}' (train.backbone = "
            f"'{name}'); there are {', '.join(known) or 'none'}"
        )
    if token:
        _find_token(name)
    if published and _find_repository(name) is None:
        raise InputError(
            f"timm has no pretrained weights for '{name}'; name another backbone, pass a local "
            "file: --weights FILE, or set train.pretrained = false"
        )


def _find_repository(name: str) -> str | None:
    """Return where the weights of a network are on the hub, if anywhere."""
    config = timm.get_pretrained_cfg(name)
    return config.hf_hub_id if config is not None else None


def read_weights_spec(path: Path, default: BackboneSpec) -> BackboneSpec:
    """Return what the metadata of a weights file say, and what they leave out.

    Mean and std are then those of the weights that timm has of the network, for what is fetched
    by hand says nothing of them; all else is the default's. Errors are those of
    read_weights_metadata and check_backbone.
    """
    found = read_weights_metadata(path)
    architecture = found.architecture or default.architecture
    check_backbone(architecture)
    usual = _with_published_statistics(replace(default, architecture=architecture))
    return BackboneSpec(
        architecture,
        default.pad_type if found.pad_type is None else found.pad_type,
        found.mean or usual.mean,
        found.std or usual.std,
    )


def _with_published_statistics(spec: BackboneSpec) -> BackboneSpec:
    """Return the spec with mean and std of the weights that timm has of the network, if any."""
    config = timm.get_pretrained_cfg(spec.architecture)
    if config is None:
        return spec
    mean, std = (cast(Colours, tuple(map(float, of))) for of in (config.mean, config.std))
    return replace(spec, mean=mean, std=std)


def load_weights(backbone: Backbone, path: Path) -> None:
    """Copy a file's tensors into the backbone, converted to float32; the classifier is left out.

    Raises:
        InputError: tensors are missing, are too many, or have other shapes.
    """
    with safe_open(str(path), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    wanted = backbone.network.state_dict()
    known = {name: tensor for name, tensor in tensors.items() if name in wanted}
    extra = [name for name in tensors if name not in wanted and not _is_classifier(name)]
    missing = [name for name in wanted if name not in known]
    reshaped = [name for name, tensor in known.items() if tensor.shape != wanted[name].shape]
    if missing or extra or reshaped:
        raise InputError(
            f"{path} does not fit the architecture: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(extra)} unknown {extra[:3]}, {len(reshaped)} of another shape {reshaped[:3]}; "
            "name the architecture these weights were made for in the recipe (train.backbone)"
        )
    backbone.network.load_state_dict({name: tensor.float() for name, tensor in known.items()})
    logger.info("loaded %d tensors from %s", len(known), path.name)


def _is_classifier(name: str) -> bool:
    return name.split(".")[0] in CLASSIFIERS


def build_backbone(
    spec: BackboneSpec,
    *,
    weights: Path | None = None,
    pretrained: bool = False,
    token: bool = False,
) -> tuple[Backbone, BackboneSpec]:
    """Make a backbone ready for training, and the spec that describes it.

    Args:
        spec: architecture and input statistics; what weights say of themselves wins.
        weights: local file; wins over pretrained.
        pretrained: fetch the weights that timm names for the architecture.
        token: whether the backbone gives its token of the whole image, too.

    Raises:
        MissingFileError: the weights file is missing, or the hub cannot be reached.
        InputError: unknown architecture, one without a token, or weights that do not fit it.
    """
    if weights is not None:
        spec = read_weights_spec(weights, spec)
        backbone = Backbone(spec, token=token)
        load_weights(backbone, weights)
        return backbone, spec
    check_backbone(spec.architecture, published=pretrained, token=token)
    if not pretrained:
        backbone = Backbone(spec, token=token)
        undo_zero_init(backbone)
        return backbone, spec
    return _fetch_pretrained(spec, token)


def _fetch_pretrained(spec: BackboneSpec, token: bool) -> tuple[Backbone, BackboneSpec]:
    source = _find_repository(spec.architecture) or ""
    with offline_unless_reachable(source) as problem:
        if not problem:
            logger.info("fetching the weights of %s", source)
            _tell_license(spec.architecture)
        try:
            backbone = Backbone(spec, pretrained=True, token=token)
        except (OSError, RuntimeError, ValueError) as error:
            text = (str(error).splitlines() or ["no message"])[0][:120]
            raise MissingFileError(
                f"the weights of '{spec.architecture}' could not be fetched "
                f"({problem or f'{type(error).__name__}: {text}'}); fetch "
                f"model.safetensors of '{source}' from the Hugging Face hub by hand and pass it: "
                "WEIGHTS=model.safetensors (--weights on the command line)"
            ) from error
    return backbone, _with_published_statistics(spec)


def _tell_license(name: str) -> None:
    """Log a licence that does not let everybody use the weights for anything."""
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.license and config.license not in PERMISSIVE:
        logger.warning(
            "the weights of '%s' have the licence '%s': read it before you use what they make",
            *(name, config.license),
        )


def undo_zero_init(module: nn.Module) -> None:
    """Set the weights of batch norms that start at 0 to 1.

    timm closes residual branches that way, which steadies long trainings of large batches. In a
    short training it costs most of the time: on the demo city the head's loss after 200 steps was
    2.6 with closed branches and 1.4 with open ones.
    """
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.weight is not None:
            with torch.no_grad():
                child.weight.masked_fill_((child.weight == 0).all(), 1.0)
