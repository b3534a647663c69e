"""Settings of training and extraction, validated when made. Imports nothing heavy."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from .presets import PRESETS
from .suggest import suggest

MAX_VARIANTS = 249  # of one image, itself included: see embed.variants
MAX_SIDE = 8192  # pixels of an image that a network or an extractor is given
MAX_BATCH = 65536  # images
MAX_LENGTH = 1 << 20  # of a vector
MAX_EPOCHS = 1_000_000
MAX_RATE = 1000.0  # of learning
MAX_WEIGHT = 1e6  # of a loss, beside others
MAX_SEED = 2**31 - 1  # what every library takes
LARGEST = 2**53  # up to which floating-point numbers count: no setting means more


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A part of a recipe: immutable; unknown keys are errors, and so are numbers without sense."""

    @field_validator("*")
    @classmethod
    def _be_countable(cls, value: Any) -> Any:
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if isinstance(number, int | float) and math.isfinite(number) and abs(number) > LARGEST:
                raise ValueError(f"expected no more than {LARGEST:.1g} either way")
        return value


class DecodeSettings(Settings):
    """How image files are read."""

    max_megapixels: float = Field(
        50.0, gt=0, le=10_000
    )  # larger images are refused before decoding

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
    # centre: the middle square; none: the whole image, squeezed into a square, also where
    # embed.square is "fit".
    crop: Literal["random", "centre", "none"] = "random"
    # Share of the area that a random crop keeps at least, a centre crop of its square exactly.
    crop_min_area: float = Field(0.4, gt=0, le=1)
    crop_max_aspect: float = Field(
        1.33, ge=1, le=100
    )  # widest stretch of a random crop, width to height
    mirror: float = Field(0.0, ge=0, le=1)  # probability; signs and lettering dislike it
    rotation: float = Field(10.0, ge=0, le=180)  # degrees either way
    perspective: float = Field(0.2, ge=0, le=1)  # share of the half side that corners move
    shift: float = Field(0.0, ge=0, le=1)  # share of the side, either way
    scale: float = Field(0.0, ge=0, lt=1)  # factor 1 +- this
    shear: float = Field(0.0, ge=0, lt=90)  # degrees either way, along the width
    brightness: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    contrast: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    saturation: float = Field(0.4, ge=0, le=1)  # factor 1 +- this
    hue: float = Field(0.05, ge=0, le=0.5)  # turns of the colour circle
    grey: float = Field(0.1, ge=0, le=1)  # probability
    blur: float = Field(0.1, ge=0, le=1)  # probability of a Gaussian blur
    jpeg: float = Field(0.0, ge=0, le=1)  # probability of compression
    jpeg_quality: int = Field(30, ge=1, le=95)  # the lowest; the highest is 95
    erase: float = Field(0.25, ge=0, le=1)  # probability of a grey rectangle (cutout)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        name = values.get("preset", "default") if isinstance(values, dict) else None
        if not isinstance(name, str):
            return values  # the field itself says what is wrong
        if name not in PRESETS:
            raise ValueError(f"unknown preset '{name}'; {suggest(name, PRESETS)}")
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


class FreezeSettings(Settings):
    """What is not trained: see embed.freezing."""

    last_convolutions: int = Field(-1, ge=-1)  # that are trained of the backbone; -1: all of it
    first_tensors: int = Field(0, ge=0)  # parameter tensors of the backbone that are not
    # Nor are its layers up to the last map of this stride, in pixels from one location to the next;
    # 0: none are left out.
    stride: int = Field(0, ge=0, le=MAX_SIDE)
    head: bool = False  # the classification head stays as it is


class PhaseSettings(Settings):
    """Some epochs of a training with settings of their own; None: those of the training."""

    epochs: int = Field(ge=1, le=MAX_EPOCHS)
    image_size: int | None = Field(None, ge=32, le=MAX_SIDE)
    learning_rate: float | None = Field(None, gt=0, le=MAX_RATE)
    head_learning_rate: float | None = Field(None, gt=0, le=MAX_RATE)
    freeze: FreezeSettings | None = None


@dataclass(frozen=True)
class Phase:
    """What an epoch is trained with: the settings of its phase, else those of the training."""

    first: int  # epoch that the phase starts with, from 0
    epochs: int
    image_size: int
    learning_rate: float
    head_learning_rate: float
    freeze: FreezeSettings


