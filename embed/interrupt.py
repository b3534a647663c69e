"""End a process, and those it started, soon after Ctrl-C, whatever it is doing.

Files are written whole or not at all, so what is cut short is made again by the next run.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # exit status: what shells, and typer, make of Ctrl-C
GRACE = 1.0  # seconds in which temporary files are removed and threads end
FLUSH = 0.2  # seconds for whatever reads the output to take the rest of it
SHOW_CURSOR = "\r\x1b[K\x1b[?25h"  # in place of a progress bar, which hides it

_ending = threading.Lock()  # taken once, by the thread that ends the process


def end_when_interrupted(
    message: str, grace: float = GRACE, also: tuple[signal.Signals, ...] = ()
) -> None:
    """From now on, let the first Ctrl-C raise KeyboardInterrupt, and end what goes on after it.

    It is raised only between two lines of Python of the main thread, and unwinding waits for
    threads, worker processes and the ends of libraries: seconds on a busy machine. So a thread
    waits no longer than the grace. A second Ctrl-C changes nothing.

    Args:
        message: see end_interrupted.
        grace: seconds.
        also: signals that are taken for Ctrl-C.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The interpreter writes there when the signal comes, whatever the main thread does.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    signals = (signal.SIGINT, *also)

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    def wait() -> None:
        while os.read(reader, 1)[0] not in signals:  # others are written, too
            pass
        time.sleep(grace)
        end_interrupted(message)

    for each in signals:
        signal.signal(each, interrupt)
    threading.Thread(target=wait, name="interrupt", daemon=True).start()


def end_interrupted(message: str) -> NoReturn:
    """End this process and its workers at once, with exit status 130.

    What the interpreter does at its end is left out: with torch it takes a second, and it waits
    for threads.

    Args:
        message: for standard error, a line; empty for none.
    """
    _ending.acquire()
    for worker in multiprocessing.active_children():
        worker.kill()
    # Another thread may hold the lock of a stream that nobody reads.
    flush = threading.Thread(target=_flush, args=(message,), daemon=True)
    flush.start()
    flush.join(FLUSH)
    os._exit(INTERRUPTED)


def _flush(message: str) -> None:
    stderr, stdout = sys.__stderr__, sys.__stdout__  # not what a progress bar puts in their place
    with contextlib.suppress(OSError, ValueError):
        if stderr and message:
            print(SHOW_CURSOR * stderr.isatty() + message, file=stderr, flush=True)
    with contextlib.suppress(OSError, ValueError):
        if stdout:
            stdout.flush()
