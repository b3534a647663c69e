"""How long each stage goes on after Ctrl-C, while other programs keep all cores busy.

A small dataset of drawn photos; each stage is interrupted as it begins its work, and then done. Run
it alone: python -m tests.benchmarks.bench_interrupt
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.datasets import make_dataset, make_recipe_file, options
from tests.test_pipelines_interrupt import FETCH, PROGRAM
from tests.test_pipelines_kill import ROOT

# The command, and the function at whose call its work has begun.
STAGES = {
    "train": ("train", *FETCH),
    "validation": ("train", "embed.images", "decode_image"),
    "embed": ("embed", "embed.images", "decode_image"),
    "features": ("index", "rerank.sift", "SiftExtractor.extract"),
    "index": ("index", "pipelines.stages.index", "plan_index"),
    "submit": ("submit", "rerank.verifier", "verify_candidates"),
    "query": ("query", "pipelines.answers.describer", "RunDescriber.decode"),
}
LANDMARKS, ROUNDS, LATER = 60, 3, 0.2  # LATER: seconds of work before Ctrl-C
# Leaves the mark, and does what it would.
WORKING = PROGRAM.replace("def stick", "done = getattr(holder, name)\n\ndef stick").replace(
    "    lock =", "    return done(*given, **named)\n    lock ="
)


def run() -> str:
    """Return the lines of measure."""
    return "\n".join(measure())


def measure() -> Iterator[str]:
    """Yield the seconds of each stage, the median and the longest."""
    with tempfile.TemporaryDirectory() as name, keep_busy():
        folder = Path(name)
        data, recipe = make_dataset(folder / "data", LANDMARKS), make_recipe_file(folder / "r.toml")
        run, job = folder / "run", [*options(folder / "data", folder / "run", recipe), "--workers"]
        photos = [str(data / "images")]
        for stage, (command, module, function) in STAGES.items():
            given = ["--run", str(run), *photos] if command == "query" else [*job, "1"]
            seconds = list[float]()
            for _ in range(ROUNDS):
                if stage == "index":  # what a round has finished is not done again
                    shutil.rmtree(run / "index", ignore_errors=True)
                seconds.append(_interrupt(folder / "mark", module, function, command, *given))
            seconds.sort()
            yield f"{stage:10} {seconds[ROUNDS // 2]:.2f} s, at most {seconds[-1]:.2f} s"
            if stage not in ("train", "features", "query"):  # those that others follow in a command
                _run(["-m", "pipelines", command, *given]).wait()


def _interrupt(mark: Path, module: str, function: str, *arguments: str) -> float:
    """Return how many seconds a command goes on after Ctrl-C."""
    mark.unlink(missing_ok=True)
    process = _run(["-c", WORKING, module, function, str(mark), *arguments])
    while not mark.exists():
        if process.poll() is not None:
            raise RuntimeError(f"{arguments[0]} ended with {process.returncode} before {function}")
        time.sleep(0.01)
    time.sleep(LATER)
    started = time.perf_counter()
    process.send_signal(signal.SIGINT)
    if process.wait() != 130:
        raise RuntimeError(f"{arguments[0]} ended with {process.returncode}, not as interrupted")
    return time.perf_counter() - started


def _run(arguments: list[str]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=quiet, stderr=quiet)


@contextlib.contextmanager
def keep_busy() -> Iterator[None]:
    """Keep all cores busy with other processes."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    for line in measure():
        print(line, flush=True)
