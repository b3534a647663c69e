"""Attention of the descriptor network: on the last map of its backbone, or between its stages.

Each module takes a map [B, C, h, w] and returns one of the same shape. Knows of timm's networks
only what their `feature_info` says, and nothing of pooling or training.
"""

from collections import OrderedDict
from typing import cast

import torch
from timm.models.resnet import Bottleneck
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d
from torch.nn.utils.parametrizations import spectral_norm

from .backbone import Backbone
from .errors import InputError
from .network_settings import AttentionSettings

FIRST_STRIDE = 4  # pixels; a map of a smaller stride is the stem's, not a stage's
MASK_START = -4.0  # of the mask before its sigmoid, which makes it .018
SUITED = "ResNet and its like, MobileNet, EfficientNet, ConvNeXt, RegNet, DenseNet"


class SpatialAttention(nn.Module):
    """Weigh each location by the softmax of its sum over channels; nothing is learned.

    The weights of a map add up to 1 and are not rescaled, as in the report this comes from: values
    shrink by h * w on average. Descriptors of length 1 do not show that, a linear head sees it.
    Sums of many channels lie far apart: nearly all of the weight falls on few locations.

    Source: Yep, Chen: Xceptional Landmark Recognition, CS231N report, 2018.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Weigh [B, C, h, w]; the precision stays."""
        # Float32: near 1000 bfloat16 counts in steps of 4, and the softmax tells steps of 1.
        scores = features.float().sum(dim=1, keepdim=True)
        weights = scores.flatten(2).softmax(dim=2).view_as(scores)
        return (features * weights).to(features.dtype)


