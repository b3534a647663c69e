"""Settings of training and extraction, validated when made. Imports nothing heavy."""

import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from .presets import PRESETS

MAX_VARIANTS = 249  # of one image, itself included: see embed.variants


def _later(default: Any, **limits: Any) -> Any:
    """Return a field that is left out of what is recorded while it has its default.

    A model that was trained before the setting was there keeps its key, and need not be trained
    anew.
    """
    return Field(default, exclude_if=lambda value: value == default, **limits)


class Settings(BaseModel, frozen=True, extra="forbid"):
    """A part of a recipe: immutable, unknown keys are errors."""


class DecodeSettings(Settings):
    """How image files are read."""

    max_megapixels: float = Field(50.0, gt=0)  # larger images are refused before decoding

    @property
    def max_pixels(self) -> int:
        """The same limit in pixels."""
        return int(self.max_megapixels * 1e6)


class AugmentSettings(Settings):
    """What random changes a training image gets; 0 switches one off.

    They are made in this order: crop, mirror, rotation, perspective, affine (shift, scale, shear in
    one), colours, grey, blur, JPEG, erase.
    """

    # Where values come from that are not named beside it: a name of embed.presets.
    preset: str = Field("default", exclude=True)
    # centre: the middle square; none: the whole image, squeezed into a square.
    crop: Literal["random", "centre", "none"] = _later("random")
    # Share of the area that a random crop keeps at least, a centre crop of its square exactly.
    crop_min_area: float = Field(0.4, gt=0, le=1)
    crop_max_aspect: float = Field(1.33, ge=1)  # widest stretch of a random crop, width to height
    mirror: float = Field(0.0, ge=0, le=1)  # probability; signs and lettering dislike it
    rotation: float = Field(10.0, ge=0, le=180)  # degrees either way
    perspective: float = Field(0.2, ge=0, le=1)  # share of the half side that corners move
    shift: float = _later(0.0, ge=0, le=1)  # share of the side, either way
    scale: float = _later(0.0, ge=0, lt=1)  # factor 1 +- this
    shear: float = _later(0.0, ge=0, lt=90)  # degrees either way, along the width
    brightness: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    contrast: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    saturation: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    hue: float = Field(0.05, ge=0, le=0.5)  # turns of the colour circle
    grey: float = Field(0.1, ge=0, le=1)  # probability
    blur: float = Field(0.1, ge=0, le=1)  # probability of a Gaussian blur
    jpeg: float = _later(0.0, ge=0, le=1)  # probability of compression
    jpeg_quality: int = _later(30, ge=1, le=95)  # the lowest; the highest is 95
    erase: float = Field(0.25, ge=0, le=1)  # probability of a grey rectangle (cutout)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        name = values.get("preset", "default") if isinstance(values, dict) else None
        if not isinstance(name, str):
            return values  # the field itself says what is wrong
        if name not in PRESETS:
            close = difflib.get_close_matches(name, PRESETS, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(PRESETS)}"
            raise ValueError(f"unknown preset '{name}'; {hint}")
        return {**PRESETS[name], **values}


class BalanceSettings(Settings):
    """How classes of different sizes are made more alike before training; 0 switches one off."""

    min_count: int = Field(0, ge=0)  # photos in train that a landmark needs, else it is left out
    cap: int = Field(0, ge=0)  # photos of a landmark that are trained on at most, a random choice
    set_number: int = Field(0, ge=0)  # which choice: models of 0, 1, 2 ... make an ensemble
    upsample_to: int = Field(0, ge=0, le=MAX_VARIANTS)  # images that variants fill a landmark up to

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.cap and self.upsample_to > self.cap:
            raise ValueError(
                f"upsample_to {self.upsample_to} > cap {self.cap}: small classes would end larger "
                "than large ones; lower the one or raise the other"
            )
        if self.set_number and not self.cap:
            raise ValueError(
                f"set_number {self.set_number} without a cap: all sets would be the same; set cap"
            )
        return self


class TrainSettings(Settings):
    """How the descriptor model is trained."""

    backbone: str = "resnet50"  # timm name; the metadata of a local weights file wins
    pretrained: bool = True  # fetch timm's weights for it, unless a local file is given
    image_size: int = Field(224, ge=32)  # pixels, side of the square
    dim: int = Field(256, ge=2)  # length of the descriptor
    epochs: int = Field(10, ge=0)  # 0 keeps the first weights: features without any training
    classes_per_batch: int = Field(16, ge=2)
    images_per_class: int = Field(4, ge=2)  # in a batch
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(3e-4, gt=0)  # of the backbone
    head_learning_rate: float = Field(3e-3, gt=0)  # of pooling, neck and classification head
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)  # SGD alone
    warmup: float = Field(0.1, ge=0, lt=1)  # share of all steps
    clip_norm: float = Field(5.0, gt=0)  # largest length of the gradient
    margin: float = Field(0.2, gt=0)  # of the triplet loss, in Euclidean distance
    miner: Literal["hard", "semihard", "all"] = "hard"
    triplet_weight: float = Field(1.0, ge=0)
    head_weight: float = Field(1.0, ge=0)  # of the classification head's own loss
    head_scale: float = Field(16.0, gt=0)  # largest logit of the cosine head
    freeze_batch_norm: bool = False  # keep the backbone's running statistics
    precision: Literal["float32", "bfloat16", "auto"] = "auto"  # auto measures both at the start
    patience: int = Field(0, ge=0)  # stop after so many epochs without a better one; 0: never
    validation_share: float = Field(0.1, ge=0, lt=1)  # of the photos of each landmark
    seed: int = 0
    # Which images make up an epoch: see embed.sampling.epoch_order.
    sampler: Literal["m-per-class", "uniform", "square-root", "class-balanced"] = _later(
        "m-per-class"
    )
    balance: BalanceSettings = _later(BalanceSettings())
    augment: AugmentSettings = AugmentSettings()

    @property
    def group(self) -> int:
        """How many images of a class come together: one where no triplets are made of them."""
        grouped = self.sampler == "m-per-class" or self.triplet_weight > 0
        return self.images_per_class if grouped else 1


MAX_SCALES = 8
MAX_SCALE = 8.0
Scale = Annotated[float, Field(gt=0, le=MAX_SCALE)]


class EmbedSettings(Settings):
    """How descriptors are computed and stored."""

    batch_size: int = Field(64, ge=1)
    shard_size: int = Field(4096, ge=1)  # images in one Parquet file; the unit of resuming
    dtype: Literal["float16", "float32"] = "float32"  # of the stored values
    # Factors of image_size; the descriptors of all are summed. A scale costs its square in time.
    scales: tuple[Scale, ...] = Field((1.0,), min_length=1, max_length=MAX_SCALES)
    flip: bool = False  # add the mirror image of each scale; twice the time
