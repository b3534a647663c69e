"""Why a command ended, for people: advice where they can mend it, else a report of our fault.

Writes fault-<time>.txt with the traceback into the folder it is given.
"""

import errno
import importlib.metadata
import os
import platform
import re
import sys
import traceback
from datetime import datetime
from pathlib import Path

from embed.errors import InputError
from embed.files import is_disk_full

PACKAGES = ("embed", "index", "rerank", "classify_head", "pipelines")
# What torch says of a worker that the system killed, or that found no room for a batch.
KILLED = re.compile(
    r"DataLoader worker \(pid(\(s\))? [0-9, ]+\) "
    r"(is killed by signal: (Killed|Bus error)|exited unexpectedly)"
)
OURS = 70  # exit status of a fault of Cairn: EX_SOFTWARE of sysexits.h
# What the system says of a path that was named, or of the machine: no fault of the code.
OF_THE_SYSTEM = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOMEM),
}


def advise(error: Exception) -> tuple[str, ...]:
    """Return what the user can do about an error, line by line; nothing if it is our fault."""
    if is_disk_full(error):
        first = (str(error).splitlines() or [""])[0]  # torch adds its call stack
        return (f"the disk is full; free some space and run the same command ({first})",)
    if isinstance(error, InputError):
        return error.lines
    if isinstance(error, ModuleNotFoundError) and (name := _find_package(error)):
        return (
            f"{name} is not installed, and this needs it; install Cairn with all its packages "
            "(an image made with COMPUTE=graph has no torch)",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return (f"the memory is full; end other programs, or lower the batch size ({error})",)
    if isinstance(error, RuntimeError) and KILLED.match(str(error)):
        return (
            "the system ended a process that decodes images, as it does when memory is full; end "
            "other programs, use fewer --workers, and run the same command: it goes on "
            f"({str(error).splitlines()[0].strip()})",
        )
    if isinstance(error, OSError) and error.errno in OF_THE_SYSTEM and error.filename:
        return (f"{error.filename}: {os.strerror(error.errno or 0).lower()}",)
    return ()


def _find_package(error: ModuleNotFoundError) -> str:
    """Return the package of others that was not found; nothing if one of ours, or a part, was."""
    name = error.name or ""
    return "" if "." in name or name in PACKAGES else name


def report_fault(error: Exception, command: str, folder: Path) -> tuple[str, ...]:
    """Write the traceback of a fault of ours; return what to tell the user, line by line.

    Args:
        error: that ended the command.
        command: its name, such as `submit`.
        folder: the run folder, or another one that is there.
    """
    version = importlib.metadata.version("cairn")
    line = (
        f"cairn {version}, Python {platform.python_version()}, {platform.platform(terse=True)}: "
        f"`cairn {command}` ended in {type(error).__name__} at {_find_place(error)}"
    )
    path = folder / f"fault-{datetime.now():%Y%m%d-%H%M%S}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        path.write_text(f"{line}\n{' '.join(sys.argv)}\n\n{text}", "utf-8", "backslashreplace")
        where = [f"The traceback is in {path}; please report it with this line:"]
    except OSError:
        where = [*text.splitlines(), "Please report this traceback with this line:"]
    first = (str(error).splitlines() or [""])[0]
    named = f"this is a fault of Cairn, not of what you gave it: {type(error).__name__}: {first}"
    return (named, *where, line)


def _find_place(error: Exception) -> str:
    """Return the last line of ours on the way to an error, like pipelines/stages/submit.py:80."""
    root = Path(__file__).resolve().parents[1]
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
        if name.partition("/")[0] in PACKAGES:
            place = f"{name}:{frame.lineno}"
    return place
