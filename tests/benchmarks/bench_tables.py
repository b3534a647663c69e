"""Read, filter, split, write and sample a training table of 5 million rows, and pandas beside it.

Run as `python -m tests.benchmarks.bench_tables`. Writes a generated dataset of the class sizes of
GLDv2, in a temporary folder; each run of either side is a process of its own, so that its peak
memory is its own.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import ndtri

from embed.sampling import epoch_order
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.selection.filters import filter_images
from pipelines.datasets.selection.select import select_dataset
from pipelines.datasets.selection.settings import Filters, make_split
from pipelines.datasets.selection.split import split_images
from pipelines.datasets.selection.tables import load_groups, number_groups, read_images

IMAGES, CLASSES, LARGEST = 5_000_000, 203_094, 10_247
FILTERS, SPLIT = Filters(min_count=4, top=100_000), make_split("by-size")
BANDS = ((9, 0.25), (100, 0.05), (IMAGES, 0.01))  # SPLIT's, for pandas
GROUPED = 0.05  # share of images that have near-duplicates
ROUNDS = 2

Times = dict[str, float]


def class_sizes() -> NDArray[np.int64]:
    """Return images of each class [CLASSES], ascending.

    Source: Weyand et al., Google Landmarks Dataset v2: 203,094 classes, 38 % of them with at most 5
    images, 57 % with at most 10, 4,132,914 images; the largest class has 10,247. A lognormal
    distribution through both shares has a mean of 20.4 images, that of the dataset. What 5 million
    has more goes to classes of more than 10, in proportion.
    """
    low, high = ndtri([0.38, 0.57])
    sigma = np.log(10.5 / 5.5) / (high - low)
    middle = np.log(5.5) - low * sigma
    quantiles = ndtri((np.arange(CLASSES) + 0.5) / CLASSES)
    drawn = np.rint(np.exp(middle + sigma * quantiles))
    sizes: NDArray[np.int64] = np.maximum(drawn, 1).astype(np.int64)
    large = sizes > 10
    missing = IMAGES - LARGEST + sizes[-1] - sizes.sum()
    sizes[large] += np.floor(sizes[large] * missing / sizes[large].sum()).astype(np.int64)
    sizes[-1] = LARGEST
    sizes[large.argmax() : large.argmax() + IMAGES - sizes.sum()] += 1  # what rounding left
    return sizes


def write_dataset(folder: Path) -> None:
    """Write csv/ and parquet/, dataset folders of the same rows and groups."""
    generator = np.random.default_rng(0)
    landmark_ids = np.repeat(generator.permutation(CLASSES), class_sizes())
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    nibbles = generator.integers(0, 16, (IMAGES, 16), dtype=np.uint8)
    offsets = np.arange(0, 16 * IMAGES + 1, 16, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(digits[nibbles])]
    ids = pa.Array.from_buffers(pa.string(), IMAGES, buffers)
    # Pairs and triples of neighbouring rows, so mostly of one class.
    grouped = np.arange(int(IMAGES * GROUPED)) * int(1 / GROUPED)
    grouped[1::2] = grouped[0::2] + 1
    groups = pa.table({"id": ids.take(pa.array(grouped)), "group": np.arange(len(grouped)) // 2})
    mixed = generator.permutation(IMAGES)
    table = pa.table({"id": ids, "landmark_id": landmark_ids}).take(pa.array(mixed))
    for kind in ("csv", "parquet"):
        (folder / kind / "images").mkdir(parents=True)
        pq.write_table(groups, folder / kind / "groups.parquet")
    pq.write_table(table, folder / "parquet" / "train.parquet")
    options = pa.csv.WriteOptions(quoting_style="none", quoting_header="none")
    pa.csv.write_csv(table, folder / "csv" / "train.csv", options)


class Steps:
    """Seconds of each step of a process, by the wall and of its processors, and its peak memory."""

    def __init__(self) -> None:
        """Start the clocks."""
        self.figures: dict[str, list[float]] = {}
        self._since = (time.perf_counter(), time.process_time())

    def done(self, name: str) -> None:
        """Say that a step has ended."""
        now = (time.perf_counter(), time.process_time())
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self.figures[name] = [now[0] - self._since[0], now[1] - self._since[1], gib]
        self._since = now


def run_steps(folder: Path, target: Path, steps: Steps) -> None:
    """Do what select_dataset does, step by step, and draw an epoch of what is left."""
    dataset = Dataset(folder)
    path = dataset.find_table("train")
    assert path is not None
    rows = read_images(path)
    steps.done("read and check")
    mask, _ = filter_images(rows["id"], rows["landmark_id"].to_numpy(), FILTERS, seed=0)
    rows = rows.filter(pa.array(mask))
    landmark_ids = rows["landmark_id"].to_numpy()
    steps.done("filter")
    groups = load_groups(folder)
    assert groups is not None
    numbers = number_groups(rows["id"], groups)
    steps.done("read groups")
    parts = split_images(rows["id"], landmark_ids, numbers, SPLIT, seed=0)
    steps.done("split")
    for part in range(3):
        pq.write_table(rows.filter(pa.array(parts == part)), target / f"{part}.parquet")
    steps.done("write")
    for sampler in ("m-per-class", "class-balanced"):
        trained = landmark_ids[parts == 0]
        epoch_order(trained, sampler, batch_size=64, per_class=4, seed=0, epoch=0)
        steps.done(f"sample an epoch, {sampler}")


def run_select(folder: Path, target: Path, steps: Steps) -> None:
    """Do all but the sampling as the command does."""
    select_dataset(Dataset(folder), target, FILTERS, SPLIT)
    steps.done("cairn data select")


def run_groupless(folder: Path, target: Path, steps: Steps) -> None:
    """Do what run_pandas does: no checks, no groups."""
    kind = folder.name
    rows = pq.read_table(folder / "train.parquet") if kind == "parquet" else _read_arrow(folder)
    mask, _ = filter_images(rows["id"], rows["landmark_id"].to_numpy(), FILTERS, seed=0)
    rows = rows.filter(pa.array(mask))
    parts = split_images(rows["id"], rows["landmark_id"].to_numpy(), None, SPLIT, seed=0)
    for part in range(3):
        pq.write_table(rows.filter(pa.array(parts == part)), target / f"{part}.parquet")
    steps.done("ours, without checks and groups")


def _read_arrow(folder: Path) -> pa.Table:
    kinds = pa.csv.ConvertOptions(column_types={"id": pa.string()})
    return pa.csv.read_csv(folder / "train.csv", convert_options=kinds)


def run_pandas(folder: Path, target: Path, steps: Steps) -> None:
    """Filter and split with groupby: as few passes as its own methods need, Arrow for reading."""
    if folder.name == "parquet":
        rows = pd.read_parquet(folder / "train.parquet")
    else:
        rows = pd.read_csv(folder / "train.csv", dtype={"id": str}, engine="pyarrow")
    counts = rows.groupby("landmark_id")["id"].transform("size")
    rows = rows[counts >= 4]
    largest = rows["landmark_id"].value_counts().head(100_000).index
    rows = rows[rows["landmark_id"].isin(largest)]
    counts = rows.groupby("landmark_id")["id"].transform("size")
    drawn, least = [], 0
    for most, share in BANDS:
        band = rows[(counts > least) & (counts <= most)]
        drawn.append(band.groupby("landmark_id").sample(frac=share, random_state=0))
        least = most
    test = pd.concat(drawn)
    rows = rows.drop(test.index)
    validation = rows.groupby("landmark_id").sample(frac=SPLIT.validation, random_state=0)
    train = rows.drop(validation.index)
    for part, table in enumerate((train, validation, test)):
        table.to_parquet(target / f"{part}.parquet", index=False)
    steps.done("pandas groupby.sample, the same")


WAYS: dict[str, Callable[[Path, Path, Steps], None]] = {
    "steps": run_steps,
    "select": run_select,
    "groupless": run_groupless,
    "pandas": run_pandas,
}
MEASURED = {"csv": tuple(WAYS), "parquet": ("steps", "groupless", "pandas")}


def measure(way: str, folder: Path) -> dict[str, list[float]]:
    """Run a way in a process of its own; return seconds, processor seconds, peak GiB by step."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as target:
        command = [sys.executable, "-m", "tests.benchmarks.bench_tables", way, str(folder), target]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, list[float]] = json.loads(done.stdout)
    return figures


