"""Say what this machine has: cores, memory, free disk, a GPU. Reads /sys, where it is."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

# Limits of a container, for both versions of control groups.
LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Machine:
    """What a run can use."""

    cores: int
    memory: int  # bytes
    disk_free: int  # bytes, where run folders are made
    gpu: str = ""  # its name; empty without one


def look_at_machine(runs: Path) -> Machine:
    """Return what this machine has; runs is the folder of runs, or one above it."""
    there = next(folder for folder in (runs, *runs.resolve().parents) if folder.is_dir())
    return Machine(os.cpu_count() or 1, _read_memory(), shutil.disk_usage(there).free, _find_gpu())


def _read_memory() -> int:
    """Return the memory of the machine, or the share of it that a container may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    texts = [path.read_text().strip() for path in LIMITS if path.is_file()]
    return min([total, *(int(text) for text in texts if text.isdigit())])


def _find_gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
