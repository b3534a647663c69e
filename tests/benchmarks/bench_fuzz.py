"""Whether hostile images end, hang or swell a run: 10,000 through Python, some hundreds by command.

Makes a tiny run in a temporary folder, so that reading images is what takes the time. Run it alone:
python -m tests.benchmarks.bench_fuzz [--images N]
"""

import argparse
import csv
import faulthandler
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.progress import progress_bar
from pipelines.recognizer import Recognizer
from tests.datasets import cairn, make_dataset, make_recipe_file, options
from tests.mutants import draw_mutants

IMAGES, BY_COMMAND, SEED = 10_000, 400, 20
LONGEST = 5.0  # seconds of processor time that one image may take
HANGS = 120.0  # seconds after which the process is ended with the stack of each thread
# MB that the process may take beyond what the opened run takes: while it is decoded, a PNG of 50
# megapixels takes 420, a WebP 820; 474 were seen.
MOST_MEMORY = 900
COMMAND_MEMORY = 2500  # MB in all: a core each decodes such a PNG, and a page shows them
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Fuzzed:
    """What became of hostile images."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind, and what it was
    longest: float = 0.0  # seconds of processor time
    slowest: str = ""  # kind and number of that image


def ask(
    recognizer: Recognizer,
    mutants: Iterable[tuple[str, bytes]],
    advance: Callable[[int], None] = lambda count: None,
) -> Fuzzed:
    """Ask about each image alone; whatever is no answer goes through."""
    found = Fuzzed()
    for number, (kind, data) in enumerate(mutants):
        faulthandler.dump_traceback_later(HANGS, exit=True)
        started = time.process_time()
        answer = recognizer.recognize(data, neighbors=2)
        seconds = time.process_time() - started
        found.outcomes[kind, answer.error.rpartition("(")[2].rstrip(")") or "answered"] += 1
        if seconds > found.longest:
            found.longest, found.slowest = seconds, f"{kind} {number}"
        advance(1)
    faulthandler.cancel_dump_traceback_later()
    return found


def write_mutants(folder: Path, count: int, seed: int) -> list[Path]:
    """Write hostile images as files, of any suffix."""
    folder.mkdir(parents=True)
    paths = []
    for number, (kind, data) in enumerate(draw_mutants(count, seed)):
        paths.append(folder / f"{number:05d}-{kind}{('.jpg', '.png', '.webp')[number % 3]}")
        paths[-1].write_bytes(data)
    return paths


def run(images: int = IMAGES, by_command: int = BY_COMMAND) -> str:
    """Return what became of the images; raises AssertionError where something went wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, recipe = make_dataset(folder / "data"), make_recipe_file(folder / "tiny.toml")
        end = cairn("submit", *options(data, folder / "run", recipe))
        assert end.status == 0, end.err
        with Recognizer.load(folder / "run") as recognizer:
            recognizer.recognize(data / "images" / "q0.jpg")
            before, started = _memory(), time.process_time()
            with progress_bar("fuzz", images) as advance:
                found = ask(recognizer, draw_mutants(images, SEED), advance)
        taken = time.process_time() - started
        swollen = _memory() - before
        told = _ask_by_command(folder, by_command)
    lines = [
        f"{images} images in {taken:.0f} s of processor time, the slowest ({found.slowest}) in "
        f"{found.longest:.2f} s; {swollen:.0f} MB more memory at most",
        told,
        *(
            f"{kind:10} {what:20} {count:6}"
            for (kind, what), count in sorted(found.outcomes.items())
        ),
    ]
    assert found.longest <= LONGEST, lines[0]
    assert swollen <= MOST_MEMORY, lines[0]
    return "\n".join(lines)


def _ask_by_command(folder: Path, count: int) -> str:
    paths = write_mutants(folder / "mutants", count, SEED + 1)
    outputs = ("--csv", "--sort-into", folder / "sorted", "--html", folder / "page.html")
    command = ["query", folder / "mutants", "--run", folder / "run", *outputs]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    end = subprocess.run(
        [sys.executable, "-m", "pipelines", *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS + LONGEST * count,
    )
    assert end.returncode == 1, end.stderr  # some could not be read, and nothing worse
    rows = list(csv.DictReader(io.StringIO(end.stdout, newline=""), strict=True))
    assert [row["image"] for row in rows] == sorted(map(str, paths))
    links = sum(len(files) for _, _, files in os.walk(folder / "sorted"))
    assert links == count
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    unread = sum(bool(row["error"]) for row in rows)
    assert after.ru_maxrss / 1024 <= COMMAND_MEMORY, after
    return (
        f"cairn query on {count}: {count - unread} answered, {unread} not read, status 1, "
        f"{seconds:.0f} s of processor time, {after.ru_maxrss / 1024:.0f} MB"
    )


def _memory() -> float:
    """Return the most memory that this process took, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    chosen = parser.parse_args()
    print(run(chosen.images, min(BY_COMMAND, chosen.images)))
