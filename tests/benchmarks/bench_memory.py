"""The memory of a submission, stage by stage, as `cairn submit` takes it: in one process.

Run as `python -m tests.benchmarks.bench_memory DATA --into FOLDER [--weights FILE] [--recipe NAME]
[--set train.epochs=2]`. Counted are the process and all its children, ten times a second.
"""

import argparse
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

LIMIT = 2.5e9  # bytes
PAUSE = 0.1  # seconds between two readings: the kernel walks all pages for one
END = ""  # name of what follows the last stage


def run(options: list[str]) -> None:
    """Make a submission in a child; print the seconds and the peak of each stage, and of all."""
    command = [sys.executable, "-m", __spec__.name, *options, "--child"]
    stages: queue.SimpleQueue[str] = queue.SimpleQueue()
    print(f"{'stage':24} {'seconds':>8} {'peak':>8}", flush=True)
    highest, first = 0, time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        threading.Thread(target=_note_stages, args=(child.stdout, stages)).start()
        name = "start"
        while name != END:
            peak, started = 0, time.perf_counter()
            while stages.empty():
                peak = max(peak, read_tree(child.pid))
                time.sleep(PAUSE)
            _log(name, time.perf_counter() - started, peak)
            name, highest = stages.get(), max(highest, peak)
    if child.returncode:
        raise RuntimeError(f"the submission ended with status {child.returncode}")
    _log("all", time.perf_counter() - first, highest)
    print(f"limit {LIMIT / 1e9:.1f} GB: {'kept' if highest <= LIMIT else 'exceeded'}")


def _log(name: str, seconds: float, peak: int) -> None:
    print(f"{name:24} {seconds:8.1f} {peak / 1e9:5.2f} GB", flush=True)


def _note_stages(lines: Iterable[str], stages: "queue.SimpleQueue[str]") -> None:
    """Note when each stage begins, for which the child prints a line, and when it has ended."""
    for line in lines:
        kind, _, name = line.rstrip().partition(" ")
        if kind == "stage":
            stages.put(name)
    stages.put(END)


def read_tree(root: int) -> int:
    """Return the bytes that a process and all below it hold.

    What is private or shared among them counts once. Of libraries and other files as much counts
    as the process with the most has mapped: other programs that use the same do not make it less.
    """
    found = [_read_rollup(pid) for pid in list_tree(root)]
    anonymous = sum(each.get("Pss_Anon", 0) + each.get("Pss_Shmem", 0) for each in found)
    return anonymous + max(each.get("Rss", 0) - each.get("Anonymous", 0) for each in found)


def list_tree(root: int) -> list[int]:
    """Return the ids of a process and of all below it that are there now."""
    found = [root]
    for pid in found:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, path.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def _read_rollup(pid: int) -> dict[str, int]:
    """Return the sums over all mappings of a process, in bytes; nothing if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    values = (line.split() for line in lines)
    return {name.rstrip(":"): int(kilobytes) << 10 for name, kilobytes, _ in values}


def make_submission(options: argparse.Namespace) -> None:
    """Do in this process what `cairn submit` does; print a line before each stage."""
    from pipelines.cli import prepare_process
    from pipelines.commands.start import start_job
    from pipelines.reports.answers_sheet import draw_answers
    from pipelines.reports.page.run_report import write_report
    from pipelines.scores.evaluate import can_evaluate, evaluate_run
    from pipelines.stages.order import Order

    prepare_process()
    job = start_job(
        options.data, options.into, options.recipe, options.weights, workers=None,
        changes=options.set,
    )  # fmt: skip
    tables = [job.dataset.database_split, "non_landmark", "test"]
    splits = [name for name in tables if job.dataset.find_table(name)]
    order = Order(job)
    with job.locked():
        _begin("train")
        order.model()
        for split in splits:
            _begin(f"embed {split}")
            order.embeddings(split)
        for split in splits if job.recipe.rerank.method != "none" else ():
            _begin(f"features {split}")
            order.features(split)
        _begin("held-out queries")
        order.held_out()
        _begin("index, decision")
        order.decision()
        _begin("submit")
        order.submission()
        _begin("evaluate, pictures")
        metrics = evaluate_run(job.run, job.dataset) if can_evaluate(job.dataset) else None
        draw_answers(job)
        _begin("report")
        write_report(job, metrics)


def _begin(stage: str) -> None:
    print("stage", stage, flush=True)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="run folder, not there yet")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--recipe", default="photos")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _read_arguments()
    if arguments.child:
        make_submission(arguments)
    else:
        run(sys.argv[1:])
