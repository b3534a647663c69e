"""Say what memory stays: that which layers free, for the next layers, and what was imported.

By itself glibc asks the system for every block above a threshold and returns it at once: each
layer's output is then made of pages that the system has to clear, which took up to half of all
processor time. Calls the C library of this process; knows no network.
"""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

# <malloc.h>: the numbers of what mallopt sets.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Bytes; mallopt takes no more than an int. Blocks below the first come from the heap, of whose end
# no more than the second stays free. A network of the usual size needs some hundred MB, so both
# only keep a rare giant from being held; the second block size is what older versions allow.
MMAP_THRESHOLDS = (1 << 30, 32 << 20)
TRIM_THRESHOLD = (1 << 31) - 1
# With these a user sets the same.
SETTINGS = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)


def keep_freed_memory() -> bool:
    """Make glibc keep the blocks that are freed; call it before the first large one is made.

    Does nothing with another C library or allocator, or where the environment sets the allocator.

    Returns:
        Whether it was done.
    """
    if found := find_setting(os.environ):
        logger.debug("%s is set: the allocator stays as it is", found)
        return False
    libc = _load_glibc()
    if libc is None:
        logger.debug("memory is not allocated by glibc: the allocator stays as it is")
        return False
    # mallopt returns 0 for a value it refuses.
    size = next((n for n in MMAP_THRESHOLDS if libc.mallopt(M_MMAP_THRESHOLD, n)), 0)
    done = bool(size) and bool(libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD))
    logger.debug(
        "glibc %s blocks of up to %d MiB", "keeps" if done else "refuses to keep", size >> 20
    )
    return done


def give_back_memory() -> None:
    """Give the system what is free; without glibc do nothing. Call it where much was computed."""
    libc = _load_glibc()
    if libc is not None:
        libc.malloc_trim(0)


def keep_imported() -> None:
    """Look for no garbage in what there is, which stays: that takes a tenth of `cairn --help`."""
    if "torch" not in sys.modules:  # its libraries complain, at the end, of what is left over
        gc.freeze()


@contextmanager
def importing() -> Iterator[None]:
    """Import in this block, and keep_imported: to look for garbage meanwhile takes .3 s."""
    gc.disable()
    try:
        yield
    finally:
        keep_imported()
        gc.enable()


def find_setting(environment: "os._Environ[str] | dict[str, str]") -> str:
    """Return the variable by which a user sets glibc's allocator; "" if there is none."""
    if "glibc.malloc." in environment.get("GLIBC_TUNABLES", ""):
        return "GLIBC_TUNABLES"
    return next((name for name in SETTINGS if name in environment), "")


def _load_glibc() -> ctypes.CDLL | None:
    """Return glibc if it is what allocates the memory of this process."""
    if sys.platform != "linux":
        return None
    try:
        libc, process = ctypes.CDLL("libc.so.6"), ctypes.CDLL(None)
        known = hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt")
        # A preloaded allocator comes before that of the C library.
        own = _address(libc.malloc) == _address(process.malloc)
    except (OSError, AttributeError):  # musl has no such file
        return None
    return libc if known and own else None


def _address(function: object) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
