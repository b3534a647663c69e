"""Freed memory is kept where glibc allocates, and nobody has set it otherwise."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embed import allocator
from embed.allocator import SETTINGS, find_setting, give_back_memory, keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
on_glibc = pytest.mark.skipif(allocator._load_glibc() is None, reason="not glibc's allocator")

# Prints whether memory is kept, and how many megabytes are resident while a block of 64 is free
# and after it is given back.
SCRIPT = """
import ctypes, json, resource
from embed.allocator import give_back_memory, keep_freed_memory
kept, size, process = keep_freed_memory(), 64 << 20, ctypes.CDLL(None)
process.malloc.restype, process.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
process.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20

block = process.malloc(size)
ctypes.memset(block, 1, size)
process.free(block)
free = resident()
give_back_memory()
print(json.dumps([kept, free, resident()]))
"""


def keep_in_a_process(**environment: str) -> tuple[bool, int, int]:
    """Run the script in a process of its own: what is set cannot be set back."""
    clean = {name: value for name, value in os.environ.items() if not find_setting({name: value})}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT, env=clean | environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    kept, free, after = json.loads(done.stdout)
    return kept, free, after


@on_glibc
def test_a_block_that_was_freed_is_kept_until_it_is_given_back() -> None:
    kept, free, after = keep_in_a_process()
    assert kept
    assert free - after >= 60  # MB of the 64


@on_glibc
@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"},
    ],
)
def test_what_a_user_has_set_stays(environment: dict[str, str]) -> None:
    kept, free, after = keep_in_a_process(**environment)
    assert not kept
    assert free - after < 10  # MB: the block went back at once


def test_only_settings_of_the_same_kind_count() -> None:
    assert [find_setting({name: "1"}) for name in SETTINGS] == list(SETTINGS)
    assert find_setting({"GLIBC_TUNABLES": "glibc.cpu.x86_ibt=on", "PATH": "/bin"}) == ""


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str | None) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    for name in (*SETTINGS, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not keep_freed_memory()
    give_back_memory()


@on_glibc
def test_another_allocator_before_that_of_glibc_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = iter([1, 2])
    monkeypatch.setattr(allocator, "_address", lambda function: next(addresses))
    assert allocator._load_glibc() is None


def test_garbage_is_looked_for_again_after_imports_in_all_but_them() -> None:
    made = (
        "import gc; from embed.allocator import importing\n"
        "with importing():\n"
        "    off, kept = gc.isenabled(), [[] for _ in range(1000)]\n"
        "print(off, gc.isenabled(), gc.get_freeze_count() > 1000)"
    )
    for before, frozen in (("", "True"), ("import sys; sys.modules['torch'] = sys\n", "False")):
        run = subprocess.run(
            [sys.executable, "-c", before + made], capture_output=True, text=True, check=True
        )
        assert run.stdout.split() == ["False", "True", frozen]
