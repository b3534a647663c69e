"""Settings of training, validated when made. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from .network_settings import (
    AttentionSettings,
    DirectionHeadSettings,
    GemSettings,
    HeadSettings,
    MapAttentionSettings,
    PoolingSettings,
)
from .presets import PRESETS
from .settings import (
    MAX_BATCH,
    MAX_EPOCHS,
    MAX_LENGTH,
    MAX_RATE,
    MAX_SEED,
    MAX_SIDE,
    MAX_VARIANTS,
    MAX_WEIGHT,
    Settings,
)
from .suggest import suggest


class AugmentSettings(Settings):
    """What random changes a training image gets; 0 switches one off.

    They are made in this order: crop, rotation, perspective, affine (shear, scale, shift), mirror,
    colours in any order, grey, blur, JPEG, erase.
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
    # GB (10^9 bytes) on disk for decoded images, while it trains: later epochs decode only what has
    # no room there; 0: each decodes all. Changes no model.
    cache_gigabytes: float = Field(8.0, ge=0, le=1e6)
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
