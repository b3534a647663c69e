"""How training images are loaded, on any device."""

import pytest
import torch
from torch.utils.data import DataLoader

from embed.images import Batch
from embed.training_images import loader_options


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_gpu_gets_pinned_batches_and_processes_stay(device: str, workers: int) -> None:
    options = loader_options(torch.device(device), workers)
    assert options["pin_memory"] is (device == "cuda")
    assert options.get("persistent_workers", False) is (workers > 0)
    DataLoader(torch.zeros(4, 1), batch_size=2, **options)  # type: ignore[arg-type]


def test_a_batch_pins_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = torch.ones(1, 3, 2, 2)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned)
    batch = Batch((4,), torch.zeros(1, 3, 2, 2), ()).pin_memory()
    assert batch.images is pinned and batch.positions == (4,)
