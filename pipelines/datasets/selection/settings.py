"""What to choose of a dataset: filters of classes and a split. Imports nothing heavy."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from embed.errors import InputError

Method = Literal["by-size", "per-class", "shares", "random", "none"]
# What becomes of queries there are whose landmarks are dropped. keep: they keep their labels, and
# nothing can answer them, as in Kaggle's tests; blank: they are distractors from now on.
Unknown = Literal["keep", "blank", "drop"]

# What validation and test get where nothing is said: images of a class for per-class, else shares.
# by-size takes the test set by Split.sizes, then the share of validation from what is left.
DEFAULTS: dict[str, tuple[float, float]] = {
    "by-size": (0.2, 0.0),
    "per-class": (2, 0),
    "shares": (0.06, 0.04),
    "random": (0.1, 0.0),
    "none": (0.0, 0.0),
}

Sizes = tuple[tuple[float, float], ...]  # largest class, in images, and its share of test images
SIZES: Sizes = ((9, 0.25), (100, 0.05), (math.inf, 0.01))


@dataclass(frozen=True)
class Filters:
    """Which classes are kept; applied in the order of the fields, each to what the last one left.

    All filters drop whole classes, but the last: cap keeps some images of every class.
    """

    ids: tuple[int, int] | None = None  # the first landmark_id, and the one after the last
    min_count: int | None = None  # images that a class must have
    max_count: int | None = None  # images that a class may have: a larger one is dropped
    top: int | None = None  # largest classes that are kept; of equal ones, those of smaller id
    cap: int | None = None  # images that are kept of a class at most

    def __post_init__(self) -> None:
        """Raise InputError for a filter that nothing could pass."""
        for name in ("min_count", "max_count", "top", "cap"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, must be at least 1; leave it out to keep all")
        if self.ids is not None and self.ids[0] >= self.ids[1]:
            low, high = self.ids
            raise InputError(
                f"ids {low}:{high} holds no landmark; the end is not part of it: 1000:1300 are "
                "the 300 landmarks 1000 to 1299"
            )
        if self.min_count and self.max_count and self.min_count > self.max_count:
            raise InputError(
                f"min_count {self.min_count} is more than max_count {self.max_count}: no class "
                "has so many and so few images"
            )


@dataclass(frozen=True)
class Split:
    """How images are held out of training. `make_split` knows what is usual for each method."""

    method: Method = "none"
    validation: float = 0.0  # images of a class for per-class, else a share
    test: float = 0.0  # the same; by-size has sizes instead
    sizes: Sizes = SIZES  # by-size alone
    keep: int = 1  # images of a class that stay in training before any is held out; not for random

    def __post_init__(self) -> None:
        """Raise InputError for shares that leave no training set, or hold out nothing."""
        if self.method not in get_args(Method):
            raise InputError(f"no split '{self.method}'; known: {', '.join(get_args(Method))}")
        amounts = f"validation {self.validation:g} and test {self.test:g}"
        if self.keep < 0 or not (self.validation >= 0 and self.test >= 0):  # nan is neither
            raise InputError(f"{amounts}, keep {self.keep}: they must be numbers of 0 or more")
        if self.method == "by-size":
            _check_sizes(self.sizes)
            if self.test:
                raise InputError(f"test is {self.test:g}, but by-size takes it by sizes: leave one")
        held_out = self.validation + self.test
        if self.method == "none" and held_out:
            raise InputError(
                f"{amounts}, but no split is named: shares, per-class, random, by-size"
            )
        if self.method in ("per-class", "shares", "random") and not held_out:
            raise InputError(f"the split {self.method} holds out nothing; raise validation or test")
        if self.method == "per-class" and (self.validation % 1 or self.test % 1):
            raise InputError(f"{amounts} of each class: take whole numbers of images")
        if self.method not in ("per-class", "none") and held_out >= 1:
            raise InputError(f"{amounts} leave no share for training; 0.06 and 0.04 leave 0.9")

    @property
    def makes_validation(self) -> bool:
        """Tell whether a validation set is asked for."""
        return self.validation > 0

    @property
    def makes_test(self) -> bool:
        """Tell whether a test set is asked for."""
        return self.method == "by-size" or self.test > 0


def make_split(
    method: Method,
    validation: float | None = None,
    test: float | None = None,
    sizes: Sizes = SIZES,
    keep: int = 1,
) -> Split:
    """Return a split, with DEFAULTS of its method for what is None. Errors are those of Split."""
    usual = DEFAULTS.get(method, (0.0, 0.0))
    return Split(
        method,
        usual[0] if validation is None else validation,
        usual[1] if test is None else test,
        sizes,
        keep,
    )


def _check_sizes(sizes: Sizes) -> None:
    bounds, shares = [bound for bound, _ in sizes], [share for _, share in sizes]
    if not bounds or sorted(set(bounds)) != bounds or bounds[-1] != math.inf:
        raise InputError(
            f"the class sizes {', '.join(f'{bound:g}' for bound in bounds)} must rise and end with "
            "the rest: 9:0.25,100:0.05,rest:0.01"
        )
    if min(shares) < 0 or max(shares) >= 1 or not any(shares):
        raise InputError(
            f"the test shares {', '.join(f'{share:g}' for share in shares)} must be below 1, none "
            "of them negative, and not all 0"
        )


def parse_ids(text: str) -> tuple[int, int]:
    """Read a half-open range of landmark ids, as 1000:1300. Raises InputError for other text."""
    low, colon, high = text.partition(":")
    if not (colon and low.isdecimal() and high.isdecimal()):
        raise InputError(f"{text!r} is no range of landmark ids like 1000:1300")
    return int(low), int(high)


def parse_sizes(text: str) -> Sizes:
    """Read shares by class size.

    Raises:
        InputError: an entry is not <largest size>:<share>. The shares themselves Split checks.

    >>> parse_sizes("9:0.25,100:0.05,rest:0.01")
    ((9.0, 0.25), (100.0, 0.05), (inf, 0.01))
    """
    sizes = []
    for entry in text.split(","):
        bound, _, share = entry.strip().partition(":")
        try:
            sizes.append((math.inf if bound == "rest" else float(int(bound)), float(share)))
        except ValueError:
            raise InputError(
                f"{entry!r} of {text!r} is no class size with a share, like 9:0.25 (a quarter of "
                "classes of up to 9 images) or rest:0.01"
            ) from None
    return tuple(sizes)
