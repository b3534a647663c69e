"""Sections of a recipe that belong to no single stage: data, ensemble, report.

Says what they may hold. Imports nothing heavy; reads and writes no files.
"""

import re
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from classify_head.ensemble_rules import RULES, WITH_WEIGHTS
from embed.errors import InputError
from embed.settings import MAX_SEED, MAX_WEIGHT, Settings, later
from embed.suggest import suggest
from pipelines.datasets.selection.settings import (
    Filters,
    Method,
    Split,
    Unknown,
    make_split,
    parse_ids,
    parse_sizes,
)

MEMBER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # names a folder of the run


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


class MemberSettings(Settings):
    """What one model of an ensemble has otherwise than the recipe."""

    train: dict[str, Any] = later({})  # keys of [train]
    embed: dict[str, Any] = later({})  # keys of [embed]


class EnsembleSettings(Settings):
    """Several models of one run, whose heads answer together: see classify_head.ensemble."""

    rule: str = "mean"  # a name of classify_head.ensemble_rules
    weights: tuple[
        Annotated[float, Field(ge=0, le=MAX_WEIGHT)], ...
    ] = ()  # one a member, for the rules that take some
    members: dict[str, MemberSettings] = Field(default_factory=dict)  # by name; none: one model

    @field_validator("rule")
    @classmethod
    def _know_rule(cls, rule: str) -> str:
        if rule not in RULES:
            raise InputError(f"unknown rule; {suggest(rule, RULES)}")
        return rule

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for name in self.members:
            if not MEMBER_NAME.fullmatch(name):
                raise InputError(f"member {name!r} names a folder: use letters, digits, - and _")
        count = len(self.members)
        if self.rule == "corrected" and count not in (0, 2):
            raise InputError(
                f"the rule corrected has {count} members, expected two: of the large set of "
                "classes, then of the small"
            )
        if self.weights and self.rule not in WITH_WEIGHTS:
            raise InputError(
                f"the rule {self.rule} takes no weights; {' and '.join(WITH_WEIGHTS)} do"
            )
        if self.weights and not any(self.weights):
            raise InputError(f"weights {list(self.weights)} leave out every member; raise one")
        if count and len(self.weights) != count and (self.weights or self.rule == "weighted"):
            raise InputError(f"{len(self.weights)} weights for {count} members; give each one")
        return self


class ReportSettings(Settings):
    """What a recipe reproduces. Nothing depends on it, so it is not recorded with a run."""

    title: str = ""
    authors: str = ""
    differs: tuple[str, ...] = ()  # sentences: where we do otherwise, and why
