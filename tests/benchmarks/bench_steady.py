"""Memory and time an image, while very many are described, searched for features, and answered.

A tiny dataset whose queries are links to a few photos: embeddings, local features and submission of
these, with a network of no weight. Run it alone:
python -m tests.benchmarks.bench_steady [--images N]
"""

import argparse
import gc
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from embed.meter import Meter
from pipelines.cli import prepare_process
from pipelines.runs.job import Job
from pipelines.runs.recipe import load_recipe
from pipelines.stages.order import Order
from tests.datasets import QUERIES, make_dataset, make_recipe_file, write_table

PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
WINDOWS = 10  # of a stage, each with its own time
SETTLED = 3  # windows, after which libraries have the memory that they keep
CHANGES = """
[train]
epochs = 0
[embed]
batch_size = 64
shard_size = 1000
[search]
neighbors = 10
[rerank]
candidates = 4
max_features = 60
"""


@dataclass
class Watch:
    """What a stage takes, looked at after so many items."""

    name: str
    every: int  # items
    done: list[int] = field(default_factory=lambda: [0])
    seconds: list[float] = field(default_factory=lambda: [time.perf_counter()])
    resident: list[int] = field(default_factory=lambda: [read_resident()])  # bytes

    def look(self, done: int) -> None:
        """Take note, if a window has ended."""
        if done - self.done[-1] >= self.every:
            self.done.append(done)
            self.seconds.append(time.perf_counter())
            self.resident.append(read_resident())

    def describe(self) -> str:
        """Return bytes and microseconds an item."""
        done, resident = np.array(self.done[SETTLED:]), np.array(self.resident[SETTLED:])
        slope = np.polyfit(done, resident, 1)[0] if len(done) > 1 else float("nan")
        times = 1e6 * np.diff(self.seconds) / np.diff(self.done)
        sizes = " ".join(f"{each / 1e6:.0f}" for each in self.resident)
        return (
            f"{self.name}: {slope:.0f} bytes an item after the first {self.done[SETTLED]:,}; "
            f"MB {sizes}; microseconds an item {' '.join(f'{each:.0f}' for each in times)}"
        )


def run(images: int = 40_000) -> str:
    """Return the lines of measure."""
    return "\n".join(measure(images))


def measure(images: int) -> Iterator[str]:
    """Yield what each stage takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, ids = make_dataset(folder / "data"), [f"x{number:07d}" for number in range(images)]
        for image_id, photo in zip(ids, itertools.cycle(QUERIES)):
            os.link(data / "images" / f"{photo}.jpg", data / "images" / f"{image_id}.jpg")
        write_table(data / "test.csv", "id", ids)
        (data / "solution.csv").unlink()
        recipe = str(make_recipe_file(folder / "steady.toml", CHANGES))
        order = Order(Job(data, folder / "run", load_recipe(recipe), recipe, workers=1))
        order.decision()
        stages: dict[str, Callable[[], Any]] = {
            "embed": lambda: order.embeddings("test"),
            "features": lambda: order.features("test"),
            "submit, pairs": order.submission,
        }
        for stage, make in stages.items():
            yield _watch(stage, make, images)


def _watch(name: str, stage: Callable[[], Any], images: int) -> str:
    """Return what a stage takes."""
    gc.collect()
    pairs = 4 if "pairs" in name else 1
    watch, advance = Watch(name, images * pairs // WINDOWS), Meter.advance

    def count(meter: Meter, items: int) -> None:
        advance(meter, items)
        watch.look(meter.done)

    with mock.patch.object(Meter, "advance", count):
        stage()
    return watch.describe()


def read_resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40_000)
    prepare_process()
    for line in measure(parser.parse_args().images):
        print(line, flush=True)
