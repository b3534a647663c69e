"""How fast and how steady `cairn serve` answers, beside a server that asks one photo at a time.

Reads a finished run and images of its dataset. The database of a copy is filled up with random
descriptors; photos are added to it and removed. Start to first answer; the warm answer at one
client; 64 clients while the database changes every 2 s; and how many photos a second are answered,
beside the servers of plain_serve, in turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from pipelines.runs.job import open_job
from tests.benchmarks.padded_run import copy_padded
from tests.benchmarks.plain_serve import PORT_LINE
from tests.servers import BEARER, TOKEN

CLIENTS = 64
CHANGE_EVERY = 2.0  # seconds
WARM = 60  # queries of one client
TURNS = 3  # of both servers, of which the median ratio counts
PLAIN = {"script": "the script people write", "api": "Recognizer, a photo at a time"}
HEADERS = {"Content-Type": "image/jpeg"}


def run(run_folder: Path, seconds: float = 60.0, descriptors: int = 100_000) -> str:
    """Return what was measured, in lines.

    Args:
        run_folder: a finished run; a copy of it is changed.
        seconds: of the 64 clients, and together of the turns.
        descriptors: of the database.
    """
    job = open_job(None, run_folder, None, None)
    ids = job.dataset.load_split("test").ids[: WARM + 1]
    photos = [Path(str(job.dataset.locate(image_id))).read_bytes() for image_id in ids]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        copied = Path(folder) / "run"
        lines = [
            f"{copy_padded(run_folder, copied, descriptors)}; {job.recipe.rerank.candidates} "
            "candidates re-ranked"
        ]
        started = time.perf_counter()
        url, process = stack.enter_context(_serving("pipelines", "serve", "--run", copied))
        _ask(url, photos[0])
        lines.append(f"start to first answer: {time.perf_counter() - started:.2f} s")
        lines.append(_measure_warm(url, photos))
        lines.append(_measure_load(url, process, photos, seconds))
        servers = {"cairn serve": url}
        for kind, name in PLAIN.items():
            plain, _ = stack.enter_context(_serving("tests.benchmarks.plain_serve", kind, copied))
            _ask(plain, photos[0])
            servers[name] = plain
        lines += _compare(servers, photos, seconds / (len(servers) * TURNS))
    return "\n".join(lines)


@contextmanager
def _serving(module: str, *arguments: object) -> Iterator[tuple[str, int]]:
    """Run a server; yield its address and process id."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    command += ["--port", "0"] if module == "pipelines" else []
    environment = {**os.environ, "CAIRN_TOKEN": TOKEN}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith(PORT_LINE))
            yield line.split()[1].rstrip("/"), process.pid
        finally:
            process.terminate()


def _ask(url: str, photo: bytes, client: httpx2.Client | None = None) -> int:
    """Return the status of an answer."""
    if client is None:
        with httpx2.Client(timeout=120, trust_env=False) as client:
            return _ask(url, photo, client)
    return client.post(f"{url}/v1/recognize", content=photo, headers=HEADERS).status_code


def _measure_warm(url: str, photos: Sequence[bytes]) -> str:
    took = []
    with httpx2.Client(timeout=120, trust_env=False) as client:
        for photo in photos[1:]:
            started = time.perf_counter()
            assert _ask(url, photo, client) == 200
            took.append(1e3 * (time.perf_counter() - started))
    return f"one client, warm: {_say_times(took)}"


def _say_times(milliseconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(milliseconds, n=100)
    return f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms"


def _measure_load(url: str, process: int, photos: Sequence[bytes], seconds: float) -> str:
    """Let 64 clients ask while photos are added and removed."""
    stop, changes = threading.Event(), list[int]()

    def change() -> None:
        with httpx2.Client(timeout=120, trust_env=False, headers=BEARER) as client:
            while not stop.wait(CHANGE_EVERY):
                files = {"photo": ("a.jpg", photos[0], "image/jpeg")}
                form = {"name": "A new thing"}
                added = client.post(f"{url}/v1/landmarks", files=files, data=form)
                changes.append(added.status_code)
                if stop.wait(CHANGE_EVERY) or added.status_code != 200:
                    return
                label = added.json()["added"][0]["label"]
                changes.append(client.delete(f"{url}/v1/landmarks/{label}").status_code)

    changer = threading.Thread(target=change)
    changer.start()
    memory = [_read_memory(process)]
    codes, took = _ask_in_parallel(
        url, photos, seconds, lambda: memory.append(_read_memory(process))
    )
    stop.set()
    changer.join()
    half = len(memory) // 2
    return (
        f"{CLIENTS} clients, {seconds:g} s: {_say_times(took)}; statuses {dict(codes)}; "
        f"{len(changes)} changes, statuses {dict(Counter(changes))}\n"
        f"memory: {memory[0]:.0f} MB before, at most {max(memory[:half]):.0f} MB in the first half "
        f"and {max(memory[half:]):.0f} MB in the second"
    )


def _ask_in_parallel(
    url: str, photos: Sequence[bytes], seconds: float, look: Callable[[], None]
) -> tuple[Counter[int], list[float]]:
    """Return the statuses, and the milliseconds of those that were answered."""
    codes, took, ends = Counter[int](), list[float](), time.perf_counter() + seconds
    lock = threading.Lock()

    def ask(number: int) -> None:
        with httpx2.Client(timeout=120, trust_env=False) as client:
            while (started := time.perf_counter()) < ends:
                status = _ask(url, photos[number % len(photos)], client)
                number += CLIENTS + 1
                with lock:
                    codes[status] += 1
                    if status == 200:
                        took.append(1e3 * (time.perf_counter() - started))
                if status == 429:
                    time.sleep(1)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while time.perf_counter() < ends:
        time.sleep(0.5)
        look()
    for thread in threads:
        thread.join()
    return codes, took


def _compare(servers: dict[str, str], photos: Sequence[bytes], seconds: float) -> Iterator[str]:
    """Yield how many photos each server answers a second; the first is beside each other."""
    rates: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(TURNS):
        for name, url in servers.items():
            started = time.perf_counter()
            codes, _ = _ask_in_parallel(url, photos, seconds, lambda: None)
            rates[name].append(codes[200] / (time.perf_counter() - started))
    ours, *_ = rates.values()
    for name, theirs in rates.items():
        times = [own / other for own, other in zip(ours, theirs, strict=True)]
        yield (
            f"{name}: {statistics.median(theirs):.1f} photos a second, {CLIENTS} clients; "
            f"cairn serve {statistics.median(times):.1f} times as many "
            f"({min(times):.1f} to {max(times):.1f})"
        )


def _read_memory(process: int) -> float:
    """Return the MB that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--descriptors", type=int, default=100_000, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load; %(default)s")
    chosen = parser.parse_args()
    print(run(chosen.run, chosen.seconds, chosen.descriptors))


if __name__ == "__main__":
    main()
