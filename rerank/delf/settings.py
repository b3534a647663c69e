"""Settings of our own DELF, validated when made, and what follows from them alone.

Imports nothing heavy.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from embed.settings import MAX_BATCH, MAX_EPOCHS, MAX_LENGTH, MAX_RATE, MAX_SEED, Settings

LOCAL_FILE = "local.safetensors"  # in model/: what was trained along with it
MAX_SCALE = 4.0
Scale = Annotated[float, Field(gt=0, le=MAX_SCALE)]


class DelfSettings(Settings):
    """How local features are learned and extracted.

    Measured on 136 shelf photos of cartons against 5 photos of the same and 10 of other products
    each, area under the ROC curve of the inlier count, standard error .01: DELF on a fine-tuned
    MobileNetV2 .94, with ImageNet's weights .91, SIFT .90. DELF wants to be matched otherwise than
    SIFT: model "similarity", max_ratio 1, max_distance 0.8 and threshold_px 16 gave its
    figures; affine gave .90, and a ratio of .85 costs .03 to .05.

    On other photos of the same products, used to choose: stride 8 lost .04; no score threshold .02
    to .05; overlaps of .3 to 1, 1 to 10 epochs, 128 or 512 hidden channels, and dim 24 to 96 (96
    with max_distance 0.9) differ by no more than chance.
    """

    # Training. The descriptor model itself is not changed.
    stride: int = Field(16, ge=1)  # pixels of the network's input between neighbouring locations
    hidden: int = Field(
        128, ge=1, le=MAX_LENGTH
    )  # channels between the two layers of the attention
    reduction: Literal["pca", "autoencoder"] = "pca"  # what shortens the descriptors
    dim: int = Field(
        40, ge=1, le=MAX_LENGTH
    )  # values of a descriptor; at most the channels of the map
    epochs: int = Field(3, ge=1, le=MAX_EPOCHS)
    batch_size: int = Field(32, ge=2, le=MAX_BATCH)  # images at a time
    learning_rate: float = Field(1e-2, gt=0, le=MAX_RATE)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    # Extraction. On one core 32 images at a time took 1.8 times as long as 4; a GPU may want more.
    extraction_batch: int = Field(4, ge=1, le=MAX_BATCH)
    scales: tuple[Scale, ...] = (0.25, 0.3536, 0.5, 0.7071, 1.0, 1.4142, 2.0)  # of image_size
    max_features: int = Field(1000, ge=1, le=100_000)  # features an image, the best by score
    score_threshold: float = Field(1.0, ge=0)  # least score; 1 is the mean of training images
    nms_overlap: float = Field(0.4, gt=0, le=1)  # cells that overlap more (IoU) lose to the best

    @field_validator("scales")
    @classmethod
    def _include_one(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if 1.0 not in scales:
            raise ValueError(
                f"scales {scales} lack 1.0, the pass that the global descriptor shares; add it"
            )
        return scales


def joint_settings(settings: DelfSettings) -> dict[str, Any]:
    """Return the settings that decide what is trained along; the dim of a PCA does not."""
    names = {"stride", "hidden", "reduction"}
    return settings.model_dump(
        include=names | {"dim"} if settings.reduction == "autoencoder" else names
    )


def fingerprint_extraction(local: str, settings: DelfSettings) -> str:
    """Return the sha256 of how features are extracted: by which model, with which settings.

    Args:
        local: fingerprint of the local model, which names the descriptor model.
        settings: of the extraction.
    """
    extraction = {"scales", "max_features", "score_threshold", "nms_overlap"}
    text = {
        "name": "delf",
        "version": 1,
        "local": local,
        **settings.model_dump(include=extraction),
    }
    return hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()


def pyramid_sides(image_size: int, scales: Sequence[float], stride: int) -> tuple[int, ...]:
    """Return the sides in pixels of the squares that an image is resized to, ascending.

    All but that of scale 1 are rounded to whole cells: a ViT needs it, and the padding of a CNN
    then shifts the map by the same amount at every scale. Less than half a cell is left out.

    >>> pyramid_sides(224, (0.03, 0.25, 0.3536, 0.5, 1.0), 16)
    (64, 80, 112, 224)
    """
    cells = {round(image_size * scale / stride) * stride for scale in scales if scale != 1}
    return tuple(sorted({side for side in cells if side} | {image_size}))
