"""Which kernels FAISS is told to take: never ones that the processor lacks, never numpy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from index.kernels import NEEDED, pick_kernels, read_flags

WHAT = (
    "from index.kernels import KERNELS; import os; from threadpoolctl import threadpool_info;"
    "print(KERNELS, os.environ.get('OPENBLAS_CORETYPE'), *sorted("
    "('numpy' if 'numpy' in i['filepath'] else 'faiss') + ':' + i['architecture']"
    " for i in threadpool_info() if i['internal_api'] == 'openblas'))"
)


def load(**variables: str) -> dict[str, str]:
    """Return what a process chose, what its environment says after, and what each library took."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    run = subprocess.run(
        [sys.executable, "-c", WHAT], capture_output=True, text=True, env=environment | variables
    )
    chosen, after, *found = run.stdout.strip("\n").split(" ")
    return {"chosen": chosen, "after": after, **dict(each.split(":") for each in found)}


@pytest.mark.parametrize("kind", NEEDED)
def test_one_flag_too_few_and_the_kernels_are_not_taken(kind: str) -> None:
    assert pick_kernels(NEEDED[kind] | {"sse2"}) == kind
    for flag in NEEDED[kind]:
        assert pick_kernels(NEEDED[kind] - {flag}) != kind


def test_the_flags_are_those_that_all_processors_have(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor : 0\nflags\t\t: fma avx2 avx512f\n\nflags\t\t: fma avx2\nbugs\t: x\n"
    )
    assert read_flags(path) == {"fma", "avx2"}
    path.write_text("Features : neon\n")  # another architecture
    assert read_flags(path) == set()
    assert read_flags(tmp_path / "none") == set()


def test_faiss_takes_what_was_picked_and_numpy_what_it_takes_alone() -> None:
    alone = subprocess.run(
        [sys.executable, "-c", WHAT.replace("from index.kernels import KERNELS", "KERNELS = ''")
         .replace("; import os", "; import os, numpy")],
        capture_output=True, text=True, check=True,
        env={k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"},
    ).stdout  # fmt: skip
    found = load()
    assert found["chosen"] == pick_kernels(read_flags())
    assert found["after"] == "None"  # processes started from here choose for themselves
    assert "numpy:" + found["numpy"] in alone
    if found["chosen"] and "faiss" in found:
        assert found["faiss"] == found["chosen"]


def test_an_empty_variable_is_none() -> None:
    found = load(OPENBLAS_CORETYPE="")
    assert found["chosen"] == pick_kernels(read_flags()) and found["after"] == ""
    assert found.get("faiss") == found["chosen"] or not found["chosen"]


def test_what_the_user_has_set_wins_and_stays() -> None:
    found = load(OPENBLAS_CORETYPE="Nehalem")
    assert found["chosen"] == found["after"] == "Nehalem"


@pytest.mark.parametrize("set_before", [None, "ACTIVE"])
def test_its_threads_sleep_while_they_wait_unless_the_user_says_otherwise(
    set_before: str | None,
) -> None:
    what = (
        "import importlib, os; load = importlib.import_module; seen = []\n"
        "def look(name): seen.append(os.environ.get('OMP_WAIT_POLICY')); return load(name)\n"
        "importlib.import_module = look\n"
        "import index.kernels; print(*seen, os.environ.get('OMP_WAIT_POLICY'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": set_before} if set_before else {}
    run = subprocess.run(
        [sys.executable, "-c", what], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout.split() == [set_before or "PASSIVE", str(set_before)]


def test_a_forked_process_searches_too() -> None:
    what = (
        "import os, signal, numpy as np; from index.kernels import faiss\n"
        "faiss.omp_set_num_threads(2); rows = np.eye(64, dtype=np.float32).repeat(50, 0)\n"
        "def search(): return faiss.knn(rows, rows, 3)[1].sum()\n"
        "found, child = search(), os.fork()\n"
        "if not child: signal.alarm(30); os._exit(int(search() != found))\n"
        "print(os.waitpid(child, 0)[1])"
    )
    run = subprocess.run([sys.executable, "-c", what], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0"]
