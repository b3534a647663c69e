"""Sections of a recipe that belong to no package: data, report.

Says what they may hold. Imports nothing heavy; reads and writes no files.
"""

from typing import Self

from pydantic import Field, model_validator

from embed.settings import MAX_SEED, Settings
from pipelines.datasets.selection.settings import (
    Filters,
    Method,
    Split,
    Unknown,
    make_split,
    parse_ids,
    parse_sizes,
)


class DataSettings(Settings):
    """Which images of a dataset a run works on, and which are held out.

    The same choices as those of `cairn data select`, made before anything else. By default a run
    works on the dataset as it is. Filters act in the order of the fields.
    """

    ids: str = ""  # landmarks, without the last: 1000:1300 keeps 1000 to 1299; empty: all
    min_count: int = Field(0, ge=0)  # training images that a class must have
    max_count: int = Field(0, ge=0)  # that a class may have; 0: any number
    top: int = Field(0, ge=0)  # so many largest classes are kept; 0: all
    cap: int = Field(0, ge=0)  # images that are kept of a class at most; 0: all
    # How images are held out. A test or validation set that the dataset has is kept: see
    # pipelines.stages.prepared_data.
    split: Method = "none"
    validation: float | None = Field(None, ge=0)  # a share, per-class a number; None: as usual
    test: float | None = Field(None, ge=0)  # the same; by-size has sizes instead
    sizes: str = "9:0.25,100:0.05,rest:0.01"  # by-size: test shares of classes of so many images
    keep: int = Field(1, ge=0)  # images of a class that are never held out; random ignores it
    unknown: Unknown = "keep"  # what becomes of test images whose landmark was dropped
    seed: int = Field(0, ge=0, le=MAX_SEED)  # decides which

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        self.make_filters()
        self.make_split()
        return self

    @property
    def changes_nothing(self) -> bool:
        """Tell whether a run works on the dataset as it is."""
        return self.make_filters() == Filters() and self.split == "none"

    def make_filters(self) -> Filters:
        """Return the filters. Errors are those of parse_ids and Filters."""
        return Filters(
            parse_ids(self.ids) if self.ids else None,
            self.min_count or None,
            self.max_count or None,
            self.top or None,
            self.cap or None,
        )

    def make_split(self) -> Split:
        """Return the split. Errors are those of parse_sizes and Split."""
        sizes = parse_sizes(self.sizes)
        return make_split(self.split, self.validation, self.test, sizes, self.keep)


class ReportSettings(Settings):
    """What a recipe reproduces. Nothing depends on it, so it is not recorded with a run."""

    title: str = ""
    authors: str = ""
    differs: tuple[str, ...] = ()  # sentences: where we do otherwise, and why
