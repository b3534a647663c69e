"""Measure the URL downloader against a local server: rate, faults, kills.

Run as `python -m tests.benchmarks.bench_download [rate] [faults] [kills]`. The server runs in a
process of its own on the same cores. Writes into temporary folders.
"""

import asyncio
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pyarrow.parquet as pq

from pipelines.sources.download.dataset import download_dataset
from pipelines.sources.download.settings import DownloadSettings
from pipelines.sources.download.store import image_path
from tests.image_server import IMAGES, ImageServer, mixed_urls, serve_images
from tests.images import encode, photo

ROOT = Path(__file__).resolve().parents[2]
LATENCY = 0.02  # seconds
TARGET = 1000  # images a second
CONNECTIONS = 64
SHAPE = (360, 480)  # pixels of an image, 45 kB
SMALL = (48, 64)  # where the number of images is what counts
TRIES = 4
SHARE = 0.05  # of all images, for each kind of fault
# Faults that go away when asked again, and those that stay, with the reason they must get and
# the requests they are worth.
PASSING = ("busy-once", "limited-once", "truncate-once", "cut-once", "stall-once", "reset-once")
LASTING = {
    "missing": ("http_404", 1),
    "page": ("not_an_image", 1),
    "circle": ("redirect_circle", 1),
    "huge": ("too_large", 1),
    "truncate": ("truncated", TRIES),
    "stall": ("stalled", TRIES),
    "slow-headers": ("silence", TRIES),
}
FAULTS = DownloadSettings(
    connections=128,
    per_host=32,
    allow_private=True,
    max_tries=TRIES,
    silence_timeout=1.0,
    base_delay=0.2,
)
# The command as a process that can be killed.
PROGRAM = """
import sys, typer
from pipelines.commands.urls import urls
app = typer.Typer()
app.command()(urls)
app()
"""


def write_table(path: Path, urls: Iterable[str]) -> Path:
    """Write a training table of these URLs; ids share folders as those of a million images do."""
    rows = [f"{number:016x},{url},{number % 50}" for number, url in enumerate(urls)]
    path.write_text("id,url,landmark_id\n" + "\n".join(rows) + "\n")
    return path


async def load(server: ImageServer, count: int) -> float:
    """Get and throw away; return images a second."""
    numbers = iter(range(count))
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for number in numbers:
                async with session.get(server.url("ok", number)) as response:
                    await response.read()

        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return count / (time.perf_counter() - start)


def download(server: ImageServer, count: int, size: str) -> float:
    """Download a data set of so many images; return images a second, tables included."""
    settings = DownloadSettings(
        size=size, connections=CONNECTIONS, per_host=CONNECTIONS, allow_private=True
    )
    with tempfile.TemporaryDirectory() as folder:
        urls = (server.url("ok", number) for number in range(count))
        table = write_table(Path(folder) / "urls.csv", urls)
        start = time.perf_counter()
        done = download_dataset(table, Path(folder) / "data", settings=settings)
        seconds = time.perf_counter() - start
    assert done.stored == count, done
    return count / seconds


def run_rate(count: int = 4000, rounds: int = 3) -> str:
    """Compare with a plain load generator, in turn; report medians."""
    rates: dict[str, list[float]] = {"plain load": [], "original": [], "256": []}
    with serve_images(LATENCY, SHAPE) as server:
        asyncio.run(load(server, 500))  # the first requests pay for imports
        for _ in range(rounds):
            rates["plain load"].append(asyncio.run(load(server, count)))
            for size in ("original", "256"):
                rates[size].append(download(server, count, size))
    limit = min(TARGET, statistics.median(rates["plain load"]))
    lines = [f"{count} JPEG of 480 x 360, {LATENCY * 1000:.0f} ms latency, {rounds} rounds"]
    for name, values in rates.items():
        rate = statistics.median(values)
        ratio = "" if name == "plain load" else f"  {rate / limit:.2f} of {limit:.0f}"
        lines.append(f"{name:12} {rate:6.0f} images/s{ratio}")
    return "\n".join(lines)


@dataclass(frozen=True)
class FaultReport:
    """What came of a download with every kind of fault."""

    rows: int
    seconds: float
    lost: int  # images that could be had, and are not there byte by byte
    unexplained: int  # failures without a row of the right reason
    extra_requests: int  # most for one image, beyond those it is worth


def kind_of(url: str) -> str:
    """Return the first part of the path."""
    return urlsplit(url).path.split("/")[1]


