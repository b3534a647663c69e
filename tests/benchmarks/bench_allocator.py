"""What kept memory gains: forward passes and training steps with it and without, by precision.

Run as `python -m tests.benchmarks.bench_allocator`. Each is measured in processes of its own, in
turns, as an allocator cannot be set back.
"""

import os
import resource
import statistics
import subprocess
import sys
import time

BACKBONES = (("mobilenetv2_100", 224),)
BATCHES = {"forward": 8, "step": 16}  # images
SECONDS, ROUNDS = 3.0, 3


def measure(backbone: str, side: int, mode: str, precision: str) -> tuple[float, float, int]:
    """Return images a second, the system's share of processor time, and the peak in bytes."""
    import torch

    from embed.backbone import BackboneSpec
    from embed.model import DescriptorModel, ModelSpec

    torch.manual_seed(0)
    spec = ModelSpec(BackboneSpec(backbone), side, 128)
    model = DescriptorModel(spec).to(memory_format=torch.channels_last)
    images = torch.rand(BATCHES[mode], 3, side, side)
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.train(mode == "step").parameters())

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            if mode == "forward":
                with torch.inference_mode():
                    model(images)
                return
            described = model(images)
        optimizer.zero_grad()
        described.square().sum().backward()
        optimizer.step()

    for _ in range(2):
        work()
    before, started, count = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        work()
        count += len(images)
    rate = count / (time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    busy = system + after.ru_utime - before.ru_utime
    return rate, system / busy, after.ru_maxrss * 1024


def run() -> str:
    """Return a line for each backbone, mode and precision: medians of the rounds, and the ratio."""
    lines = [
        f"{'backbone':16} {'':8} {'':8} {'plain':>10} {'kept':>10} {'ratio':>6} "
        f"{'system':>13} {'peak, GB':>13}"
    ]
    for backbone, side in BACKBONES:
        for mode in BATCHES:
            for precision in ("float32", "bfloat16"):
                plain, kept = _compare(backbone, str(side), mode, precision)
                lines.append(
                    f"{backbone:16} {mode:8} {precision:8} {plain[0]:8.1f}/s {kept[0]:8.1f}/s "
                    f"{kept[0] / plain[0]:6.2f} {plain[1]:5.0%} ->{kept[1]:4.0%} "
                    f"{plain[2] / 1e9:5.2f} ->{kept[2] / 1e9:5.2f}"
                )
    return "\n".join(lines)


def _compare(*arguments: str) -> tuple[list[float], list[float]]:
    """Return the medians of what measure says, without and with kept memory."""
    command = [sys.executable, "-m", __spec__.name, *arguments]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    found: dict[str, list[list[float]]] = {"plain": [], "kept": []}
    for _ in range(ROUNDS):
        for setting, rows in found.items():
            done = subprocess.run(
                [*command, setting], check=True, capture_output=True, text=True, env=environment
            )
            rows.append([float(value) for value in done.stdout.split()])
    plain, kept = (
        [statistics.median(column) for column in zip(*rows, strict=True)] for rows in found.values()
    )
    return plain, kept


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(run())
    else:
        name, size, what, number, setting = sys.argv[1:]
        if setting == "kept":
            from embed.allocator import keep_freed_memory

            keep_freed_memory()
        print(*measure(name, int(size), what, number))
