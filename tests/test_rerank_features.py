"""Tests of the record of local features."""

from typing import Any

import numpy as np
import pytest

from rerank.features import LocalFeatures
from rerank.sift import SiftExtractor


def _fields(n: int = 3) -> dict[str, Any]:
    return {
        "keypoints": np.zeros((n, 2), np.float32),
        "descriptors": np.ones((n, 4), np.uint8),
        "scores": np.zeros(n, np.float32),
        "scales": np.ones(n, np.float32),
        "image_size": (20, 10),
    }


@pytest.mark.parametrize("n", [0, 1, 5])
def test_valid_features_of_any_count_are_accepted(n: int) -> None:
    assert len(LocalFeatures(**_fields(n))) == n


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keypoints", np.zeros((3, 2)), "keypoints is float64"),
        ("keypoints", np.zeros((2, 2), np.float32), r"expected float32 \(3, 2\)"),
        ("keypoints", np.full((3, 2), np.nan, np.float32), "NaN"),
        ("scores", np.zeros((3, 1), np.float32), "scores"),
        ("scales", np.zeros(3, np.float32), "scales must be > 0"),
        ("descriptors", np.ones((3, 4)), "descriptors are float64"),
        ("descriptors", np.ones((4, 4), np.uint8), r"expected \(3, D >= 1\)"),
        ("descriptors", np.full((3, 4), np.inf, np.float16), "infinity"),
        ("image_size", (0, 10), "image_size"),
    ],
)
def test_invalid_field_is_named(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalFeatures(**{**_fields(), name: value})


def test_arrays_are_read_only_but_those_given_stay_writable() -> None:
    fields = _fields()
    record = LocalFeatures(**fields)
    with pytest.raises(ValueError, match="read-only"):
        record.keypoints[0, 0] = 1.0
    fields["keypoints"][0, 0] = 1.0


def test_fingerprint_tells_settings_apart() -> None:
    assert SiftExtractor().fingerprint == SiftExtractor().fingerprint
    assert SiftExtractor().fingerprint != SiftExtractor(max_features=7).fingerprint
    assert len(SiftExtractor().fingerprint) == 64
