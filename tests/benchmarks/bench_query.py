"""How long `cairn query` takes: the first answer with the start of the process, and each further.

Wall time, and processor time, which other programs change less. Reads a finished run and images of
its dataset.
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pipelines.recognizer import Recognizer
from pipelines.runs.job import open_job

STARTS, IMAGES = 5, 60


def run(run_folder: Path) -> str:
    """Return the medians of both."""
    job = open_job(None, run_folder, None, None)
    paths = [job.dataset.locate(i) for i in job.dataset.load_split("test").ids[: IMAGES + 1]]
    command = [sys.executable, "-m", "pipelines", "query", "--run", str(run_folder), str(paths[0])]
    starts, processor_starts = [], []
    for _ in range(STARTS):
        started = time.perf_counter(), _children_seconds()
        subprocess.run(command, check=True, capture_output=True)
        starts.append(time.perf_counter() - started[0])
        processor_starts.append(_children_seconds() - started[1])
    engine = Recognizer.load(run_folder)
    engine.recognize(paths[0])
    each, processor_each = [], []
    for path in paths[1:]:
        started = time.perf_counter(), time.process_time()
        engine.recognize(path)
        each.append(time.perf_counter() - started[0])
        processor_each.append(time.process_time() - started[1])
    rows = engine.opened.retriever.database.images.live
    candidates = job.recipe.rerank.candidates
    return (
        f"first answer, start included: {statistics.median(starts):.2f} s, "
        f"{statistics.median(processor_starts):.2f} s of processor time\n"
        f"each further image: {1e3 * statistics.median(each):.0f} ms "
        f"(90 %: {1e3 * statistics.quantiles(each, n=10)[-1]:.0f} ms), "
        f"{1e3 * statistics.median(processor_each):.0f} ms of processor time\n"
        f"database of {rows} images, {candidates} candidates re-ranked"
    )


def _children_seconds() -> float:
    """Return the processor time of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
