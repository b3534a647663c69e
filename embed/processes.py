"""Run one task in several processes, one a device, that end together: done, or with one error.

What they log and how far they are comes from the first of them. Reads and writes no files.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, Pipe, wait
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from .allocator import keep_freed_memory
from .errors import InputError
from .interrupt import end_when_interrupted

Report = Callable[[int, int], None]  # called with the number of images done, and of all
ADDRESS = "127.0.0.1"
POLL = 0.2  # seconds between two looks at what the processes say


@dataclass(frozen=True)
class _Surroundings:
    """What new processes take over from the one that starts them."""

    port: int  # where they find one another
    level: int  # from which they log
    start_method: str  # of processes that decode: spawned ones would import all this again


@dataclass(frozen=True)
class _Raised:
    """An error of a process."""

    when: float  # seconds of the clock that all processes have in common
    error: Exception


def run_processes(count: int, task: Callable[[Report], None], report: Report) -> None:
    """Run a task in so many new processes, which find one another by `start_fabric`.

    Args:
        count: of processes, and of devices.
        task: can be pickled; called with what it may tell of its progress. What the first process
            logs and reports is passed on here, what the others do is not.
        report: called here.

    Raises:
        Exception: the first error of a process, its traceback in a note. The others are ended,
            whatever they wait for.
        InputError: the system killed a process.
        RuntimeError: a process crashed.
    """
    pipes = [Pipe(duplex=False) for _ in range(count)]
    readers, writers = [reader for reader, _ in pipes], [writer for _, writer in pipes]
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # tells whom it ends
    level = logging.getLogger().getEffectiveLevel()
    around = _Surroundings(_find_free_port(), level, multiprocessing.get_start_method())
    context: ProcessContext = start_processes(  # type: ignore[no-untyped-call]
        _run, (task, writers, around), count, join=False
    )
    for writer in writers:
        writer.close()  # so that a reader sees the end of a process
    errors: list[_Raised] = []
    try:
        while not context.join(POLL):
            errors += _receive(readers, report)
        _receive(readers, report)
    except ProcessException as end:
        errors += _receive(readers, report)
        _explain_death(context)
        if not errors:
            raise
        # The others fail, too, when they miss the one that failed first.
        raise min(errors, key=lambda raised: raised.when).error from end
    finally:
        for process in context.processes:
            process.terminate()
            process.join()


def start_fabric(
    devices: int,
    precision: Literal["32-true", "bf16-mixed"],
    *,
    find_unused_parameters: bool = False,
) -> Fabric:
    """Return what trains on a device; in each process of `run_processes` on that of its rank.

    No process waits for another only so long: one of them judges for all, which may take hours,
    and if it dies `run_processes` ends the others.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it sets its own on import
    together = DDPStrategy(
        cluster_environment=LightningEnvironment(),
        find_unused_parameters=find_unused_parameters,
        timeout=timedelta(days=7),
    )
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=devices,
        strategy="auto" if devices == 1 else together,
        precision=precision,
    )
    fabric.launch()
    return fabric


def _find_free_port() -> int:
    with socket.socket() as opened:
        opened.bind((ADDRESS, 0))
        return int(opened.getsockname()[1])


class _Sender(logging.Handler):
    """Send records to the process that waits."""

    def __init__(self, writer: "Connection[object, object]") -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = self.format(record), None, None
        self.writer.send(record)


def _run(
    rank: int,
    task: Callable[[Report], None],
    writers: "list[Connection[object, object]]",
    around: _Surroundings,
) -> None:
    """Do the task in a new process."""
    # What decodes for it ends with it, whether its parent or a terminal interrupts it.
    end_when_interrupted("", grace=0, also=(signal.SIGTERM,))
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR=ADDRESS, MASTER_PORT=str(around.port))
    multiprocessing.set_start_method(around.start_method, force=True)
    keep_freed_memory()
    writer = writers[rank]
    root = logging.getLogger()
    root.setLevel(around.level)
    root.addHandler(logging.NullHandler() if rank else _Sender(writer))
    try:
        task((lambda done, total: None) if rank else lambda *moved: writer.send(moved))
    except Exception as error:
        error.add_note(traceback.format_exc())
        pickle.loads(pickle.dumps(error))  # one that fails here is told by its traceback
        writer.send(_Raised(time.monotonic(), error))
        raise


def _receive(readers: "list[Connection[object, object]]", report: Report) -> list[_Raised]:
    """Pass on what the processes have sent; return their errors."""
    errors = []
    while ready := wait(readers, timeout=0):
        for reader in ready:
            assert isinstance(reader, Connection)
            try:
                message = reader.recv()
            except (EOFError, OSError):  # it has ended, perhaps in the middle of a message
                readers.remove(reader)
                continue
            if isinstance(message, _Raised):
                errors.append(message)
            elif isinstance(message, logging.LogRecord):
                named = logging.getLogger(message.name)
                if named.isEnabledFor(message.levelno):
                    named.handle(message)
            else:
                report(*message)
    return errors


def _explain_death(context: ProcessContext) -> None:
    """Raise what can be said of a process that could not say why it ended, if there is one."""
    for rank, process in enumerate(context.processes):
        code = process.exitcode or 0
        if code == -signal.SIGKILL:
            raise InputError(
                f"the system ended training process {rank + 1} of {len(context.processes)}, as it "
                "does when memory is full; use fewer --devices or --workers, or lower "
                "train.classes_per_batch, and run the same command: it goes on after the last epoch"
            )
        if code < 0 and code != -signal.SIGTERM:
            raise RuntimeError(f"training process {rank + 1} ended by {signal.Signals(-code).name}")