def run() -> str:
    """Measure each way once a round, in turn, and report medians."""
    sizes = class_sizes()
    lines = [
        f"{sizes.sum()} rows, {len(sizes)} classes, {np.mean(sizes <= 5):.0%} of at most 5 images, "
        f"{np.mean(sizes <= 10):.0%} of at most 10, largest {sizes.max()}; {ROUNDS} rounds",
        f"{'':36s} seconds  processor's  peak GiB",
    ]
    with tempfile.TemporaryDirectory() as name:
        write_dataset(Path(name))
        for kind, ways in MEASURED.items():
            rounds = [{way: measure(way, Path(name) / kind) for way in ways} for _ in range(ROUNDS)]
            lines += [f"from {kind}", *_report(rounds)]
    return "\n".join(lines)


def _report(rounds: list[dict[str, dict[str, list[float]]]]) -> list[str]:
    lines, medians = [], {}
    for way, first in rounds[0].items():
        for step in first:
            figures = [statistics.median(r[way][step][i] for r in rounds) for i in range(3)]
            medians[step] = figures
            lines.append(_line(step, figures))
        if way == "steps":
            total = [sum(figures[i] for figures in medians.values()) for i in (0, 1)]
            lines.append(_line("together", [*total, figures[2]]))
    if "pandas" in rounds[0]:
        ours, theirs = list(medians.values())[-2:]
        ratios = [theirs[i] / ours[i] for i in (0, 1)]
        lines.append(f"  pandas takes {ratios[0]:.1f} times as long, {ratios[1]:.1f} the processor")
    return lines


def _line(name: str, figures: list[float]) -> str:
    return f"  {name:34s} {figures[0]:7.2f}      {figures[1]:7.2f}   {figures[2]:7.2f}"


def main() -> None:
    """Print the report; or, as a child, the figures of one way."""
    if len(sys.argv) == 1:
        print(run())
        return
    way, folder, target = sys.argv[1:]
    steps = Steps()
    WAYS[way](Path(folder), Path(target), steps)
    print(json.dumps(steps.figures))


if __name__ == "__main__":
    main()
