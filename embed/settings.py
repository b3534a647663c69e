"""Settings of training and extraction, validated when made. Imports nothing heavy."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field


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
    """What random changes a training image gets; 0 switches one off."""

    crop_min_area: float = Field(0.4, gt=0, le=1)  # share of the area that a crop keeps at least
    crop_max_aspect: float = Field(1.33, ge=1)  # widest stretch of a crop, width to height
    mirror: float = Field(0.0, ge=0, le=1)  # probability; signs and lettering dislike it
    rotation: float = Field(10.0, ge=0, le=180)  # degrees either way
    perspective: float = Field(0.2, ge=0, le=1)  # share of the half side that corners move
    brightness: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    contrast: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    saturation: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    hue: float = Field(0.05, ge=0, le=0.5)  # turns of the colour circle
    grey: float = Field(0.1, ge=0, le=1)  # probability
    blur: float = Field(0.1, ge=0, le=1)  # probability of a Gaussian blur
    erase: float = Field(0.25, ge=0, le=1)  # probability of a rectangle of noise


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
    augment: AugmentSettings = AugmentSettings()


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