def measure_faults(folder: Path, count: int, ports: int = 4) -> FaultReport:
    """Download with a share of each kind of fault, and compare with what had to come of it."""
    with serve_images(shape=SMALL, ports=ports) as server:
        urls = list(mixed_urls(server, count, (*PASSING, *LASTING), SHARE))
        table = write_table(folder / "urls.csv", urls)
        start = time.perf_counter()
        download_dataset(table, folder / "data", settings=FAULTS)
        seconds = time.perf_counter() - start
        requests = server.counts()["requests"]
    failures = pq.read_table(folder / "data" / "failures.parquet")
    reasons = dict(zip(failures["url"].to_pylist(), failures["reason"].to_pylist(), strict=True))
    jpegs = [encode(photo(*SMALL, seed=seed), "JPEG", quality=90) for seed in range(IMAGES)]
    lost, unexplained, extra = 0, 0, 0
    for number, url in enumerate(urls):
        reason, worth = LASTING.get(kind_of(url), (None, 1 + (kind_of(url) in PASSING)))
        unexplained += reasons.get(url) != reason
        extra = max(extra, requests[urlsplit(url).path] - worth)
        path = folder / "data" / "images" / image_path(f"{number:016x}")
        if reason is None:
            lost += not path.is_file() or path.read_bytes() != jpegs[number % IMAGES]
    return FaultReport(count, seconds, lost, unexplained, extra)


@dataclass(frozen=True)
class KillReport:
    """What came of a download that was killed again and again."""

    rows: int
    kills: int  # that hit a download at work
    progress: tuple[int, ...]  # images stored after each
    same: bool  # all files as those of an undisturbed download
    requests: int  # beyond those of the undisturbed download


def measure_kills(folder: Path, count: int, kills: int, seed: int = 0) -> KillReport:
    """Kill a download at random moments, finish it, and compare with an undisturbed one.

    It has all kinds of fault but those that take long.
    """
    rng = random.Random(seed)
    with serve_images(LATENCY, SMALL, ports=2) as server:
        slow = ("stall", "slow-headers", "limited")
        kinds = [kind for kind in (*PASSING, *LASTING) if not kind.startswith(slow)]
        table = write_table(folder / "urls.csv", mixed_urls(server, count, kinds, SHARE))
        start(table, folder / "whole").wait()
        needed = sum(server.counts(forget=True)["requests"].values())
        progress: list[int] = []
        for number in range(kills):
            process = start(table, folder / "killed")
            wait_for_images(process, folder / "killed", count * (number + rng.random()) / kills / 2)
            process.kill()
            if process.wait() == -signal.SIGKILL:
                progress.append(count_images(folder / "killed"))
        start(table, folder / "killed").wait()
        made = sum(server.counts()["requests"].values())
    same = snapshot(folder / "killed") == snapshot(folder / "whole")
    return KillReport(count, len(progress), tuple(progress), same, made - needed)


def start(table: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start the command."""
    options = ["--allow-private", "--size", "64", "--tries", "2", "--connections", "16"]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(table), "--data", str(folder), *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_images(process: subprocess.Popen[bytes], folder: Path, count: float) -> None:
    """Return when so many images are stored, or the process has ended."""
    while process.poll() is None and count_images(folder) <= count:
        time.sleep(0.01)


def count_images(folder: Path) -> int:
    """Return how many images are stored."""
    return sum(1 for _ in (folder / "images").rglob("*.jpg"))


def snapshot(folder: Path) -> dict[str, object]:
    """Return what a download leaves: images and tables by content, failures without messages."""
    found: dict[str, object] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".jpg", ".csv") or path.name.endswith("tmp")
    }
    failures = pq.read_table(folder / "failures.parquet", columns=["id", "status", "reason"])
    return {**found, "failures": failures.to_pylist()}


def run_faults(count: int = 10_000) -> str:
    """Report a download with 5 % of each kind of fault."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure_faults(Path(folder), count)
    return (
        f"{found.rows} URLs, {len(PASSING) + len(LASTING)} kinds of fault at {SHARE:.0%} each: "
        f"{found.lost} images lost, {found.unexplained} unexplained, at most "
        f"{found.extra_requests} requests too many for one, {found.seconds:.0f} s"
    )


def run_kills(count: int = 4000, kills: int = 20) -> str:
    """Report a download that was killed."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure_kills(Path(folder), count, kills)
    return (
        f"{found.rows} URLs, {found.kills} times kill -9 (after {found.progress} images): "
        f"{'the same files' if found.same else 'OTHER FILES'} as undisturbed, {found.requests} "
        "requests more"
    )


RUNS = {"rate": run_rate, "faults": run_faults, "kills": run_kills}


def run(names: Sequence[str] = tuple(RUNS)) -> str:
    """Do all measurements, or those named."""
    return "\n".join(RUNS[name]() for name in names)


if __name__ == "__main__":
    print(run(sys.argv[1:] or tuple(RUNS)))
