"""How fast, large and complete searches are among 10,000 to millions of vectors, beside others'.

Vectors like descriptors are drawn in shards, or taken from a finished run, and written to a file.
Each side has a process of its own on the same two cores, builds, and is set to the recall asked
for; then all take turns. Exact search is compared with bare products of matrices. Others are
compared where they are installed: pip install hnswlib usearch numkong scann. Run it alone:
python -m tests.benchmarks.bench_index --count 10000 100000
"""

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.base import VECTORS, BaseIndex
from tests.benchmarks.index_sides import ONE, SIDES, K
from tests.clustered import draw_shard

SHARD, QUERIES, DIM, ROUNDS = 50_000, 1000, 512, 5
OTHERS = ("hnswlib", "usearch", "scann")


@dataclass(frozen=True)
class Measured:
    """What was measured of a side."""

    side: str
    # setting, recall, build (seconds), resident and peak (bytes: beyond those before, and the most
    # of the whole process that built), added (seconds)
    told: dict[str, Any]
    batch: float  # queries a second
    one: float  # queries a second, one at a time
    added: float  # queries a second in a batch, after more vectors were added; 0: cannot
    cores: float  # seconds of cores for a query of a batch: it tells more on a busy machine

    def __str__(self) -> str:
        """Return a line of the table."""
        return (
            f"| {self.side} | {self.told['setting']} | {self.told['resident'] / 1e6:,.0f} | "
            f"{self.told['peak'] / 1e6:,.0f} | "
            f"{self.told['build']:,.1f} | {self.told['recall']:.4f} | {self.batch:,.0f} | "
            f"{self.one:,.0f} | {self.cores * 1e6:,.0f} |"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each count and print its table."""
    chosen = build_parser().parse_args(arguments)
    missing = [name for name in chosen.sides if name in OTHERS and not find_library(name)]
    if missing:
        print(f"left out, not installed: {', '.join(missing)}; pip install {' '.join(missing)}")
    sides = [name for name in chosen.sides if name not in missing]
    for count in chosen.count if chosen.run is None else [0]:
        with tempfile.TemporaryDirectory(dir=chosen.into) as name:
            folder = Path(name)
            if chosen.run is None:
                write_drawn(folder, count, chosen.dim)
            else:
                count = write_run(folder, chosen.run)
            measured = measure(sides, folder, chosen.recall, chosen.memory, chosen.rounds)
        print(f"\n{count:,} vectors, recall {chosen.recall}, memory {chosen.memory}\n")
        print("\n".join(tabulate(measured)), flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=DIM)
    parser.add_argument("--run", type=Path, help="take the descriptors of this run, and no others")
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--into", type=Path, help="folder for the vectors while it runs")
    return parser


def find_library(name: str) -> bool:
    """Tell whether a library can be imported."""
    return importlib.util.find_spec(name) is not None


def write_drawn(folder: Path, count: int, dim: int) -> None:
    """Draw vectors in shards and write them, and queries of the same landmarks."""
    vectors = np.lib.format.open_memmap(
        folder / VECTORS, mode="w+", dtype=np.float16, shape=(count, dim)
    )
    shards = -(-count // SHARD)
    queries = []
    for shard in range(shards):
        size = min(SHARD, count - shard * SHARD)
        drawn, asked = draw_shard(shard, size, dim, queries=-(-QUERIES // shards))
        vectors[shard * SHARD : shard * SHARD + size] = drawn
        queries.append(asked)
    vectors.flush()
    write_queries(folder, np.concatenate(queries)[:QUERIES])


def write_run(folder: Path, run: Path) -> int:
    """Write the vectors of a run, some of which are queries instead; return their number."""
    vectors = np.load(run / "index" / VECTORS)
    drawn = np.random.default_rng(0).permutation(len(vectors))
    asked = min(QUERIES, len(vectors) // 10)
    np.save(folder / VECTORS, vectors[np.sort(drawn[asked:])].astype(np.float16))
    write_queries(folder, vectors[np.sort(drawn[:asked])].astype(np.float32))
    return len(vectors) - asked


def write_queries(folder: Path, queries: Any) -> None:
    """Write queries, and the cosine of the last that each is to find."""
    exact = BaseIndex(np.load(folder / VECTORS, mmap_mode="r"))
    np.save(folder / "queries.npy", queries)
    np.save(folder / "least.npy", exact.search(queries, K).scores[:, -1])


def measure(
    sides: Sequence[str], folder: Path, recall: float, memory: str, rounds: int
) -> list[Measured]:
    """Return what was measured of each side; they take turns, and the medians count."""
    queries = len(np.load(folder / "queries.npy"))
    with contextlib.ExitStack() as stack:
        running = {}
        for side in sides:  # they are built one after the other
            process = stack.enter_context(_start(side, folder, recall, memory))
            told = _read(process)
            if told:
                running[side] = (process, json.loads(told))
            print(f"{side}: {told or 'ended, and is left out'}", file=sys.stderr, flush=True)
        seconds: dict[tuple[str, str], list[list[float]]] = {}
        for _ in range(rounds):
            for question in ("batch", "one", "added"):
                for side, (process, _) in running.items():
                    assert process.stdin
                    process.stdin.write(question + "\n")
                    process.stdin.flush()
                    seconds.setdefault((side, question), []).append(json.loads(_read(process)))
    median = {key: statistics.median(x for x, _ in each) for key, each in seconds.items()}
    return [
        Measured(
            side,
            told,
            queries / median[side, "batch"],
            ONE / median[side, "one"],
            queries / median[side, "added"] if told["added"] else 0.0,
            min(cores for _, cores in seconds[side, "batch"]) / queries,
        )
        for side, (_, told) in running.items()
    ]


@contextlib.contextmanager
def _start(
    side: str, folder: Path, recall: float, memory: str
) -> Iterator["subprocess.Popen[str]"]:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    module = "tests.benchmarks.index_sides"
    with subprocess.Popen(
        [sys.executable, "-m", module, side, str(folder), str(recall), memory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, **threads, "OMP_WAIT_POLICY": "PASSIVE"},
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin
            process.stdin.close()  # which ends it


def _read(process: "subprocess.Popen[str]") -> str:
    """Return the next line of JSON, libraries print, too; nothing where the process ended."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith(("{", "[")):
            return line
    return ""


def tabulate(measured: Sequence[Measured]) -> list[str]:
    """Return a Markdown table, and what Cairn is in comparison."""
    lines = [
        "| | setting | memory, MB | building, MB | build, s | recall@10 | queries/s, batch "
        "| one at a time | core, us/query |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(str, measured),
        "",
    ]
    by_side = {each.side: each for each in measured}
    cairn, exact = by_side.get("cairn"), by_side.get("cairn exact")
    for name in ("faiss", *OTHERS):
        if cairn and (other := by_side.get(name)):
            lines.append(
                f"cairn beside {name}: {cairn.batch / other.batch:.2f} times the queries in a "
                f"batch, {cairn.one / other.one:.2f} one at a time, "
                f"{other.cores / cairn.cores:.2f} a second of cores, "
                f"{cairn.told['resident'] / other.told['resident']:.2f} of the memory, "
                f"{cairn.told['build'] / other.told['build']:.2f} of the time to build"
            )
    products = [by_side[name] for name in ("numpy", "torch") if name in by_side]
    if exact and products:
        ratio = max(each.batch for each in products) / exact.batch
        cores = exact.cores / min(each.cores for each in products)
        lines.append(
            f"cairn exact: {ratio:.2f} of the time of the fastest product of matrices, {cores:.2f} "
            "of the seconds of cores"
        )
    if cairn:
        lines.append(
            f"cairn with 1,000 vectors added: found after {cairn.told['added']:.3f} s, then "
            f"{cairn.added / cairn.batch:.2f} of the queries a second"
        )
    return lines


if __name__ == "__main__":
    main()