class TrainSettings(Settings):
    """How the descriptor model is trained."""

    # timm name. A local weights file that says what it is of decides, and that is what is recorded.
    backbone: str = "resnet50"
    pretrained: bool = True  # fetch timm's weights for it, unless a local file is given
    image_size: int = Field(224, ge=32, le=MAX_SIDE)  # pixels, side of the square
    # Length of the descriptor; 0: that of what pooling returns, without a projection.
    dim: int = Field(256, ge=0, le=MAX_LENGTH)
    input_norm: bool = False  # a batch norm before the backbone
    attention: AttentionSettings = MapAttentionSettings()
    pooling: PoolingSettings = GemSettings()
    head: HeadSettings = DirectionHeadSettings()
    epochs: int = Field(
        10, ge=0, le=MAX_EPOCHS
    )  # 0 keeps the first weights: features without any training
    classes_per_batch: int = Field(16, ge=2, le=MAX_BATCH)
    images_per_class: int = Field(4, ge=2, le=MAX_BATCH)  # in a batch
    # Images of a batch where classes do not come in groups; 0: classes times images.
    batch_size: int = Field(0, ge=0, le=MAX_BATCH)
    epoch_share: float = Field(1.0, gt=0, le=1)  # of its batches that an epoch is cut down to
    epoch_steps: int = Field(0, ge=0)  # batches that an epoch has, of repeated images if need be
    phases: tuple[PhaseSettings, ...] = ()  # their epochs add up to those above
    freeze: FreezeSettings = FreezeSettings()
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(3e-4, gt=0, le=MAX_RATE)  # of the backbone
    head_learning_rate: float = Field(
        3e-3, gt=0, le=MAX_RATE
    )  # of pooling, neck and classification head
    weight_decay: float = Field(1e-2, ge=0, le=MAX_RATE)
    momentum: float = Field(0.9, ge=0, lt=1)  # SGD alone
    # cosine falls to 0; step and plateau multiply by decay; constant stays.
    schedule: Literal["cosine", "step", "plateau", "constant"] = "cosine"
    decay: float = Field(0.1, gt=0, lt=1)
    step_epochs: int = Field(8, ge=1)  # step: after each so many
    plateau_epochs: int = Field(2, ge=1)  # plateau: after so many without a better one
    warmup: float = Field(0.1, ge=0, lt=1)  # share of all steps
    clip_norm: float = Field(5.0, gt=0, le=1e9)  # largest length of the gradient
    metric_loss: Literal["triplet", "contrastive", "multi-similarity"] = "triplet"
    margin: float = Field(0.2, gt=0, le=2)  # of triplet and contrastive, in Euclidean distance
    miner: Literal["hard", "semihard", "all", "distance-weighted"] = "hard"  # of the triplet loss
    memory: int = Field(
        0, ge=0, le=10_000_000
    )  # descriptors of earlier batches that are compared with, too
    triplet_weight: float = Field(1.0, ge=0, le=MAX_WEIGHT)  # of the metric loss, whichever it is
    head_loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    focal_gamma: float = Field(2.0, ge=0, le=100)
    head_weight: float = Field(1.0, ge=0, le=MAX_WEIGHT)  # of the classification head's own loss
    head_scale: float = Field(
        16.0, gt=0, le=10_000
    )  # largest logit of the cosine head and its like
    local_weight: float = Field(
        0.0, ge=0, le=MAX_WEIGHT
    )  # of DELF's loss, trained along; 0: trained after
    freeze_batch_norm: bool = False  # keep the backbone's running statistics
    precision: Literal["float32", "bfloat16", "auto"] = "auto"  # auto measures both at the start
    judge: Literal["neighbors", "head"] = "neighbors"  # whose answers choose the epoch
    patience: int = Field(0, ge=0)  # stop after so many epochs without a better one; 0: never
    validation_share: float = Field(0.1, ge=0, lt=1)  # of the photos of each landmark
    # Photos of landmarks that are asked, or searched, after each epoch: of more some are drawn.
    validation_images: int = Field(10_000, ge=100)
    # Of the landmarks, three at least, that are not trained on and judge it, too, where there are
    # ten and more. Above 0 pretrained features are left only for better ones.
    unseen_share: float = Field(0.0, ge=0, lt=1)
    # Of the cosine, that the pretrained features, laid beside the trained ones, have; 0: none.
    pretrained_share: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    # Which images make up an epoch: see embed.sampling.epoch_order.
    sampler: Literal["m-per-class", "uniform", "square-root", "class-balanced"] = "m-per-class"
    balance: BalanceSettings = BalanceSettings()
    augment: AugmentSettings = AugmentSettings()

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = sum(phase.epochs for phase in self.phases)
        if self.phases and total != self.epochs:
            raise ValueError(f"the epochs of the phases add up to {total}, not to {self.epochs}")
        if self.dim == 1:
            raise ValueError("a descriptor of length 1 tells nothing apart; take 2 and more, or 0")
        if self.epoch_steps and self.epoch_share < 1:
            raise ValueError(
                f"epoch_steps {self.epoch_steps} sets the length of an epoch alone: set epoch_share"
                f" (now {self.epoch_share:g}) to 1, or epoch_steps to 0"
            )
        if not self.head_weight and (self.judge == "head" or not self.triplet_weight):
            raise ValueError(
                f"with head_weight 0 the head learns nothing, but judge is '{self.judge}' and "
                f"triplet_weight {self.triplet_weight:g}: raise head_weight, or let the neighbours "
                "judge a training by the metric loss"
            )
        if self.judge == "head" and (self.unseen_share or self.pretrained_share):
            raise ValueError(
                f"unseen_share is {self.unseen_share:g} and pretrained_share "
                f"{self.pretrained_share:g}: the head, which knows nothing of landmarks left out "
                "and of pretrained features, cannot judge; set both to 0, or judge = 'neighbors'"
            )
        if self.memory and not self.triplet_weight:
            raise ValueError(
                f"memory {self.memory} serves the metric loss, whose triplet_weight is 0; raise "
                "the one or set the other to 0"
            )
        return self

    def phase_at(self, epoch: int) -> Phase:
        """Return the phase of an epoch, counted from 0; without phases all are of one."""
        first = 0
        for phase in self.phases or (PhaseSettings(epochs=max(self.epochs, epoch + 1)),):
            if epoch < first + phase.epochs:
                break
            first += phase.epochs
        return Phase(
            first,
            phase.epochs,
            phase.image_size or self.image_size,
            phase.learning_rate or self.learning_rate,
            phase.head_learning_rate or self.head_learning_rate,
            phase.freeze or self.freeze,
        )

    @property
    def reads_token(self) -> bool:
        """Whether the network's token of the whole image is pooled."""
        return self.pooling.kind == "cls-gem"

    @property
    def group(self) -> int:
        """How many images of a class come together: one where no triplets are made of them."""
        grouped = self.sampler == "m-per-class" or self.triplet_weight > 0
        return self.images_per_class if grouped else 1