class SelfAttention(nn.Module):
    """Add to each location what it reads at all others: x + gamma * o(x), the attention of SAGAN.

    Queries f and keys g have C/8 channels, values h have C/2, and v brings them back to C. Keys and
    values are halved by max-pooling, as in the authors' code; odd sizes are rounded up, so that no
    location of a small map is left out. All four are 1x1 convolutions of spectral norm 1, without
    bias. gamma starts at 0: a new module is the identity.

    Source: Zhang, Goodfellow, Metaxas, Odena: Self-Attention Generative Adversarial Networks, 2019,
    equations 1 to 3; pooling and spectral norm as in github.com/brain-research/self-attention-gan.
    """

    def __init__(self, channels: int) -> None:
        """Build for maps of so many channels, 2 or more."""
        super().__init__()
        narrow, half = max(channels // 8, 1), channels // 2
        self.queries = _unit_convolution(channels, narrow)
        self.keys = _unit_convolution(channels, narrow)
        self.values = _unit_convolution(channels, half)
        self.output = _unit_convolution(half, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Attend within each of B maps [B, C, h, w]; the precision stays."""
        # Float32 throughout: the norm's power iteration needs it, and this is a small part of what
        # a network computes.
        with torch.autocast(features.device.type, enabled=False):
            return self._attend(features.float()).to(features.dtype)

    def _attend(self, features: Tensor) -> Tensor:
        queries = self.queries(features).flatten(2)  # [B, C/8, h*w]
        keys = _halve(self.keys(features)).flatten(2)  # [B, C/8, n], n = ceil(h/2) * ceil(w/2)
        values = _halve(self.values(features)).flatten(2)  # [B, C/2, n]
        weights = (queries.transpose(1, 2) @ keys).softmax(dim=2)  # [B, h*w, n], rows add up to 1
        read = (values @ weights.transpose(1, 2)).unflatten(2, features.shape[2:])
        return features + self.gamma * cast(Tensor, self.output(read))


def _unit_convolution(channels: int, outputs: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels, outputs, kernel_size=1, bias=False))


def _halve(features: Tensor) -> Tensor:
    return max_pool2d(features, kernel_size=2, ceil_mode=True)


class SEAttention(nn.Module):
    """Strengthen what a mask marks: (1 + mask) * trunk, the SE-attention module.

    The trunk is t residual bottlenecks with squeeze-and-excitation. The mask comes of p times such
    a block and a max-pooling that halves the map; it is then enlarged to the size of the trunk, by
    bilinear interpolation, and goes through a sigmoid.

    A new module must leave the features of a pretrained network nearly as they are, hence two
    additions to the report. The trunk's blocks start as the identity: their last norms are 0, and
    no ReLU follows their sums, for the maps of MobileNet and ConvNeXt have negative values. And a
    norm of weight 0 before the sigmoid makes the mask .018 at first. Attached to the finished model
    of the demo city, ResNet18, they keep descriptors at a cosine of .998 to those without
    attention, and 81 of 82 nearest neighbours; without the norm it is .28, and 38 of 82.

    Source: Zeng, Ye, Liu: Landmark Recognition Challenge, CS231N report, 2018; 1 + mask is of
    Wang et al.: Residual Attention Network for Image Classification, 2017, equation 3.
    """

    def __init__(self, channels: int, trunk: int = 1, mask: int = 1) -> None:
        """Build for maps of so many channels, a multiple of 4, with t = trunk and p = mask."""
        super().__init__()
        self.channels = channels
        self.trunk = nn.Sequential(*(_closed_block(channels) for _ in range(trunk)))
        self.mask = nn.Sequential(*(_halving_block(channels) for _ in range(mask)))
        self.mask_norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.mask_norm.weight)
        nn.init.constant_(self.mask_norm.bias, MASK_START)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, h, w] to the same shape.

        Raises:
            InputError: the stage before returns something else.
        """
        if not isinstance(features, Tensor) or features.shape[1:2] != (self.channels,):
            found = getattr(features, "shape", type(features).__name__)
            raise InputError(
                f"attention 'se' got {found} from a stage, expected [B, {self.channels}, h, w]; "
                f"choose another backbone, it suits {SUITED}"
            )
        mask = self.mask_norm(self.mask(features))
        mask = interpolate(mask, size=features.shape[2:], mode="bilinear")
        return (1 + mask.sigmoid()) * cast(Tensor, self.trunk(features))


def _se_block(channels: int) -> nn.Module:
    block = Bottleneck(channels, channels // Bottleneck.expansion, attn_layer="se")
    return cast(nn.Module, block)


def _closed_block(channels: int) -> nn.Module:
    """Return a block that starts as the identity, of negative values too."""
    block = _se_block(channels)
    block.zero_init_last()  # type: ignore[operator]
    block.act3 = nn.Identity()
    return block


def _halving_block(channels: int) -> nn.Module:
    return nn.Sequential(_se_block(channels), nn.MaxPool2d(3, stride=2, padding=1))


def build_attention(settings: AttentionSettings, channels: int) -> nn.Module:
    """Return what weighs the backbone's last map [B, channels, h, w].

    Kind se works inside the backbone: here it is the identity, as none is.
    """
    if settings.kind == "spatial":
        return SpatialAttention()
    if settings.kind == "self":
        return SelfAttention(channels)
    return nn.Identity()


def attach_stage_attention(backbone: Backbone, settings: AttentionSettings) -> None:
    """Put an SEAttention behind every stage of the backbone but the last; other kinds: do nothing.

    A stage becomes a Sequential of itself, named stage, and the attention, in its old place: the
    network's own forward passes, intermediate maps and saved tensors then have it without knowing.
    The names of a stage's tensors change ("layer1.0" to "layer1.stage.0"), so load the weights of
    timm before, and those of a model that was saved with attention afterwards. A network of random
    weights learns faster with embed.backbone.undo_zero_init after it.

    Raises:
        InputError: the network has no stages to put it behind, or has attention already.
    """
    if settings.kind != "se":
        return
    network = backbone.network
    for name, channels in _find_stages(backbone)[:-1]:
        parts = OrderedDict(
            stage=network.get_submodule(name),
            attention=SEAttention(channels, settings.trunk, settings.mask),
        )
        network.set_submodule(name, nn.Sequential(parts))


def _find_stages(backbone: Backbone) -> list[tuple[str, int]]:
    """Return name and channels of the module that makes the last map of each stride.

    Raises:
        InputError: as attach_stage_attention.
    """
    network = backbone.network
    if any(isinstance(module, SEAttention) for module in network.modules()):
        raise ValueError("the backbone has stage attention already; attach it once")
    last = {int(entry["reduction"]): entry for entry in network.feature_info}
    stages = [
        (str(entry["module"]), int(entry["num_chs"]))
        for stride, entry in sorted(last.items())
        if stride >= FIRST_STRIDE
    ]
    modules = dict(network.named_modules())
    # A map that comes of an activation within a block would not reach the next stage through it.
    misfits = [
        name
        for name, channels in stages[:-1]
        if name not in modules
        or channels % Bottleneck.expansion
        or not any(isinstance(module, nn.Conv2d) for module in modules[name].modules())
    ]
    if misfits or len(stages) < 2:
        found = f"{misfits} are no stages" if misfits else f"it has {len(stages)} stride"
        raise InputError(
            f"train.attention.kind = 'se' needs a network of convolutional stages, which "
            f"{type(network).__name__} is not ({found}); it suits {SUITED}. Choose one of these, "
            "or attention 'self', which suits every backbone"
        )
    return stages
