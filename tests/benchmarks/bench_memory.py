"""The memory of a submission, stage by stage, as `cairn submit` takes it: in one process.

Run as `python -m tests.benchmarks.bench_memory DATA --into FOLDER [--weights FILE] [--recipe NAME]
[--set train.epochs=2]`. Counted is the proportional set size of the process and all its children,
read some 20 times a second by a process of its own: a page that several share counts once.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

LIMIT = 2.5e9  # bytes
PAUSE = 0.05  # seconds between two readings


def run(options: list[str]) -> str:
    """Make a submission in a child; return the seconds and the peak of each stage, and of all."""
    command = [sys.executable, "-m", __spec__.name, *options]
    peaks: dict[str, int] = {}
    started: dict[str, float] = {}
    with subprocess.Popen([*command, "--child"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        listener = threading.Thread(target=_note_stages, args=(child.stdout, started))
        listener.start()
        while child.poll() is None:
            name = next(reversed(started), "start")
            peaks[name] = max(peaks.get(name, 0), sum(map(read_pss, list_tree(child.pid))))
            time.sleep(PAUSE)
        listener.join()
    if child.returncode:
        raise RuntimeError(f"the submission ended with status {child.returncode}")
    ends = [*started.values(), time.perf_counter()]
    seconds = dict(zip(started, (b - a for a, b in zip(ends, ends[1:], strict=False)), strict=True))
    lines = [f"{'stage':24} {'seconds':>8} {'peak':>8}"]
    lines += [_format(name, seconds.get(name, 0.0), peak) for name, peak in peaks.items()]
    highest = max(peaks.values())
    verdict = "kept" if highest <= LIMIT else "exceeded"
    lines.append(_format("all", sum(seconds.values()), highest))
    return "\n".join([*lines, f"limit {LIMIT / 1e9:.1f} GB: {verdict}"])


def _format(name: str, seconds: float, peak: int) -> str:
    return f"{name:24} {seconds:8.1f} {peak / 1e9:5.2f} GB"


def _note_stages(lines: Iterator[str], started: dict[str, float]) -> None:
    """Note when each stage begins: the child prints a line then."""
    for line in lines:
        kind, _, name = line.rstrip().partition(" ")
        if kind == "stage":
            started[name] = time.perf_counter()


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


def read_pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 if it has just ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if "Pss:" in line), 0)


def make_submission(options: argparse.Namespace) -> None:
    """Do in this process what `cairn submit` does; print a line before each stage."""
    from pipelines.answers_sheet import draw_answers
    from pipelines.cli import prepare_process
    from pipelines.commands.start import start_job
    from pipelines.embed import embed_split
    from pipelines.evaluate import can_evaluate, evaluate_run
    from pipelines.features import extract_split
    from pipelines.index import index_database
    from pipelines.known_queries import prepare_held_out
    from pipelines.page.run_report import write_report
    from pipelines.submit import submit
    from pipelines.train import train

    prepare_process()
    job = start_job(
        options.data, options.into, options.recipe, options.weights, None, False,
        changes=options.set,
    )  # fmt: skip
    tables = [job.dataset.database_split, "non_landmark", "test"]
    splits = [name for name in tables if job.dataset.find_table(name)]
    with job.locked():
        _begin("train")
        train(job)
        for split in splits:
            _begin(f"embed {split}")
            embed_split(job, split)
        for split in splits if job.recipe.rerank.method != "none" else ():
            _begin(f"features {split}")
            extract_split(job, split)
        _begin("held-out queries")
        prepare_held_out(job)
        _begin("index, decision")
        index_database(job)
        _begin("submit")
        submit(job)
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
        print(run(sys.argv[1:]))
