"""Time training steps of each classification head with the classes of GLDv2, and their memory.

Run as `python -m tests.benchmarks.bench_large_head`. Each head is trained in a process of its own,
on random features: what the backbone would add is not in it. Uses CUDA where there is a GPU, and
bfloat16 where the GPU has it.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from classify_head.heads import KINDS, build_head
from embed.train_settings import TrainSettings

CLASSES, DIM, BATCH, STEPS = 203_094, 512, 64, 5
IMAGES = 4_132_914  # of GLDv2's training set, for an epoch
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adamw, fused": partial(torch.optim.AdamW, fused=True),  # keeps no temporary copies
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
}


def measure(kind: str, optimizer: str) -> str:
    """Train a head in this process; return seconds a step, an epoch's hours and the memory."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = np.random.default_rng(0).zipf(1.6, CLASSES).clip(1, 5000)  # a long tail
    settings = TrainSettings.model_validate({"head": {"kind": kind}}).head
    head = build_head(settings, DIM, sizes, 16.0).to(device)
    chosen = OPTIMIZERS[optimizer](list(head.parameters()))
    timings = [time_step(head, chosen, device) for _ in range(STEPS + 1)][1:]
    wall, processor = (statistics.median(times) for times in zip(*timings, strict=True))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = f"{wall:8.3f} s {processor:8.3f} s {processor * IMAGES / BATCH / 3600:8.1f} h "
    line += f"{resident / 2**30:8.2f} GiB"
    if device.type == "cuda":
        line += f" {torch.cuda.max_memory_allocated() / 2**30:8.2f} GiB of the GPU"
    return line


def time_step(
    head: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[float, float]:
    """Take one step on random features; return its seconds, and those of the processor."""
    features = torch.randn(BATCH, DIM, device=device, requires_grad=True)
    labels = torch.randint(CLASSES, (BATCH,), device=device)
    low = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    start, busy = time.perf_counter(), time.process_time()
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        logits = head(features, labels)
    loss = nn.functional.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    loss.item()  # waits for the GPU
    return time.perf_counter() - start, time.process_time() - busy


def run() -> str:
    """Measure every kind with every optimizer; a line each."""
    lines = [
        f"{CLASSES} classes, features of {DIM}, batches of {BATCH}, {torch.get_num_threads()} "
        f"threads; an epoch is {IMAGES} images, in hours of processor time",
        f"{'head':10} {'optimizer':14} {'a step':>10} {'processor':>10} {'epoch':>10} {'peak':>12}",
    ]
    for kind in KINDS:
        for optimizer in OPTIMIZERS:
            command = [sys.executable, "-m", __spec__.name, kind, optimizer]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            lines.append(f"{kind:10} {optimizer:14} {done.stdout.rstrip()}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(measure(*sys.argv[1:]) if len(sys.argv) > 1 else run())
