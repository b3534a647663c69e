"""What filters and splits may be asked for, and how the command line writes it."""

import math
from typing import Any

import pytest

from pipelines.datasets.selection.settings import (
    SIZES,
    Filters,
    Split,
    make_split,
    parse_ids,
    parse_sizes,
)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"top": 0}, "top is 0, must be at least 1"),
        ({"cap": -2}, "cap is -2, must be at least 1"),
        ({"ids": (1300, 1300)}, "1300:1300 holds no landmark; the end is not part of it"),
        ({"min_count": 9, "max_count": 8}, "min_count 9 is more than max_count 8"),
    ],
)
def test_filters_that_nothing_passes_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Filters(**values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "stratified"}, "no split 'stratified'; known: by-size, per-class, shares"),
        ({"method": "shares", "validation": 0.5, "test": 0.5}, "leave no share for training"),
        ({"method": "random", "validation": -0.1, "test": 0.5}, "must be numbers of 0 or more"),
        ({"method": "shares", "validation": float("nan")}, "must be numbers of 0 or more"),
        ({"method": "shares", "test": 0.1, "keep": -1}, "must be numbers of 0 or more"),
        ({"method": "random"}, "holds out nothing"),
        ({"method": "per-class", "validation": 0.5}, "whole numbers of images"),
        ({"method": "none", "test": 0.1}, "no split is named"),
        ({"method": "by-size", "test": 0.1}, "by-size takes it by sizes"),
        ({"method": "by-size", "sizes": ((9, 0.1), (100, 0.2))}, "must rise and end with the rest"),
        ({"method": "by-size", "sizes": ((9, 0.1), (5, 0.1), (math.inf, 0.1))}, "must rise"),
        ({"method": "by-size", "sizes": ((math.inf, 1.0),)}, "must be below 1"),
        ({"method": "by-size", "sizes": ((math.inf, 0.0),)}, "not all 0"),
    ],
)
def test_splits_that_make_no_sense_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Split(**values)


def test_every_method_has_what_its_report_did() -> None:
    assert make_split("shares") == Split("shares", 0.06, 0.04)
    assert make_split("per-class") == Split("per-class", 2, 0)
    assert make_split("by-size") == Split("by-size", 0.2, 0, SIZES)
    assert make_split("random", test=0.2) == Split("random", 0.1, 0.2)
    assert make_split("none") == Split()


def test_a_split_tells_which_sets_it_makes() -> None:
    made = {
        method: (split.makes_validation, split.makes_test)
        for method in ("by-size", "per-class", "shares", "random", "none")
        if (split := make_split(method))
    }
    assert made == {
        "by-size": (True, True),
        "per-class": (True, False),
        "shares": (True, True),
        "random": (True, False),
        "none": (False, False),
    }


def test_ranges_and_sizes_are_read_as_written() -> None:
    assert parse_ids("1000:1300") == (1000, 1300)
    assert parse_sizes("9:0.25, 100:0.05,rest:0.01") == SIZES


@pytest.mark.parametrize("text", ["1000", "1000-1300", ":5", "a:b", "-1:5", ""])
def test_other_text_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="no range of landmark ids like 1000:1300"):
        parse_ids(text)


@pytest.mark.parametrize("text", ["0.25", "9:", "many:0.2", "9.5:0.2", ""])
def test_other_text_is_no_table_of_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is no class size with a share"):
        parse_sizes(text)
