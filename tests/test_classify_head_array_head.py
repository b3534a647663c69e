"""A head on arrays says what it says in torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from classify_head.array_head import ArrayHead
from classify_head.heads import build_head, save_head
from classify_head.trained_head import TrainedHead
from embed.errors import InputError, MissingFileError
from embed.network_settings import HeadSettings

KINDS = ("cosine", "linear", "hadamard", "arcface", "cosface", "subcenter")
ADAPTER: TypeAdapter[HeadSettings] = TypeAdapter(HeadSettings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [1, 3, 40])
def test_logits_and_classes_are_those_of_torch(kind: str, classes: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    numbers = {"margin": 0.3} if kind in ("arcface", "cosface", "subcenter") else {}
    settings = ADAPTER.validate_python({"kind": kind, **numbers})
    head = build_head(settings, 12, np.full(classes, 5), 16.0).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = tmp_path / "head.safetensors"
    save_head(head, np.arange(classes) * 7 + 3, path)
    theirs, mine = TrainedHead.load(path, torch.device("cpu")), ArrayHead.load(path)
    features = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    features[4] = 0
    with torch.inference_mode():
        logits = theirs.logits(torch.from_numpy(features))
        expected = theirs.rank(logits)
    np.testing.assert_allclose(mine.logits(features), logits.numpy(), atol=1e-4)
    found = mine.rank(logits.numpy())
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)


def test_of_equal_classes_the_first_is_taken(tmp_path: Path) -> None:
    head = ArrayHead("linear", {"dim": 1}, {}, np.arange(30))
    found = head.rank(np.zeros((2, 30), dtype=np.float32))
    assert found.labels.tolist() == [list(range(10))] * 2


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(MissingFileError, match="no classification head"):
        ArrayHead.load(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(InputError, match="is not a classification head"):
        ArrayHead.load(path)
    head = ArrayHead("linear", {"dim": 1}, {}, np.arange(3))
    with pytest.raises(ValueError, match="not all finite"):
        head.rank(np.full((1, 3), np.nan, dtype=np.float32))
