"""Load FAISS with the fastest products of matrices that the processor can compute.

`faiss` is imported from here. The wheel's OpenBLAS is of 2021: a processor that it does not know
gets kernels for SSE3, less than half as fast. So it is told which to take, by what the processor
says it can do; OPENBLAS_CORETYPE in the environment wins. numpy's own OpenBLAS knows the processors
of today: it is loaded before, and never sees what FAISS's is told. FAISS's threads sleep while they
wait for work: those that spin take the cores from whatever follows a search. Reads /proc/cpuinfo.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

# Loaded first, so that its OpenBLAS has chosen.
import numpy  # noqa: F401

VARIABLE = "OPENBLAS_CORETYPE"
WAITING = "OMP_WAIT_POLICY"
# What the kernels of each kind are compiled for, the fastest first: OpenBLAS obeys without looking.
NEEDED = {
    "SkylakeX": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma"},
    "Haswell": {"avx2", "fma"},
}


def pick_kernels(flags: set[str]) -> str:
    """Return the kind of kernels for a processor with these flags; empty: OpenBLAS decides.

    >>> pick_kernels({"fma", "avx2", "sse4_1"}), pick_kernels({"avx2", "avx512f"})
    ('Haswell', '')
    """
    return next((kind for kind, needed in NEEDED.items() if needed <= flags), "")


def read_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return what every processor here can do; nothing where that is not to be read."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return set()
    flags = [set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")]
    return set.intersection(*flags) if flags else set()


def _load() -> tuple[Any, str]:
    """Return FAISS, and the kind of kernels that it was told to take; empty: OpenBLAS decided.

    The environment stays as it was: processes that are started from here decide for themselves.
    """
    before = {name: os.environ.get(name) for name in (VARIABLE, WAITING)}
    # OpenBLAS takes an empty variable for a kind that it does not know, and the slowest kernels.
    kind = before[VARIABLE] or ("" if "faiss" in sys.modules else pick_kernels(read_flags()))
    _set_environment({VARIABLE: kind or None, WAITING: before[WAITING] or "PASSIVE"})
    try:
        loaded = importlib.import_module("faiss")
    finally:
        _set_environment(before)
    # A forked process has none of the threads that a search would wait for.
    os.register_at_fork(after_in_child=partial(loaded.omp_set_num_threads, 1))
    return loaded, kind


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


faiss, KERNELS = _load()

__all__ = ["KERNELS", "faiss", "pick_kernels", "read_flags"]
