"""What every section of a recipe is, and the sections of decoding and extraction.

Settings are validated when made. Imports nothing heavy.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

MAX_VARIANTS = 249  # of one image, itself included: see embed.variants
MAX_SIDE = 8192  # pixels of an image that a network or an extractor is given
MAX_BATCH = 65536  # images
MAX_LENGTH = 1 << 20  # of a vector
MAX_EPOCHS = 1_000_000
MAX_RATE = 1000.0  # of learning
MAX_WEIGHT = 1e6  # of a loss, beside others
MAX_SEED = 2**31 - 1  # what every library takes
MAX_SCALE = 8.0  # of image_size, of a view
MAX_SCALES = 8
MAX_GRIDS, MAX_GRID = 3, 8  # of regions: how many, and regions along a side
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


Scale = Annotated[float, Field(gt=0, le=MAX_SCALE)]


class RegionSettings(Settings):
    """Which regions of an image are described beside the whole: see embed.regions."""

    # n for n * n regions, n along each side of a square image, of a wide one in fewer rows.
    # A region takes the time of an image, and its descriptor the bytes. (2, 3): R-MAC of 3 levels.
    grids: tuple[Annotated[int, Field(ge=2, le=MAX_GRID)], ...] = Field((), max_length=MAX_GRIDS)
    overlap: float = Field(0.5, ge=0, le=0.9)  # share that a region has in common with the next

    @field_validator("grids")
    @classmethod
    def _differ(cls, grids: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(grids)) < len(grids):
            raise ValueError("a grid named twice describes the same regions twice; name each once")
        return grids

    @property
    def count(self) -> int:
        """How many regions an image has: R."""
        return sum(grid**2 for grid in self.grids)


class EmbedSettings(Settings):
    """How descriptors are computed and stored."""

    # What computes: the exported graph (openvino), torch, or what was faster when the model was
    # trained. On a GPU it is torch, unless the graph is asked for by name.
    engine: Literal["auto", "torch", "openvino"] = "auto"
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
