"""A checkpoint is whole and as it was written, or is refused."""

from pathlib import Path

import pytest
import torch

from embed.checkpoint import load_checkpoint, save_checkpoint
from embed.errors import InputError


def test_a_state_comes_back(tmp_path: Path) -> None:
    weight, progress = torch.arange(6.0).reshape(2, 3), {"epoch": 2, "best": [0.5]}
    save_checkpoint({"weight": weight, "progress": progress}, tmp_path / "a.pt")
    found = load_checkpoint(tmp_path / "a.pt")
    assert torch.equal(found["weight"], weight)
    assert found["progress"] == progress
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_no_changed_byte_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint({"weight": torch.arange(3.0)}, path)
    content = path.read_bytes()
    changed = [content[:size] for size in (0, 3, 40, len(content) - 1)] + [content + b"x"]
    for place in range(0, len(content), 7):
        changed.append(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
    for each in changed:
        path.write_bytes(each)
        with pytest.raises(InputError, match=r"a\.pt is damaged: .*; delete it, and the same"):
            load_checkpoint(path)
