"""The cosine head: its softmax by hand, and that a saved one answers the same."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from classify_head.heads import CosineHead, load_head, predict_head, save_head

LANDMARKS = np.array([2**40, 7, 30], dtype=np.int64)


def head() -> CosineHead:
    torch.manual_seed(0)
    return CosineHead(5, 3, scale=7.3)


def unit_rows(count: int, dim: int = 5) -> NDArray[np.float32]:
    rows = np.random.default_rng(0).normal(size=(count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_a_prediction_is_the_softmax_worked_by_hand() -> None:
    made = CosineHead(2, 3, scale=4.0)
    with torch.no_grad():  # directions of other lengths: up, right, left
        made.weight.copy_(torch.tensor([[0.0, 3.0], [0.5, 0.0], [-2.0, 0.0]]))
    labels, confidence = predict_head(made, LANDMARKS, np.array([[0.6, 0.8]], np.float32))
    terms = [math.exp(4 * cosine) for cosine in (0.8, 0.6, -0.6)]
    assert labels.tolist() == [2**40]
    assert confidence[0] == pytest.approx(terms[0] / sum(terms), rel=1e-5)


def test_logits_are_scaled_cosines_in_numpy() -> None:
    made, rows = head(), unit_rows(6)
    weight = made.weight.detach().numpy()
    expected = 7.3 * rows @ (weight / np.linalg.norm(weight, axis=1, keepdims=True)).T
    logits = made(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert np.abs(logits).max() <= 7.3 + 1e-5


def test_the_length_of_a_direction_has_no_say() -> None:
    made, rows = head(), unit_rows(6)
    before = predict_head(made, LANDMARKS, rows)
    with torch.no_grad():
        made.weight.mul_(torch.tensor([[0.01], [1.0], [50.0]]))
    after = predict_head(made, LANDMARKS, rows)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after[1], before[1], rtol=1e-4)


def test_a_saved_head_answers_the_same(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    made, rows = head(), unit_rows(20)
    save_head(made, LANDMARKS, path)
    loaded, landmarks = load_head(path)
    assert loaded.scale == made.scale and not loaded.training
    assert torch.equal(loaded.weight, made.weight)
    np.testing.assert_array_equal(landmarks, LANDMARKS)
    assert landmarks.dtype == np.int64
    for one, other in zip(
        predict_head(loaded, landmarks, rows), predict_head(made, LANDMARKS, rows), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_head(head(), LANDMARKS, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_queries_give_no_answers() -> None:
    labels, confidence = predict_head(head(), LANDMARKS, unit_rows(0))
    assert labels.shape == confidence.shape == (0,)


def test_one_class_is_certain() -> None:
    labels, confidence = predict_head(CosineHead(5, 1), LANDMARKS[:1], unit_rows(3))
    assert labels.tolist() == [2**40] * 3 and confidence.tolist() == [1.0] * 3


def test_a_missing_head_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `cairn train` first"):
        load_head(tmp_path / "head.safetensors")