MAX_GRIDS, MAX_GRID = 3, 8  # of regions
MAX_SCALES = 8
MAX_SCALE = 8.0
Scale = Annotated[float, Field(gt=0, le=MAX_SCALE)]


class RegionSettings(Settings):
    """Which regions of an image are described beside the whole: see embed.regions."""

    # n for n * n regions, n along each side of a square image, of a wide one in fewer rows.
    # A region takes the time of an image, and its descriptor the bytes. (2, 3): R-MAC of 3 levels.
    grids: tuple[Annotated[int, Field(ge=2, le=MAX_GRID)], ...] = Field((), max_length=MAX_GRIDS)
    overlap: float = Field(0.5, ge=0, le=0.9)  # share that a region has in common with the next

    @property
    def count(self) -> int:
        """How many regions an image has: R."""
        return sum(grid**2 for grid in self.grids)


class EmbedSettings(Settings):
    """How descriptors are computed and stored."""

    batch_size: int = Field(64, ge=1, le=MAX_BATCH)
    shard_size: int = Field(
        4096, ge=1, le=10_000_000
    )  # images in one Parquet file; the unit of resuming
    dtype: Literal["float16", "float32"] = "float32"  # of the stored values
    # Factors of image_size; the descriptors of all are merged. A scale costs its square in time.
    scales: tuple[Scale, ...] = Field((1.0,), min_length=1, max_length=MAX_SCALES)
    # Exponent of the generalised mean that merges the descriptors of all views; 1: their sum.
    merge_p: float = Field(1.0, ge=1, le=100)
    flip: bool = False  # add the mirror image of each view; twice the time
    # The whole image is squeezed into a square; crop: the largest square in its middle is taken;
    # fit: the whole image keeps its aspect ratio, up to 3 : 1, in about as many pixels.
    square: Literal["squeeze", "crop", "fit"] = "squeeze"
    # 1: the middle; 10: the corners, too, each mirrored; 12: the whole image beside them.
    crops: Literal[0, 1, 10, 12] = 0
    # Side of a crop, of that of the image.
    crop_share: float = Field(0.875, ge=1 / MAX_SCALE, lt=1)
    regions: RegionSettings = RegionSettings()

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.crops and self.scales != (1.0,):
            raise ValueError("crops have the model's image_size: set scales = [1.0], or crops = 0")
        if self.crops and self.square == "fit":
            raise ValueError("crops are cut from a square: set square = 'squeeze', or crops = 0")
        if self.regions.grids and self.square == "fit":
            raise ValueError(
                "regions are described as squares: set square = 'squeeze', or regions.grids = []"
            )
        if self.crops > 1 and self.flip:
            raise ValueError("10 or 12 crops are mirrored anyway: set flip = false")
        return self
