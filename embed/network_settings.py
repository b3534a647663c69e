"""Settings of what a network is made of: pooling, attention, head. Imports nothing heavy."""

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from .settings import MAX_LENGTH, MAX_SIDE, Settings


class GemSettings(Settings):
    """Generalised means."""

    kind: Literal["gem"] = "gem"
    p: float = Field(3.0, ge=1, le=100)  # the exponent that training starts from


class ClsGemSettings(Settings):
    """The token of the whole image beside generalised means of the patches; ViTs alone have it."""

    kind: Literal["cls-gem"] = "cls-gem"
    p: float = Field(3.0, ge=1, le=100)  # the exponent that training starts from
    token_share: float = Field(0.5, gt=0, lt=1)  # of the cosine, that the token has


class PlainPoolingSettings(Settings):
    """Means (spoc) or maxima (mac) of the whole map."""

    kind: Literal["spoc", "mac"]


class RmacSettings(Settings):
    """Maxima of regions, summed."""

    kind: Literal["rmac"] = "rmac"
    levels: int = Field(3, ge=1, le=8)  # sizes of regions


class FlattenSettings(Settings):
    """Means of grid x grid cells, side by side."""

    kind: Literal["flatten"] = "flatten"
    grid: int = Field(4, ge=1, le=64)


class BilinearSettings(Settings):
    """A sketch of the products of all pairs of channels."""

    kind: Literal["bilinear"] = "bilinear"
    bilinear_dim: int = Field(8192, ge=2, le=MAX_LENGTH)  # length of the sketch


class DolgSettings(Settings):
    """The last map by GeM, beside what an earlier map says that is orthogonal to it."""

    kind: Literal["dolg"] = "dolg"
    p: float = Field(3.0, ge=1, le=100)  # the exponent that training starts from
    width: int = Field(1024, ge=2, le=MAX_LENGTH)  # values of either half
    # Of the earlier map, in pixels from one location to the next; that of a ViT is its patch.
    stride: int = Field(16, ge=1, le=MAX_SIDE)
    # Of the convolutions on the earlier map, in locations. 6, 12, 18 are for 512 pixels.
    dilations: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (6, 12, 18), min_length=1, max_length=8
    )


class SuperGlobalSettings(Settings):
    """Generalised means of a map that is mixed with those of its regions; nothing is trained."""

    kind: Literal["superglobal"] = "superglobal"
    p: float = Field(4.6, ge=1, le=100)  # exponent over the map (GeM+)
    region: int = Field(5, ge=1, le=MAX_SIDE)  # locations, side of a region, odd; 1: none
    region_p: float = Field(2.5, ge=1, le=100)  # exponent over a region (regional GeM)
    region_share: float = Field(0.5, ge=0, le=1)  # of the mixed map that comes from the regions
    least: float = Field(0.014, gt=0, le=1000)  # value that lower ones are raised to (ReLUP)

    @field_validator("region")
    @classmethod
    def _have_a_middle(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"expected an odd number, so that a region has a middle, not {value}")
        return value


# How the backbone's last map becomes one vector: see embed.pooling.
PoolingSettings = Annotated[
    GemSettings
    | ClsGemSettings
    | PlainPoolingSettings
    | RmacSettings
    | FlattenSettings
    | BilinearSettings
    | DolgSettings
    | SuperGlobalSettings,
    Field(discriminator="kind"),
]


class MapAttentionSettings(Settings):
    """Nothing, or attention on the last map."""

    kind: Literal["none", "spatial", "self"] = "none"


class SEAttentionSettings(Settings):
    """Attention on the map of every stage but the last."""

    kind: Literal["se"] = "se"
    trunk: int = Field(1, ge=1, le=16)  # blocks of the trunk, t of the report
    mask: int = Field(1, ge=1, le=16)  # blocks of the mask branch, each halves the map; p


# What weighs the locations of a map: see embed.attention.
AttentionSettings = Annotated[
    MapAttentionSettings | SEAttentionSettings, Field(discriminator="kind")
]


class DirectionHeadSettings(Settings):
    """Cosines to a direction a class, learned (cosine) or fixed (hadamard)."""

    kind: Literal["cosine", "hadamard"] = "cosine"


class LinearHeadSettings(Settings):
    """A linear layer."""

    kind: Literal["linear"] = "linear"
    dropout: float = Field(0.0, ge=0, lt=1)  # share of the features that are left out


class MarginHeadSettings(Settings):
    """Cosines with a margin for the right class."""

    kind: Literal["arcface", "cosface"]
    margin: float = Field(0.3, ge=0, le=math.pi)  # arcface: radians; cosface: cosine


class SubcenterHeadSettings(Settings):
    """Several directions a class, and a margin that is larger for rarer classes."""

    kind: Literal["subcenter"] = "subcenter"
    margin: float = Field(0.3, ge=0, le=math.pi)  # of the rarest class, radians
    least_margin: float = Field(0.05, ge=0, le=math.pi)  # of the commonest class
    centers: int = Field(3, ge=1, le=100)  # directions a class


# Which classification head is trained beside the metric loss: see classify_head.heads.
HeadSettings = Annotated[
    DirectionHeadSettings | LinearHeadSettings | MarginHeadSettings | SubcenterHeadSettings,
    Field(discriminator="kind"),
]
